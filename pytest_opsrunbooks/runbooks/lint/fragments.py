"""The pieces of a document that are in another language: fenced blocks, a script as a whole, the SQL inside
scripts.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Literal

from pytest_opsrunbooks.runbooks.lint import shell
from pytest_opsrunbooks.runbooks.lint.findings import Finding

if TYPE_CHECKING:
    from pytest_opsrunbooks.runbooks.lint.documents import Document
    from pytest_opsrunbooks.runbooks.lint.shell import Command
    from pytest_opsrunbooks.runbooks.lint.shell import Script

LANGUAGES = {
    "bash": "bash", "sh": "sh", "shell": "bash", "posix": "sh", "dash": "sh", "ksh": "sh", "zsh": "zsh",
    "console": "console", "shell-session": "console", "shellsession": "console", "sh-session": "console",
    "bash-session": "console", "terminal": "console",
    "sql": "sql", "sqlite": "sql", "sqlite3": "sql", "postgres": "sql", "postgresql": "sql", "psql": "sql", "pgsql": "sql",
    "yaml": "yaml", "yml": "yaml", "json": "json", "promql": "promql", "jq": "jq",
    "cron": "cron", "crontab": "cron", "logql": "logql", "http": "http",
}  # fmt: skip
"""What authors write after the fence, and the name that rules know it by."""
_OF_KIND = {
    "shell": "bash", "sql": "sql", "yaml": "yaml", "json": "json", "jq": "jq", "crontab": "cron",
    "rules": "rules", "compose": "compose",
}  # fmt: skip
_DIALECTS = {
    "sqlite": "sqlite",
    "sqlite3": "sqlite",
    "postgres": "postgres",
    "postgresql": "postgres",
    "psql": "postgres",
    "pgsql": "postgres",
}

_PROMPT = re.compile(r"^\s*(?:\([\w.-]+\)\s*)?(?:[\w.-]+@[\w.-]+[^$#%]*)?[$%]\s+(?=\S)")
_ROOT_PROMPT = re.compile(r"^\s*(?:[\w.-]+@[\w.-]+[^$#]*|\[[\w.@ ~/-]+\])?#\s+(?=[a-z./])")
CRON_TIMES = re.compile(
    r"^\s*(?:@(?:reboot|yearly|annually|monthly|weekly|daily|midnight|hourly)"
    r"|(?:[\d*][\d*/,-]*\s+){2}(?:[\d*][\d*/,-]*\s+)(?:(?:[\d*][\d*/,-]*|(?:[A-Za-z]{3}[,-]?)+)\s+)(?:[\d*][\d*/,-]*|(?:[A-Za-z]{3}[,-]?)+))\s+(?=\S)"
)
"""The five fields, or the `@` word, at the head of a crontab line."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fragment:
    """A piece of text in one language.

    `language` is one of the values of `LANGUAGES`, `rules` or `compose` for files of that kind, or what the
    author wrote. Console sessions come as `bash`, with prompts and output blanked out so that lines and
    columns stay. Lines within a fragment count from 1; `finding` turns them into lines of the file.
    """

    document: Document
    language: str
    text: str
    first_line: int
    """The line of the file that the text begins on."""
    indent: int = 0
    """Columns that the block is indented by in the file, and that its text lacks."""
    origin: Literal["fence", "file", "embedded"] = "fence"
    info: str = ""
    """What stands after the fence, as written."""
    dialect: str = ""
    """Of SQL, where something names it: `sqlite`, `postgres`; else empty."""
    parent: Fragment | None = None
    """The shell fragment that an embedded one was found in."""
    command: Command | None = None
    """The command that the embedded text is given to; its lines are the parent's."""
    expands: bool = False
    """Whether the shell expands `$NAME` in the text before the program sees it."""
    database: str = ""
    """Of SQL in a command: the file or database that the command names, as written."""

    @property
    def end_line(self) -> int:
        """The last line of the file that belongs to it."""
        return self.first_line + max(0, self.text.rstrip("\n").count("\n"))

    @functools.cached_property
    def lines(self) -> list[str]:
        """Its lines; `lines[0]` is line 1."""
        return self.text.split("\n")

    @functools.cached_property
    def script(self) -> Script:
        """The text read as a shell script. Only for `language` bash or sh."""
        return shell.parse(self.text)

    @property
    def is_shell(self) -> bool:
        """Whether it is to be read as a POSIX-like shell script."""
        return self.language in ("bash", "sh")

    def line_at(self, offset: int) -> int:
        """The line (from 1, in the fragment) of an offset in characters."""
        return self.text.count("\n", 0, offset) + 1

    def file_line(self, line: int) -> int:
        """The line of the file for a line of the fragment."""
        return self.first_line + line - 1

    def finding(
        self, line: int, message: str, suggestion: str = "", *, end_line: int | None = None
    ) -> Finding:
        """A finding at a line of the fragment (from 1), for a rule to yield."""
        end = None if end_line is None else self.file_line(end_line)
        return self.document.finding(self.file_line(line), message, suggestion, end_line=end)


