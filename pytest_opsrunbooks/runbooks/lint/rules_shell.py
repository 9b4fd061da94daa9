"""Rules about shell blocks and scripts as text: whether they parse, and what the shell makes of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping

from pytest_opsrunbooks.runbooks.lint import platforms
from pytest_opsrunbooks.runbooks.lint import shell
from pytest_opsrunbooks.runbooks.lint import shell_variables
from pytest_opsrunbooks.runbooks.lint import shellcheck
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.shell import Command
from pytest_opsrunbooks.runbooks.lint.shell_blocks import KINDS
from pytest_opsrunbooks.runbooks.lint.shell_blocks import shell_fragments
from pytest_opsrunbooks.runbooks.lint.world import World


def _dialect(fragment: Fragment) -> str:
    """ShellCheck's name for the shell that the fragment is for."""
    first = fragment.lines[0]
    if first.startswith("#!"):
        return "sh" if re.search(r"[/\s](?:sh|dash)\b", first) else "bash"
    return "bash"


def _said(fragment: Fragment, world: World) -> tuple[shellcheck.Comment, ...]:
    """What ShellCheck says of the fragment; all fragments are asked about at once."""

    def ask() -> Mapping[tuple[str, str], tuple[shellcheck.Comment, ...]]:
        everything = [
            f for document in world.together if document.kind in KINDS for f in shell_fragments(document)
        ]
        return shellcheck.comments((_dialect(f), shell.without_placeholders(f.text)) for f in everything)

    key = (_dialect(fragment), shell.without_placeholders(fragment.text))
    known = world.once("shellcheck", ask)
    return known[key] if key in known else shellcheck.comments([key])[key]


def _syntax_problem(fragment: Fragment, world: World) -> shellcheck.SyntaxProblem | None:
    """bash has the last word; it is asked where one of the two parsers stumbled."""

    def ask() -> shellcheck.SyntaxProblem | None:
        stumbled = fragment.script.error_line is not None or any(
            each.about_parsing for each in _said(fragment, world)
        )
        return shellcheck.syntax_problem(shell.without_placeholders(fragment.text)) if stumbled else None

    return world.once(f"bash-n:{fragment.document.path}:{fragment.first_line}", ask)


@rule(
    "shell-syntax", severity="error", group="shell", kinds=KINDS,
    summary="A script or a fenced shell block does not parse.",
)  # fmt: skip
def syntax(document: Document, world: World) -> Iterable[Finding]:
    """Judged by `bash -n`, which runs nothing. `<placeholders>` are taken for words. A synopsis or a
    program's output belongs in a block that is not marked as shell.
    """
    for fragment in shell_fragments(document):
        problem = _syntax_problem(fragment, world)
        if problem is None or _is_no_script(fragment):
            continue
        line = problem.line
        if ("unexpected" in problem.message and "EOF" in problem.message) or "end of file" in problem.message:
            line = fragment.script.error_line or line
        yield fragment.finding(
            line, f"the shell cannot read this: {problem.message}", "mend it; try it with: bash -n"
        )


_SYNOPSIS = re.compile(
    r"^\s*usage\b|^\s*\S+\s+(?:\[[^\]\s]+[^\]*\]|<[^>]+>)|^\s*[+|`├└│─]|\[[<(-]|<[^>\n]*[ (@/][^>\n]*>|\.\.\.|\]\s*\[|>\s*\(",
    re.IGNORECASE | re.MULTILINE,
)
_OTHER_LANGUAGE = re.compile(
    r"^\s*(?:at |Traceback|Error:|\d+ passing|[<>{}\[\]]\s*$|\S+:\s*$|[;]|[\w.-]+(?:\[\])? = |import |const |\S+ === )",
    re.MULTILINE,
)
"""A program's output, settings, or another language in a block that says it is shell."""


