"""What is linted: files, found below the paths that were given, each with its kind."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import re
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Literal

from pytest_opsrunbooks import textfile
from pytest_opsrunbooks.runbooks.lint import fragments
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
from pytest_opsrunbooks.runbooks.lint.markdown import Markdown

Kind = Literal["markdown", "shell", "sql", "yaml", "json", "jq", "crontab", "rules", "compose"]

MAX_FILE_BYTES = 4 << 20

_BY_SUFFIX: dict[str, Kind] = {
    ".md": "markdown", ".markdown": "markdown", ".sh": "shell", ".bash": "shell", ".sql": "sql", ".yml": "yaml",
    ".yaml": "yaml", ".json": "json", ".jq": "jq", ".cron": "crontab", ".crontab": "crontab", ".rules": "rules",
}  # fmt: skip
_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "venv", "site-packages"})
_WITH_COMMENTS = re.compile(
    r"(?:tsconfig|jsconfig|devcontainer|launch|settings)(?:\..*)?\.json|package-lock\.json"
)
"""JSON files that editors and compilers read with comments in them, or that no person writes."""
_SHEBANG = re.compile(r"#!\s*(?:/usr/bin/env\s+(?:-S\s+)?|\S*/)(?:ba|da|k)?sh\b")
_POLYGLOT = re.compile(r"\A.*\n\s*(?:'''|\"\"\"|\"exec\" )")
"""Python that begins as a shell script, to find its interpreter."""
_RUNBOOK_WORDS = re.compile(
    r"\b(?:run-?books?|on-?call|incident|escalation|post-?mortem|resolution|diagnosis|mitigation|troubleshooting|playbook|rollback|recovery)\b",
    re.IGNORECASE,
)


_OWN_KEYS = frozenset({"id", "severity", "detects", "last_reviewed", "review_every"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Document:
    """One file. Parsed parts are worked out when first asked for and kept."""

    path: pathlib.Path
    relative: str
    """To the path that was given, with forward slashes; the name when the file itself was given."""
    text: str
    kind: Kind
    base: pathlib.Path = pathlib.Path()
    """The folder that was given, or the one that the given file lies in."""

    @functools.cached_property
    def folder(self) -> str:
        """The folder that it lies in, from the root, without `..`."""
        return os.path.normpath(self.path.parent.absolute())

    @functools.cached_property
    def lines(self) -> list[str]:
        """The lines without their ends; `lines[0]` is line 1."""
        return self.text.split("\n")

    @functools.cached_property
    def markdown(self) -> Markdown:
        """The parsed text of a Markdown document."""
        return Markdown(self.text)

    @functools.cached_property
    def fragments(self) -> tuple[Fragment, ...]:
        """Its pieces in another language: the fenced blocks of a page, the script itself, the SQL inside
        scripts.
        """
        return fragments.of_document(self)

    @functools.cached_property
    def has_front_matter(self) -> bool:
        """Whether it begins as a runbook page of the project's own format does. Site builders have front matter
        too, with an `id` and a `title`.
        """
        if self.kind != "markdown":
            return False
        head = self.lines[: self.markdown.front_matter_end_line]
        return len({line.partition(":")[0] for line in head if ":" in line} & _OWN_KEYS) > 1

    @functools.cached_property
    def operational(self) -> bool:
        """Whether people follow it in an incident: a page with our front matter, or one that by its place,
        its title or its headings is a runbook. Rules about unfinished text speak only of these.
        """
        if self.kind != "markdown":
            return self.kind in ("shell", "crontab")
        if self.has_front_matter or _RUNBOOK_WORDS.search(self.relative.replace("_", "-")):
            return True
        if any(
            part.lower() in ("runbooks", "runbook", "ops", "playbooks")
            for part in self.path.absolute().parts[:-1]
        ):
            return True
        headings = self.markdown.headings
        if any(h.level == 1 and _RUNBOOK_WORDS.search(h.text) for h in headings):
            return True
        return sum(bool(_RUNBOOK_WORDS.search(h.text)) for h in headings) >= 2

    def finding(
        self, line: int, message: str, suggestion: str = "", *, end_line: int | None = None
    ) -> Finding:
        """A finding in this document, for a rule to yield."""
        return Finding(
            file=self.relative,
            line=line,
            end_line=max(line, end_line or line),
            message=message,
            suggestion=suggestion,
            path=self.path,
        )


class Unreadable(Exception):  # noqa: N818 - named for what is wrong
    """A path cannot be linted; the text is a finished line."""


def find(paths: Sequence[pathlib.Path]) -> tuple[tuple[Document, ...], tuple[str, ...]]:
    """Every document below the paths, each once, and a line for each that cannot be read.

    In a folder files of other kinds, hidden folders and installed packages are passed over; a file that is
    named is always read.
    """
    found: dict[pathlib.Path, Document] = {}
    problems: list[str] = []
    for path in paths:
        if path.is_dir():
            for file in _lintable(path):
                _add(found, problems, file, path, file.relative_to(path).as_posix(), named=False)
        else:
            _add(found, problems, path, path.parent, path.name, named=True)
    return tuple(found.values()), tuple(problems)


def read(path: pathlib.Path, *, base: pathlib.Path | None = None, kind: Kind | None = None) -> Document:
    """One file. Raises Unreadable."""
    base = path.parent if base is None else base
    try:
        text = textfile.read(path, max_bytes=MAX_FILE_BYTES)
    except OSError as exc:
        raise Unreadable(f"{path}: cannot be read: {textfile.reason(exc)}") from exc
    relative = path.relative_to(base).as_posix() if path.is_relative_to(base) else path.name
    kind = kind or kind_of(path, text)
    if kind is None:
        raise Unreadable(
            f"{path}: is of no kind that can be linted; expected Markdown, a shell script, SQL, YAML, JSON or a crontab"
        )
    return Document(path=path, relative=relative, text=text, kind=kind, base=base)


def _add(
    found: dict[pathlib.Path, Document],
    problems: list[str],
    file: pathlib.Path,
    base: pathlib.Path,
    relative: str,
    *,
    named: bool,
) -> None:
    real = file.resolve()
    if real in found:
        return
    try:
        document = read(file, base=base)
    except Unreadable as exc:
        if named or file.suffix.lower() in _BY_SUFFIX:
            problems.append(str(exc))
        return
    found[real] = dataclasses.replace(document, relative=relative)


def walk_files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Every file below the folder, without hidden folders and installed packages, in order."""
    for directory, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name not in _SKIPPED_FOLDERS
            and not pathlib.Path(directory, name, "pyvenv.cfg").exists()
        )  # fmt: skip
        yield from (pathlib.Path(directory, name) for name in sorted(files))