def of_document(document: Document) -> tuple[Fragment, ...]:
    """Every fragment of the document, embedded ones after the one they stand in."""
    from pytest_opsrunbooks.runbooks.lint import embedded  # it builds fragments too

    found: list[Fragment] = []
    for fragment in _outer(document):
        found.append(fragment)
        if fragment.is_shell:
            found += embedded.of_fragment(fragment)
    return tuple(found)


def _outer(document: Document) -> Iterator[Fragment]:
    if document.kind != "markdown":
        yield Fragment(
            document=document,
            language=_OF_KIND[document.kind],
            text=document.text,
            first_line=1,
            origin="file",
        )
        return
    for fence in document.markdown.fences:
        word = re.split(r"[\s,{]", fence.info.lstrip("{. "), maxsplit=1)[0].rstrip("}").lower()
        yield _fenced(
            Fragment(
                document=document,
                language=LANGUAGES.get(word, word),
                text=fence.text,
                first_line=fence.first_line,
                indent=fence.indent,
                info=fence.info,
                dialect=_DIALECTS.get(word, ""),
            )
        )


def _fenced(fragment: Fragment) -> Fragment:
    """Console sessions and crontab lines are told from scripts by how they look: authors write `bash` for all
    three.
    """
    if fragment.language in ("console", "bash", "sh", "zsh"):
        if any(_PROMPT.match(line) for line in fragment.lines):
            return dataclasses.replace(fragment, language="bash", text=_typed(fragment.lines, _PROMPT))
        if fragment.language == "console":
            if any(_ROOT_PROMPT.match(line) for line in fragment.lines):
                return dataclasses.replace(
                    fragment, language="bash", text=_typed(fragment.lines, _ROOT_PROMPT)
                )
            return fragment
    if fragment.language in ("bash", "sh", "", "text") and _is_crontab(fragment.lines):
        return dataclasses.replace(fragment, language="cron")
    return fragment


def _typed(lines: list[str], prompt: re.Pattern[str]) -> str:
    """What a person typed: prompts blanked out, output left empty; a line that ends in `\\` goes on in the
    next, and so does an open quote or here-document, which are taken as typed until the next prompt.
    """
    typed: list[str] = []
    open_text = ""
    for line in lines:
        match = prompt.match(line)
        if match is not None:
            open_text = line[match.end() :]
            typed.append(" " * match.end() + open_text)
        elif open_text and _goes_on(open_text):
            continued = re.sub(r"^(\s*)>(?=\s)", r"\1 ", line)
            open_text += "\n" + continued
            typed.append(continued)
        else:
            open_text = ""
            typed.append("")
    return "\n".join(typed)


def _goes_on(text: str) -> bool:
    if text.rstrip().endswith(("\\", "|", "&&", "||")):
        return True
    match = re.search(r"<<-?\s*(['\"]?)(\w+)\1", text)
    if match is not None:
        return not re.search(rf"^\s*{re.escape(match.group(2))}\s*$", text, re.MULTILINE)
    return _open_quote(text)


def _open_quote(text: str) -> bool:
    quote = ""
    index = 0
    while index < len(text):
        char = text[index]
        if char == "\\" and quote != "'":
            index += 1
        elif quote:
            if char == quote:
                quote = ""
        elif char in "'\"" and (char == '"' or index == 0 or not text[index - 1].isalnum()):
            quote = char
        index += 1
    return bool(quote)


def _is_crontab(lines: list[str]) -> bool:
    spoken = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    scheduled = [line for line in spoken if CRON_TIMES.match(line)]
    return bool(scheduled) and all(
        CRON_TIMES.match(line) or re.match(r"\s*[A-Z_]+\s*=", line) for line in spoken
    )
