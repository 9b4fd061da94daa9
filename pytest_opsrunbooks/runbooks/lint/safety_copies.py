"""Rules about copies: of databases that are in use, over databases, chosen by name, and proofs that prove
less than a restore.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.shell import Command
from pytest_opsrunbooks.runbooks.lint.shell import Pipeline
from pytest_opsrunbooks.runbooks.lint.shell import Word
from pytest_opsrunbooks.runbooks.lint.shell_blocks import KINDS
from pytest_opsrunbooks.runbooks.lint.shell_blocks import shell_fragments
from pytest_opsrunbooks.runbooks.lint.world import World

_DATABASE = re.compile(r"\.(?:db|sqlite3?)\*?$", re.IGNORECASE)
_COPY_NAMES = re.compile(
    r"backups?|\bbak\b|emergency|snapshot|restored?|recover(?:ed|y)|rebuilt|\bcopy\b|broken|corrupt|damaged|\bold\b|scratch|\btmp\b|temp|/tmp/|test|drill"
    r"|example|fixture|dump|archive|salvage|\bnew\b|\d{8}",
    re.IGNORECASE,
)
_STOPPED = re.compile(
    r"\bsystemctl\s+(?:--user\s+)?stop\b|\bdocker\s+(?:compose\s+)?(?:stop|down)\b|docker-compose\s+(?:stop|down)\b|--replicas=0|\bsupervisorctl\s+stop\b|\bservice\s+\S+\s+stop\b|\bfuser\b|\blsof\b"
)


def _path(word: Word, fragment: Fragment) -> str:
    """The path that a word stands for, as far as the block says it: variables of the block are filled in."""
    values = {a.name: a.value.text for a in fragment.script.assignments if a.value is not None}
    text = word.raw.replace('"', "").replace("'", "")
    for _ in range(3):
        text = re.sub(r"\$\{?([A-Za-z_]\w*)\}?", lambda m: values.get(m[1], m[0]), text)
    return text


def _copied(command: Command, fragment: Fragment) -> tuple[list[str], str] | None:
    """Sources and target of a copy or a move."""
    if command.program not in ("cp", "mv", "rsync", "scp", "install"):
        return None
    words = [_path(word, fragment) for word in command.effective[1:] if not word.text.startswith("-")]
    return (words[:-1], words[-1]) if len(words) > 1 else None


@rule(
    "safety-live-copy",
    severity="error",
    group="safety",
    kinds=(*KINDS, "crontab"),
    defers_to=("shell-syntax",),
    summary="A SQLite database that may be in use is copied with cp.",
)
def live_copy(document: Document, world: World) -> Iterable[Finding]:
    """A copy of pages that are being written is torn, and what is still in the `-wal` is missing from it. Use
    `sqlite3 FILE ".backup 'COPY'"` or `VACUUM INTO`, which are right while writers write. With the writer
    stopped through its manager before, or with the `-wal` copied too, `cp` is left alone; a kill does not
    count.
    """
    del world
    if not document.operational:
        return
    for fragment in shell_fragments(document):
        for command in fragment.script.commands:
            copied = _copied(command, fragment)
            if copied is None or command.program == "mv":
                continue
            for source in copied[0]:
                if (
                    _DATABASE.search(source)
                    and not _COPY_NAMES.search(source)
                    and not _is_whole(fragment, source, command)
                ):
                    yield fragment.finding(
                        command.line,
                        f"{command.program} of {source} while it may be in use gives a torn copy, without what is in its -wal",
                        f"sqlite3 {source.rstrip('*')} \".backup 'COPY.db'\"",
                    )


def _is_whole(fragment: Fragment, source: str, command: Command) -> bool:
    """Whether the writers were stopped before, or the parts are copied together."""
    before = fragment.text.encode("utf-8", "replace")[: command.offset].decode("utf-8", "replace")
    code = "\n".join(line for line in before.split("\n") if not line.lstrip().startswith("#"))
    name = source.rstrip("*").rpartition("/")[2]
    parts = re.search(rf"(?:cp|rsync)\b[^\n]*(?:{re.escape(name)}-wal|\{{,?-wal)", fragment.text) is not None
    return _STOPPED.search(code) is not None or parts


@rule(
    "safety-restore-leaves-wal",
    severity="error",
    group="safety",
    kinds=KINDS,
    defers_to=("shell-syntax",),
    summary="A database is put in the place of another, whose -wal stays beside it.",
)
def restore_leaves_wal(document: Document, world: World) -> Iterable[Finding]:
    """SQLite applies a `-wal` that it finds beside a database: the one of the old database damages the
    restored one. Move `FILE-wal` and `FILE-shm` away with the old file, or restore with `sqlite3 FILE
    ".restore 'COPY'"`.
    """
    del world
    if not document.operational:
        return
    for fragment in shell_fragments(document):
        if re.search(r"-wal\b|\.db\*|\.sqlite3?\*", fragment.text):
            continue
        for command in fragment.script.commands:
            target = _restored_over(command, fragment)
            if target:
                yield fragment.finding(
                    command.line,
                    f"{target} is replaced, and the {target.rpartition('/')[2]}-wal of the old one stays and is applied to it",
                    f"move {target}-wal and {target}-shm away first, or: sqlite3 {target} \".restore 'COPY.db'\"",
                )


def _restored_over(command: Command, fragment: Fragment) -> str:
    copied = _copied(command, fragment)
    if copied is not None:
        sources, target = copied
        if (
            _DATABASE.search(target)
            and not _COPY_NAMES.search(target)
            and all(_COPY_NAMES.search(s) or "$" in s for s in sources)
        ):
            return target
        return ""
    if command.program in ("gunzip", "zcat", "gzip", "zstd", "cat", "zstdcat", "curl", "wget"):
        for redirect in command.redirects:
            if (
                redirect.operator == ">"
                and _DATABASE.search(redirect.target)
                and not _COPY_NAMES.search(redirect.target)
            ):
                return redirect.target
    return ""


# -- chosen by name ------------------------------------------------------------------------------------------

_KEPT_FILES = re.compile(r"backup|dump|snapshot|\.bak|\.sql|\.gz|\.db\b|\.tar|\.zst|archive", re.IGNORECASE)


@rule(
    "safety-newest-by-name",
    severity="warning",
    group="safety",
    kinds=(*KINDS, "crontab"),
    defers_to=("shell-syntax",),
    summary="The newest or the oldest backup is chosen by the order of names.",
)
def newest_by_name(document: Document, world: World) -> Iterable[Finding]:
    """`ls backups | tail -1` is the last name and not the last backup: `pre-migration` sorts after `2026…`,
    and a file that does not restore counts too. Choose by a time (`ls -t`, `find -printf '%T@ %p'`), or best
    the newest that restores.
    """
    del world
    for fragment in shell_fragments(document):
        for pipeline in fragment.script.pipelines:
            what = _chosen(pipeline, fragment)
            if what:
                yield fragment.finding(
                    pipeline.line,
                    f"this chooses {what} by its name",
                    "choose by time, or the newest that restores: opsrunbooks backup verify",
                    end_line=pipeline.end_line,
                )


def _chosen(pipeline: Pipeline, fragment: Fragment) -> str:  # noqa: PLR0911 - one line for each kind
    commands = pipeline.commands
    if len(commands) < 2 or commands[0].program not in ("ls", "find"):
        return ""
    first = commands[0]
    shown = " ".join(_path(word, fragment) for word in first.args)
    raw = " ".join(word.raw for command in commands[:-1] for word in command.args)
    if not _KEPT_FILES.search(shown) or re.search(r"%T|%C|\s?-V\b|--time-style", raw):
        return ""
    if first.program == "ls" and any(
        re.fullmatch(r"-[A-Za-z0-9]*[tSUcu][A-Za-z0-9]*|--sort=\S+", word.text) for word in first.args
    ):
        return ""
    if any(
        command.program == "sort" and any(re.match(r"-\w*[nk]", w.text) for w in command.args)
        for command in commands
    ):
        return ""
    picks = next((c for c in commands[1:] if c.program in ("head", "tail")), None)
    if picks is None:
        return ""
    count = re.search(r"-n?\s*([+-]?\d+)", " ".join(word.text for word in picks.args))
    removed = commands[-1].name == "xargs" and commands[-1].program in ("rm", "unlink", "shred")
    if removed:
        return "what to delete"
    if (
        count is not None
        and count[1].lstrip("-") == "1"
        and (picks.substitution or commands[-1].name == "xargs" or len(commands) > 2)
    ):
        reverse = any(
            re.fullmatch(r"-\w*r\w*", w.text)
            for c in commands[:-1]
            if c.program in ("ls", "sort")
            for w in c.args
        )
        return (
            "the newest file"
            if (picks.program == "tail") != reverse
            else "the oldest file"
            if not reverse
            else "the newest file"
        )
    return ""


# -- proofs --------------------------------------------------------------------------------------------------

_TESTS_COMPRESSION = re.compile(r"^-\w*t\w*$|^--test$")
_RESTORES = re.compile(
    r"\bcreatedb\b|\bpg_restore\b(?!\s+(?:-l|--list))|(?:zcat|gunzip\s+-c|gzip\s+-dc|zstd\s+-dc)\b[^\n]*\|[^\n]*(?:psql|sqlite3|mysql)|\bpsql\b[^\n]*(?:<|-f)"
    r"|\.restore\b|opsrunbooks\s+backup\s+(?:verify|restore)|\brestore[-_]test|test[-_]restore|integrity_check|verify_backups",
    re.IGNORECASE,
)


@rule(
    "safety-compression-as-proof",
    severity="warning",
    group="safety",
    kinds=(*KINDS, "crontab"),
    defers_to=("shell-syntax",),
    summary="A backup is called good because its compression is: that does not show that it restores.",
)
def compression_as_proof(document: Document, world: World) -> Iterable[Finding]:
    """`gunzip -t` passes for an empty dump, for one that pg_dump broke off, and for the wrong database. Restore
    it into a scratch database and count rows; the test of the compression may come before that.
    """
    del world
    for fragment in shell_fragments(document):
        if not _speaks_of_backups(fragment) or _RESTORES.search(_until_end_of_section(fragment)):
            continue
        for command in fragment.script.commands:
            if _tests_compression(command):
                yield fragment.finding(
                    command.line,
                    f"{command.program} tests the compression only; an empty or broken-off dump passes",
                    "restore it into a scratch database and count rows",
                )


def _tests_compression(command: Command) -> bool:
    texts = [word.text for word in command.effective[1:]]
    if command.program in ("gunzip", "gzip", "zstd", "unzip", "xz", "bzip2", "pigz"):
        return any(_TESTS_COMPRESSION.match(text) for text in texts)
    if command.program == "tar":
        quiet = (
            any(">" in r.operator and r.target == "/dev/null" for r in command.redirects)
            or command.condition
            or bool(command.followed_by)
        )
        return quiet and bool(texts) and re.match(r"-?\w*t\w*$", texts[0]) is not None
    return False


def _speaks_of_backups(fragment: Fragment) -> bool:
    if re.search(
        r"backups?[/_.-]|[_-]backup|pg_dump|mysqldump|\.sql\b|\.dump\b|\bbackup (?:is )?(?:ok|valid|verified|intact)",
        fragment.text,
        re.IGNORECASE,
    ):
        return True
    if fragment.document.kind != "markdown":
        return "backup" in fragment.document.relative.lower()
    return any(
        re.search(r"backup|restore", h.text, re.IGNORECASE)
        for h in fragment.document.markdown.section_at(fragment.first_line)
    )


def _until_end_of_section(fragment: Fragment) -> str:
    """The fragment, and in a page what follows it in its section."""
    document = fragment.document
    if document.kind != "markdown":
        return fragment.text
    inside = [s for s in document.markdown.sections if s.heading.line <= fragment.first_line <= s.end_line]
    end = inside[-1].end_line if inside else len(document.lines)
    return "\n".join(document.lines[fragment.first_line - 1 : end])


RULES = (live_copy, restore_leaves_wal, newest_by_name, compression_as_proof)