def _is_no_script(fragment: Fragment) -> bool:
    """Whether it shows how a command is called or what it prints, in a page that is no runbook."""
    if fragment.origin == "file" or fragment.document.operational:
        return False
    return bool(_SYNOPSIS.search(fragment.text) or _OTHER_LANGUAGE.search(fragment.text))


@rule(
    "shell-check", severity="error", group="shell", kinds=KINDS, defers_to=("shell-syntax",),
    summary="ShellCheck reports an error.",
)  # fmt: skip
def check(document: Document, world: World) -> Iterable[Finding]:
    """At its level `error` only: what cannot do what was meant. Parsing is the matter of shell-syntax."""
    for fragment in shell_fragments(document):
        if _syntax_problem(fragment, world) is not None or _is_no_script(fragment):
            continue
        for each in _said(fragment, world):
            if not each.about_parsing:
                yield fragment.finding(
                    each.line, f"SC{each.code}: {each.message.rstrip('.')}", f"see https://www.shellcheck.net/wiki/SC{each.code}",
                    end_line=each.end_line,
                )  # fmt: skip


@rule(
    "shell-placeholder", severity="warning", group="shell", kinds=("markdown",),
    summary="A block that is executed as it stands has a <placeholder>, which the shell takes for redirections.",
)  # fmt: skip
def placeholder(document: Document, world: World) -> Iterable[Finding]:
    """Only in pages of the runbook format, whose blocks drills execute, and not in blocks marked `manual`:
    declare an input and use it as a variable. In other Markdown `<name>` is a custom, and told apart from
    syntax errors.
    """
    del world
    if not document.has_front_matter:
        return
    for fragment in shell_fragments(document):
        if re.search(r"\bmanual\b", fragment.info):
            continue
        for line, text in fragment.script.placeholders:
            name = re.sub(r"\W+", "_", text.strip("<>.")).upper()
            yield fragment.finding(
                line,
                f"{text} is a placeholder; the shell reads it as redirections",
                f'declare the input {name.lower()} and write "${name}"',
            )


# -- quoting -------------------------------------------------------------------------------------------------

_FILE_COMMANDS = frozenset(
    [
        "ls",
        "rm",
        "cp",
        "mv",
        "cat",
        "head",
        "tail",
        "wc",
        "du",
        "stat",
        "chmod",
        "chown",
        "touch",
        "gzip",
        "gunzip",
        "zcat",
        "bzip2",
        "xz",
        "zstd",
        "md5sum",
        "sha256sum",
        "shasum",
        "less",
        "more",
        "file",
        "ln",
        "shred",
        "realpath",
        "basename",
    ]
)
_EXPANSION = re.compile(r"\$\{[^}]*\}|\$\([^)]*\)|\$[@*]")


@rule(
    "shell-quoted-glob", severity="error", group="shell", kinds=KINDS, defers_to=("shell-syntax", "shell-check"),
    summary="A glob in quotes matches nothing, or a pattern for find is not quoted.",
)  # fmt: skip
def quoted_glob(document: Document, world: World) -> Iterable[Finding]:
    """`rm "/tmp/*.log"` looks for a file of that very name; `find . -name *.log` searches for whatever lies
    in the current folder.
    """
    del world
    for fragment in shell_fragments(document):
        for command in fragment.script.commands:
            yield from _quoted_globs(fragment, command)
        yield from _quoted_loops(fragment)


def _quoted_globs(fragment: Fragment, command: Command) -> Iterator[Finding]:
    words = command.effective
    if command.program in _FILE_COMMANDS:
        for word in words[1:]:
            inside = _EXPANSION.sub("", word.text)
            if (
                word.quoting in ("single", "double")
                and not inside.startswith("-")
                and re.search(r"\*", inside)
                and _looks_like_path(inside)
            ):
                unquoted = _outside_quotes(word.raw)
                yield fragment.finding(
                    word.line, f"the glob in {word.raw} is quoted, so {command.program} looks for a file of that very name",
                    f"leave the glob outside of the quotes: {unquoted}",
                )  # fmt: skip
    elif command.program == "find":
        for option, word in itertools.pairwise(words):
            if (
                option.text in ("-name", "-iname", "-path", "-ipath", "-wholename")
                and not word.quoting
                and re.search(r"(?<!\\)[*?]", word.raw)
            ):
                yield fragment.finding(
                    word.line,
                    f"the shell expands {word.raw} before find sees it",
                    f"quote it: {option.text} '{word.raw}'",
                )