def _lintable(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    return (file for file in walk_files(folder) if _concerns(file) and file.is_file())


def _concerns(file: pathlib.Path) -> bool:
    if file.suffix == "":
        return not file.name.startswith(".") and _begins_as_script(file)
    if file.name.startswith(".") or _WITH_COMMENTS.fullmatch(file.name):
        return False
    return file.suffix.lower() in _BY_SUFFIX


def _begins_as_script(file: pathlib.Path) -> bool:
    if file.name.lower() == "crontab":
        return True
    try:
        if not file.is_file():
            return False
        with file.open("rb") as stream:
            return _SHEBANG.match(stream.read(80).decode("ascii", "replace")) is not None
    except OSError:
        return False


def kind_of(path: pathlib.Path, text: str) -> Kind | None:
    """What a file is, by its name and where that leaves it open by its text."""
    kind = _BY_SUFFIX.get(path.suffix.lower())
    if kind == "yaml":
        return _yaml_kind(path, text)
    if kind is not None:
        return kind
    if path.name.lower() == "crontab" or path.parent.name in ("cron.d", "crontabs"):
        return "crontab"
    return "shell" if _SHEBANG.match(text) and not _POLYGLOT.search(text[:400]) else None


def _yaml_kind(path: pathlib.Path, text: str) -> Kind:
    if re.search(r"^groups:", text, re.MULTILINE) and re.search(
        r"^\s*(?:-\s+)?(?:alert|record|expr):", text, re.MULTILINE
    ):
        return "rules"
    if re.search(r"^services:", text, re.MULTILINE) or re.match(r"(?:docker-)?compose\b", path.name):
        return "compose"
    return "yaml"
