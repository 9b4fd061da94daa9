"""A shell script as a value: its commands with their words, pipelines, redirections, variables. Pure; parsed
by tree-sitter.

Lines count from 1 within the text that was given. What the shell works out while it runs is not known:
`Word.value` is None for a word with an expansion in it.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator
from typing import Literal

Quoting = Literal["", "single", "double", "mixed"]
Scope = tuple[tuple[Literal["if", "case", "loop", "function"], int, int], ...]
"""Each: what kind of compound, where it begins (an offset, as its name), and which of its branches (0 is the
first).
"""

PLACEHOLDER = re.compile(
    r"(?<![<\w])<(?!/)[A-Za-z][A-Za-z0-9_]*(?:[ .:/|'-]+[A-Za-z0-9_]+)*(?:\.\.\.)?>(?!\()"
)
"""`<snapshot-id>`: a value that the reader is to fill in. To the shell it is two redirections."""

_WRAPPERS_WITH_VALUE = {
    "sudo": frozenset(["-u", "-g", "-h", "-p", "-C", "-T", "-U", "-r", "-t"]),
    "env": frozenset(("-u", "-C", "--unset", "--chdir")),
    "nice": frozenset(("-n",)), "ionice": frozenset(["-c", "-n", "-p"]), "timeout": frozenset(["-s", "-k"]),
    "nohup": frozenset(), "time": frozenset(("-f", "-o")), "command": frozenset(), "exec": frozenset(("-a",)),
    "builtin": frozenset(), "setsid": frozenset(), "stdbuf": frozenset(["-i", "-o", "-e"]), "chroot": frozenset(),
    "xargs": frozenset(["-I", "-n", "-P", "-L", "-d", "-E", "-s", "-a"]), "doas": frozenset(("-u", "-C")),
    "flock": frozenset(["-w", "-E"]),
}  # fmt: skip
_POSITIONALS = {"timeout": 1, "flock": 1, "chroot": 1}
_EXEC_OPTIONS_WITH_VALUE = frozenset(
    ["-e", "-u", "-w", "--env", "--user", "--workdir", "--index", "-c", "-n", "--container", "--namespace"]
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Word:
    """One word. `raw` is as written; `value` is what the command is given, or None when only the running
    shell knows.
    """

    raw: str
    value: str | None
    line: int
    end_line: int
    quoting: Quoting = ""
    expansions: tuple[str, ...] = ()
    """Names of the variables in it."""
    substitutes: bool = False
    """Whether the output of a command is part of it."""
    offset: int = 0

    @property
    def text(self) -> str:
        """The value where it is known, else the word without its outer quotes."""
        if self.value is not None:
            return self.value
        raw = self.raw
        return raw[1:-1] if len(raw) > 1 and raw[0] == raw[-1] and raw[0] in "\"'" else raw


@dataclasses.dataclass(frozen=True, kw_only=True)
class Redirect:
    """`2>>log`: operator `>>`, descriptor 2."""

    operator: str
    target: str
    descriptor: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heredoc:
    """A text that follows the command. `expands` is False when its delimiter is quoted."""

    text: str
    line: int
    expands: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """A simple command, also `[ … ]` and `export X=1`."""

    words: tuple[Word, ...]
    line: int
    end_line: int
    offset: int
    end_offset: int
    assigns: tuple[str, ...] = ()
    """Variables set before its name: `LANG=C sort`."""
    redirects: tuple[Redirect, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()
    piped_from: bool = False
    piped_into: bool = False
    negated: bool = False
    followed_by: Literal["", "&&", "||"] = ""
    """Whether it is the left side of a list, or the end of one."""
    preceded_by: Literal["", "&&", "||"] = ""
    condition: bool = False
    """Whether its status decides an `if`, `while` or `until`."""
    function: str = ""
    """The function that it stands in."""
    substitution: bool = False
    """Whether it stands in `$(…)`."""
    background: bool = False
    scope: Scope = ()
    """What it stands in, outermost first."""

    @property
    def name(self) -> str:
        """The command's name as written; empty when only the running shell knows."""
        return (self.words[0].value or "") if self.words else ""

    @property
    def args(self) -> tuple[Word, ...]:
        """The words after the name."""
        return self.words[1:]

    @functools.cached_property
    def effective(self) -> tuple[Word, ...]:
        """The words without what only runs them: `sudo -u x`, `env A=1`, `timeout 5`, `docker exec
        CONTAINER`, `xargs`.
        """
        words = self.words
        while words and (shorter := _unwrap(words)) is not None:
            words = shorter
        return words

    @property
    def program(self) -> str:
        """The name of the effective command without its folder."""
        words = self.effective
        return (words[0].value or "").rpartition("/")[2] if words else ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Commands joined by `|`; of one command where there is no `|`. Compound members (loops, groups) are left
    out.
    """

    commands: tuple[Command, ...]
    line: int
    end_line: int
    compound: bool = False
    """Whether a loop or a group is one of its members."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assignment:
    """`NAME=value`, `export NAME=value`. `value` is None for an array or without one."""

    name: str
    value: Word | None
    line: int
    offset: int
    declared_by: str = ""
    """`export`, `local`, `readonly`, `declare`."""
    scope: Scope = ()
    preceded_by: Literal["", "&&", "||"] = ""
    followed_by: Literal["", "&&", "||"] = ""
    end_offset: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Use:
    """An expansion of a variable."""

    name: str
    line: int
    offset: int
    operator: str = ""
    """`:-`, `:?`, `#` … of `${NAME:-x}`."""
    length: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Script:
    """A parsed text."""

    text: str
    commands: tuple[Command, ...]
    pipelines: tuple[Pipeline, ...]
    assignments: tuple[Assignment, ...]
    uses: tuple[Use, ...]
    sets: frozenset[str]
    """Every variable that gets a value by any means: assignment, `for`, `read`, `getopts`, `printf -v`."""
    functions: frozenset[str]
    placeholders: tuple[tuple[int, str], ...]
    """(line, text) of every `<value>` that the reader is to fill in, outside of here-documents."""
    error_line: int | None
    """The first line that the parser could not read; a hint only, `bash -n` decides."""
    options: frozenset[str]
    """What `set` turned on anywhere: `e`, `u`, `pipefail`."""