def _looks_like_path(text: str) -> bool:
    return not re.search(r"[\s|()^+]", text) and not text.startswith("*:") and bool(re.search(r"[/.]", text))


def _outside_quotes(raw: str) -> str:
    head, star, tail = raw[1:-1].partition("*")
    quote = raw[0]
    return (f"{quote}{head}{quote}" if head else "") + star + tail


def _quoted_loops(fragment: Fragment) -> Iterator[Finding]:
    for number, line in enumerate(fragment.lines, start=1):
        match = re.match(r"\s*for\s+\w+\s+in\s+(\"[^\"]*\*[^\"]*\"|'[^']*\*[^']*')\s*(?:;|$)", line)
        if match is not None and not re.search(r"\$[@*]|\$\{[^}]*[@*]\]?|\$\(", match.group(1)):
            yield fragment.finding(
                number, f"the glob in {match.group(1)} is quoted: the loop runs once, with the pattern itself",
                f"leave the glob outside of the quotes: {_outside_quotes(match.group(1))}",
            )  # fmt: skip


@rule(
    "shell-unquoted-ampersand", severity="error", group="shell", kinds=KINDS,
    summary="A URL with & is not quoted, so the command ends there and goes to the background.",
)  # fmt: skip
def unquoted_ampersand(document: Document, world: World) -> Iterable[Finding]:
    """`curl http://host/x?a=1&b=2` asks for `a=1` in the background and then sets a variable `b`."""
    del world
    for fragment in shell_fragments(document):
        source = shell.without_placeholders(fragment.text).encode()
        for command in fragment.script.commands:
            last = command.words[-1] if command.words else None
            if (
                last is None
                or last.quoting
                or not re.search(r"[a-z]+://\S*\?|localhost\S*\?|^\S+/\S*\?\S*=", last.raw)
            ):
                continue
            if re.match(rb"&[A-Za-z_\[%]", source[command.end_offset : command.end_offset + 2]):
                yield fragment.finding(
                    last.line,
                    f"the & after {last.raw} ends the command and sends it to the background",
                    "put the whole URL in single quotes",
                )


# -- platforms -----------------------------------------------------------------------------------------------


@rule(
    "shell-platform-flag", severity="error", group="shell", kinds=KINDS,
    summary="A command or flag that the platform of the page lacks: BSD's on Linux, GNU's on macOS.",
)  # fmt: skip
def platform_flag(document: Document, world: World) -> Iterable[Finding]:
    """Pages are for Linux unless the heading, the sentence before the block or a comment in it says macOS. A
    script that asks which system it is on, or that has both forms, is right.
    """
    del world
    for fragment in shell_fragments(document):
        if re.search(r"\buname\b|OSTYPE|\bdarwin\b", fragment.text, re.IGNORECASE):
            continue
        mac = platforms.is_for_macos(fragment)
        uses = [(command, use) for command in fragment.script.commands for use in platforms.uses(command)]
        forms = {(use.command, use.only_on) for _, use in uses}
        for command, use in uses:
            other = "linux" if use.only_on == "macos" else "macos"
            if (use.command, other) in forms or command.followed_by == "||" or command.preceded_by == "||":
                continue  # both forms: one is the fallback of the other
            if (use.only_on == "macos") != mac:
                where = "macOS" if mac else "Linux"
                yield fragment.finding(command.line, f"`{use.shown}` does not exist on {where}", use.instead)


RULES = (
    syntax,
    check,
    placeholder,
    quoted_glob,
    unquoted_ampersand,
    platform_flag,
    shell_variables.unset_variable,
)
