"""The rule about variables that are used and never set."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pytest_opsrunbooks.runbooks.lint import shell
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.shell_blocks import KINDS
from pytest_opsrunbooks.runbooks.lint.shell_blocks import shell_fragments
from pytest_opsrunbooks.runbooks.lint.world import World

_GIVEN = frozenset(
    """
    HOME PATH USER LOGNAME PWD OLDPWD SHELL TERM LANG LC_ALL TMPDIR EDITOR VISUAL PAGER HOSTNAME HOST UID EUID
    PPID RANDOM SECONDS LINENO BASH BASHPID BASH_SOURCE BASH_VERSION BASH_REMATCH BASH_LINENO FUNCNAME PIPESTATUS
    OPTARG OPTIND REPLY IFS COLUMNS LINES OSTYPE MACHTYPE HOSTTYPE SHLVL DISPLAY SSH_AUTH_SOCK SUDO_USER
    XDG_RUNTIME_DIR XDG_CONFIG_HOME XDG_DATA_HOME XDG_CACHE_HOME EPOCHSECONDS EPOCHREALTIME GROUPS DIRSTACK
    SHELLOPTS BASHOPTS COMP_WORDS COMP_CWORD PS1 PS2 PS4 MAIL APPDATA GOPATH GOBIN JAVA_HOME VIRTUAL_ENV CI
    """.split()  # noqa: SIM905 - sixty words read better so
)
_SET_ON_A_LINE = re.compile(
    r"^[ \t]*(?:(?:local|export|declare|readonly)[ \t]+)?([A-Za-z_]\w*)=", re.MULTILINE
)
"""The parser loses an assignment now and then where a script uses rare forms."""
_SETS_BY_LOOK = re.compile(r"(?:\bfor\s+|\bread\s+(?:-\w+\s+)*|\b(?=\w+=))([A-Za-z_]\w*)")
_EXPLAINED = re.compile(r"\$\{?([A-Z_][A-Z0-9_]*)|\b([A-Z][A-Z0-9]*_[A-Z0-9_]+|[A-Z]{2,})\b")


@rule(
    "shell-unset-variable", severity="warning", group="shell", kinds=KINDS, defers_to=("shell-syntax",),
    summary="A variable is used and never set: neither in the block, nor above it in the page, nor as an input.",
)  # fmt: skip
def unset_variable(document: Document, world: World) -> Iterable[Finding]:
    """It is empty then, and the command does something else. `${NAME:?}` stops instead, `${NAME:-x}` has a
    value. In scripts names in capitals are taken for the environment's; in Markdown that is no runbook, only
    databases and `rm` count.
    """
    del world
    known = set(_GIVEN) | _declared_inputs(document)
    runbook = document.kind == "markdown" and document.operational
    if runbook:
        known |= _spoken_of(document)
    for fragment in shell_fragments(document):
        script = fragment.script
        known |= script.sets
        known |= set(_SET_ON_A_LINE.findall(fragment.text))
        if script.error_line is not None:  # what the parser could not read may set it
            known |= {match[1] for match in _SETS_BY_LOOK.finditer(fragment.text)}
        reads_others = any(command.name in ("source", ".", "eval") for command in script.commands)
        guarded = {
            use.name for use in script.uses if use.operator in (":?", "?", ":-", "-", ":=", "=", ":+", "+")
        }
        guarded |= {
            name
            for command in script.commands
            if command.name in ("[", "[[", "test")
            for word in command.words
            for name in word.expansions
        }
        reported: set[str] = set()
        for use in script.uses:
            if (
                not re.fullmatch(r"[A-Za-z_]\w*", use.name)
                or use.name in known | guarded | reported
                or use.operator
                or reads_others
            ):
                continue
            if not runbook and not (_belongs_to_script(fragment, use) or _reaches_data(fragment, use)):
                continue
            reported.add(use.name)
            yield fragment.finding(
                use.line,
                f"${use.name} is used and never set",
                f'set it first, or stop without it: "${{{use.name}:?say where it comes from}}"',
            )


_DATA_COMMANDS = frozenset(("sqlite3", "psql", "mysql", "redis-cli", "dropdb", "rm"))


def _belongs_to_script(fragment: Fragment, use: shell.Use) -> bool:
    """Whether a script of its own has a variable that the environment would not give it. A library has its
    caller's.
    """
    return fragment.origin == "file" and fragment.text.startswith("#!") and use.name.upper() != use.name


def _reaches_data(fragment: Fragment, use: shell.Use) -> bool:
    """Whether an empty value would reach a database or `rm`."""
    return fragment.document.kind == "markdown" and any(
        command.program in _DATA_COMMANDS and command.offset <= use.offset < command.end_offset
        for command in fragment.script.commands
    )


def _declared_inputs(document: Document) -> set[str]:
    """Inputs of the front matter, which blocks see in capitals."""
    if document.kind != "markdown" or not document.markdown.front_matter_end_line:
        return set()
    import yaml

    try:
        head = yaml.safe_load("\n".join(document.lines[1 : document.markdown.front_matter_end_line - 1]))
    except (yaml.YAMLError, ValueError):
        return set()
    inputs = head.get("inputs") if isinstance(head, dict) else None
    return {str(name).upper() for name in inputs} if isinstance(inputs, dict) else set()


def _spoken_of(document: Document) -> set[str]:
    """Variables that the page's words explain, in code marks: "set `SNAPSHOT_ID` to …"."""
    return {
        name
        for prose in document.markdown.prose
        for span in prose.code_spans
        for pair in _EXPLAINED.findall(span)
        for name in pair
        if name
    }