def without_placeholders(text: str) -> str:
    """The text with each `<value>` replaced by a plain word of the same length, so that it can be parsed."""
    return PLACEHOLDER.sub(lambda match: re.sub(r"[^A-Za-z0-9_]", "_", match.group()), text)


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Script:
    """Read a script. Never raises for what is in it; see `Script.error_line`. Raises CannotTell without the
    parser.
    """
    source = without_placeholders(text)
    from pytest_opsrunbooks.runbooks.lint import shell_reading  # it builds these types

    reader, error_line = shell_reading.read(source)
    return Script(
        text=text,
        commands=tuple(sorted(reader.commands, key=lambda c: c.offset)),
        pipelines=tuple(reader.pipelines),
        assignments=tuple(reader.assignments),
        uses=tuple(reader.uses),
        sets=frozenset(reader.sets | {a.name for a in reader.assignments}),
        functions=frozenset(reader.functions),
        placeholders=tuple(_placeholders(text, reader.heredoc_lines)),
        error_line=error_line,
        options=_options(reader.commands, text),
    )


def _placeholders(text: str, heredoc_lines: set[int]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if number not in heredoc_lines and not line.lstrip().startswith("#"):
            for match in PLACEHOLDER.finditer(line):
                yield number, match.group()


def _options(commands: list[Command], text: str) -> frozenset[str]:
    found: set[str] = set()
    first = text.split("\n", 1)[0]
    if first.startswith("#!") and (match := re.search(r"\s-([a-z]+)\s*$", first)):
        found |= set(match.group(1))
    for command in commands:
        if command.name == "set":
            values = [word.text for word in command.args]
            for value, following in zip(values, [*values[1:], ""], strict=True):
                if value.startswith("-") and not value.startswith("--"):
                    found |= set(value[1:]) - {"o"}
                    if value.endswith("o") and following:
                        found.add({"errexit": "e", "nounset": "u"}.get(following, following))
    return frozenset(found)


def _unwrap(words: tuple[Word, ...]) -> tuple[Word, ...] | None:
    """What a wrapper runs; None when the first word is no wrapper."""
    name = (words[0].value or "").rpartition("/")[2]
    if name in ("docker", "podman", "docker-compose", "kubectl"):
        return _unwrap_exec(words)
    if name not in _WRAPPERS_WITH_VALUE:
        return None
    with_value, positionals = _WRAPPERS_WITH_VALUE[name], _POSITIONALS.get(name, 0)
    index = 1
    while index < len(words):
        text = words[index].text
        if text == "--":
            index += 1
            break
        if text.startswith("-"):
            index += 2 if text in with_value else 1
        elif name in ("env", "sudo") and re.match(r"[A-Za-z_]\w*=", words[index].raw):
            index += 1
        elif positionals:
            positionals -= 1
            index += 1
        else:
            break
    return words[index:] or None


def _unwrap_exec(words: tuple[Word, ...]) -> tuple[Word, ...] | None:
    texts = [word.text for word in words]
    if "exec" not in texts[:8]:
        return None
    index = texts.index("exec") + 1
    while index < len(texts) and texts[index].startswith("-") and texts[index] != "--":
        index += 2 if texts[index] in _EXEC_OPTIONS_WITH_VALUE else 1
    index += 1  # the container
    if index < len(texts) and texts[0].endswith("kubectl"):
        while index < len(texts) and texts[index].startswith("-") and texts[index] != "--":
            index += 2 if texts[index] in _EXEC_OPTIONS_WITH_VALUE else 1
    if index < len(texts) and texts[index] == "--":
        index += 1
    return words[index:] or None


def unescape_double(text: str) -> str:
    """The text of a double-quoted string as the command is given it; a continued line keeps its line end, so
    that lines stay where they are.
    """
    return re.sub(r'\\([$`"\\])', r"\1", text)
