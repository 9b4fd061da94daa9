"""Commands that take data away, and what counts as a backup before them. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
from pytest_opsrunbooks.runbooks.lint.shell import Command

_SQL = re.compile(
    r"\b(?:DROP\s+(?:DATABASE|TABLE|SCHEMA)(?:\s+IF\s+EXISTS)?\s+(?P<dropped>[^\s;]+)|TRUNCATE\s+(?:TABLE\s+)?(?P<truncated>[^\s;]+)"
    r"|DELETE\s+FROM\s+(?P<emptied>[^\s;]+)\s*(?:;|$))",
    re.IGNORECASE,
)
_SCRATCH = re.compile(
    r"(?:^|[_\W])(?:tmp|temp|te?st|scratch|drill|sandbox|staging|demo|example|old|bak|backup|cache|build|dist|node_modules|target|coverage"
    r"|venv|virtualenv|__pycache__|work|copy|logs?|out|output|__\w+__|_site|site|pytest_cache|mypy_cache|restored?|verify)(?:$|[_\W\d])",
    re.IGNORECASE,
)
"""Names of what can be made again."""
_DATA_PATH = re.compile(
    r"(?:^|/)(?:\.?[\w-]*(?:data|storage|volumes?|database|pgdata|postgres(?:ql)?|mysql|redis|backups?|dumps?|snapshots?|shadow-atlas)[\w-]*)(?:/|$|\*)"
    r"|\.(?:db|sqlite3?|rdb|aof)(?:\*|-wal|-shm)?$|^/(?:var|srv|opt|home|mnt)/|^/\*?$",
    re.IGNORECASE,
)
_BACKUP = re.compile(
    r"\bpg_dump(?:all)?\b|\bpg_basebackup\b|\bmysqldump\b|\bmongodump\b|\.backup\b|VACUUM\s+INTO|\bBGSAVE\b|--rdb\b|\bopsrunbooks\s+backup\s+create\b"
    r"|emergency[_-]backup|[\w./-]*backup[\w-]*\.sh\b|\bzfs\s+snapshot\b|\blvcreate\b|\betcdctl\s+snapshot\s+save\b|\bcreate-(?:db-)?snapshot\b"
    r"|\b(?:cp|rsync|tar|mv)\b[^\n]*(?:backup|\.bak|\.tar|emergency|broken)",
    re.IGNORECASE,
)
_VERIFIED = re.compile(
    r"integrity_check|quick_check|\bpg_restore\b|\bcmp\b|sha\d+sum\s+(?:-c|--check)|\bopsrunbooks\s+(?:backup\s+(?:create|verify)|run\s+\S*(?:backup|verify))"
    r"|verify[_-]?backups?|\bpsql\b[^\n]*<|\bcreatedb\b|\bredis-check-rdb\b|emergency-backup\.sh|emergency_backup|\bdiff\s+-r?q\b",
    re.IGNORECASE,
)


_PASSING_PATH = re.compile(r"/(?:var/)?tmp\b|\$\{?TMP|/var/cache\b|/var/lib/apt\b")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Destruction:
    """A command that takes data away. `line` counts in the fragment."""

    what: str
    """As it is shown: `docker compose down -v`."""
    line: int
    command: Command | None = None


def has_backup(text: str) -> bool:
    """Whether the text makes a copy of what is about to go."""
    return _BACKUP.search(text) is not None


def has_verified_backup(text: str) -> bool:
    """Whether something in the text reads a copy back, or makes one that is verified by its maker."""
    return _VERIFIED.search(text) is not None


def of_fragment(fragment: Fragment) -> Iterator[Destruction]:
    """Every destruction of data in a shell or SQL fragment. What can be made again does not count."""
    if fragment.language == "sql":
        for match in _SQL.finditer(re.sub(r"--[^\n]*", lambda m: " " * len(m.group()), fragment.text)):
            name = match["dropped"] or match["truncated"] or match["emptied"] or ""
            if not _SCRATCH.search(name) and "TEMP" not in fragment.text.upper().split():
                shown = " ".join(match.group().split()).rstrip(";")
                yield Destruction(what=shown, line=fragment.line_at(match.start()), command=fragment.command)
    elif fragment.is_shell:
        for command in fragment.script.commands:
            what = _what(command)
            if what:
                yield Destruction(what=what, line=command.line, command=command)


def _what(command: Command) -> str:  # noqa: PLR0911 - one line for each kind
    texts = [word.text for word in command.effective]
    program = command.program
    if program in ("dropdb", "dropuser"):
        return (
            ""
            if not texts[1:] or _SCRATCH.search(texts[-1]) or program == "dropuser"
            else f"dropdb {texts[-1]}"
        )
    if program == "redis-cli":
        return next((text.upper() for text in texts if text.upper() in ("FLUSHALL", "FLUSHDB")), "")
    if program in ("rm", "shred"):
        return _removed(command)
    if program == "find":
        roots = " ".join(text for text in texts[1:3] if not text.startswith("-"))
        if (
            "-delete" in texts
            and not {"-mtime", "-mmin", "-empty", "-newermt"} & set(texts)
            and _is_data(roots)
        ):
            return "find -delete"
    if program in ("aws", "gsutil", "terraform", "mc"):
        return _in_the_cloud(texts)
    if program == "mkfs" or program.startswith("mkfs."):
        return program
    return _of_containers([word.text for word in command.words])


def _removed(command: Command) -> str:
    words = [word for word in command.effective[1:] if not word.text.startswith("-")]
    flags = "".join(
        word.text for word in command.effective[1:] if re.fullmatch(r"-[A-Za-z]+|--recursive", word.text)
    )
    recursive = "r" in flags or "R" in flags
    for word in words:
        path = word.text
        database = re.search(r"\.(?:db|sqlite3?)(?:-wal|-journal)?$", path) is not None
        if (recursive or database) and _is_data(path):
            return f"rm {'-r ' if recursive else ''}{word.raw}"
    return ""


def _is_data(path: str) -> bool:
    if _PASSING_PATH.match(path):
        return False
    return _DATA_PATH.search(path) is not None and not _SCRATCH.search(
        re.sub(r"backups?(?=$|[/*])", "kept", path)
    )


def _in_the_cloud(texts: list[str]) -> str:
    joined = " ".join(texts)
    match = re.search(
        r"^(?:aws s3 (?:rm\b.*--recursive|rb\b.*--force)|gsutil.* rm -r|terraform destroy|mc rm .*--recursive|mc rb .*--force)",
        joined,
    )
    return " ".join(match.group().split()[:3]) if match is not None else ""


def _of_containers(texts: list[str]) -> str:
    while texts and texts[0] in ("sudo", "time", "env"):
        texts = texts[1:]
    joined = " ".join(texts)
    if re.match(r"(?:docker|podman)[ -]compose\b.*\bdown\b", joined) and {"-v", "--volumes"} & set(texts):
        return "docker compose down -v"
    if re.match(r"(?:docker|podman) system prune\b", joined) and "--volumes" in texts:
        return "docker system prune --volumes"
    match = re.match(r"(?:docker|podman) volume (?:prune|rm|remove)\b", joined)
    if match is not None:
        return match.group()
    match = re.match(
        r"(?:kubectl|oc) .*?\bdelete\b.*?\b(?:pvc|pv|ns|namespaces?|persistentvolumeclaims?)\b", joined
    )
    return "kubectl delete " + match.group().split()[-1] if match is not None else ""
