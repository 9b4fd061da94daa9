"""The SQL and the crontab lines that stand inside shell."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from pytest_opsrunbooks.runbooks.lint import fragments
from pytest_opsrunbooks.runbooks.lint import shell
from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
from pytest_opsrunbooks.runbooks.lint.shell import Command

_SQL_WORDS = re.compile(
    r"^\s*(?:--.*\n\s*)*(?:SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH|CREATE|ALTER|DROP|PRAGMA|VACUUM|ANALYZE|REINDEX|TRUNCATE|EXPLAIN|BEGIN"
    r"|COMMIT|ROLLBACK|ATTACH|GRANT|REVOKE|SET|SHOW|CHECKPOINT|COPY)\b",
    re.IGNORECASE,
)


def of_fragment(fragment: Fragment) -> Iterator[Fragment]:
    """The SQL and the crontab lines that the commands of a shell fragment are given."""
    try:
        script = fragment.script
    except Exception as exc:
        from pytest_opsrunbooks.runbooks.lint.findings import CannotTell

        if isinstance(exc, CannotTell):
            return  # every rule that reads shell says so
        raise
    for index, command in enumerate(script.commands):
        if command.program in _SQL_CLIENTS:
            dialect, finder = _SQL_CLIENTS[command.program]
            yield from _statements(fragment, command, dialect, finder(command), index)
        yield from _crontab_lines(fragment, command)


def _statements(
    fragment: Fragment, command: Command, dialect: str, given: _Given, index: int
) -> Iterator[Fragment]:
    for word in given.texts:
        yield _part(
            fragment,
            command,
            dialect,
            given.database,
            text=_inner(word.raw),
            line=word.line,
            expands=word.quoting != "single",
        )
    for heredoc in command.heredocs:
        yield _part(
            fragment,
            command,
            dialect,
            given.database,
            text=heredoc.text,
            line=heredoc.line,
            expands=heredoc.expands,
        )
    for redirect in command.redirects:
        if redirect.operator == "<<<" and redirect.target[:1] in ("'", '"'):
            yield _part(
                fragment, command, dialect, given.database, text=_inner(redirect.target), line=command.line,
                expands=redirect.target[0] == '"',
            )  # fmt: skip
    if command.piped_from and not given.texts and index:
        before = fragment.script.commands[index - 1]
        if before.name in ("echo", "printf") and before.piped_into:
            for word in before.args:
                if _SQL_WORDS.match(_inner(word.raw)):
                    yield _part(
                        fragment, command, dialect, given.database, text=_inner(word.raw), line=word.line,
                        expands=word.quoting != "single",
                    )  # fmt: skip


def _inner(raw: str) -> str:
    if len(raw) > 1 and raw[0] == raw[-1] == "'":
        return raw[1:-1]
    if len(raw) > 1 and raw[0] == raw[-1] == '"':
        return shell.unescape_double(raw[1:-1])
    return raw


def _part(
    fragment: Fragment, command: Command, dialect: str, database: str, *, text: str, line: int, expands: bool
) -> Fragment:
    return Fragment(
        document=fragment.document,
        language="sql",
        text=text,
        first_line=fragment.file_line(line),
        indent=fragment.indent,
        origin="embedded",
        dialect=dialect,
        parent=fragment,
        command=command,
        expands=expands,
        database=database,
    )


@dataclasses.dataclass(frozen=True)
class _Given:
    database: str
    texts: tuple[shell.Word, ...]


_SQLITE_WITH_VALUE = frozenset(
    [
        "-cmd",
        "-init",
        "-separator",
        "-nullvalue",
        "-newline",
        "-mmap",
        "-maxsize",
        "-vfs",
        "-lookaside",
        "-pagecache",
        "-A",
    ]
)
_PSQL_WITH_VALUE = re.compile(
    r"-[dhpUvofFPRTL]|--(?:dbname|host|port|username|set|variable|output|file|field-separator|pset)"
)


def _sqlite(command: Command) -> _Given:
    """`sqlite3 [options] FILE [SQL …]`; dot commands are no SQL."""
    positional: list[shell.Word] = []
    texts: list[shell.Word] = []
    skip = ""
    for word in command.effective[1:]:
        if skip:
            if skip == "-cmd":
                texts.append(word)
            skip = ""
        elif not positional and word.text.startswith("-"):
            skip = word.text if word.text.replace("--", "-", 1) in _SQLITE_WITH_VALUE else ""
        else:
            positional.append(word)
    texts += positional[1:]
    return _Given(
        database=positional[0].text if positional else "",
        texts=tuple(
            word
            for word in texts
            if not word.text.lstrip().startswith(".") and _SQL_WORDS.match(_inner(word.raw))
        ),
    )


def _psql(command: Command) -> _Given:
    """`psql [-d NAME] -c SQL`."""
    database, texts = "", []
    words = command.effective[1:]
    index = 0
    while index < len(words):
        text = words[index].text
        following = words[index + 1] if index + 1 < len(words) else None
        if re.fullmatch(r"-[a-zA-Z]*c|--command", text) and following is not None:
            texts.append(following)
            index += 1
        elif match := re.fullmatch(r"-[a-zA-Z]*d|--dbname", text):
            del match
            database = following.text if following is not None else ""
            index += 1
        elif text.startswith("--dbname="):
            database = text.partition("=")[2]
        elif _PSQL_WITH_VALUE.fullmatch(text):
            index += 1
        elif not text.startswith("-") and not database:
            database = text
        index += 1
    return _Given(
        database=database, texts=tuple(word for word in texts if not word.text.lstrip().startswith("\\"))
    )


_SQL_CLIENTS = {"sqlite3": ("sqlite", _sqlite), "psql": ("postgres", _psql)}


def _crontab_lines(fragment: Fragment, command: Command) -> Iterator[Fragment]:
    """`echo "0 2 * * * …" | crontab -`, and a here-document for `crontab` or a file of cron.d."""
    if command.name in ("echo", "printf"):
        for word in command.args:
            text = _inner(word.raw)
            if fragments.CRON_TIMES.match(text):
                yield dataclasses.replace(
                    _part(
                        fragment, command, "", "", text=text, line=word.line, expands=word.quoting != "single"
                    ),
                    language="cron",
                )
    cron_target = command.program == "crontab" or any(
        "cron" in redirect.target for redirect in command.redirects
    )
    for heredoc in command.heredocs:
        if cron_target and any(fragments.CRON_TIMES.match(line) for line in heredoc.text.split("\n")):
            yield dataclasses.replace(
                _part(
                    fragment, command, "", "", text=heredoc.text, line=heredoc.line, expands=heredoc.expands
                ),
                language="cron",
            )
