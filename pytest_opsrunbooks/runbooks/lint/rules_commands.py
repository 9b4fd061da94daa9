"""Rules about what a script calls: scripts, commands, procedures, services, and the lines of a crontab."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping

from pytest_opsrunbooks import suggest
from pytest_opsrunbooks.runbooks.lint import commands_compose
from pytest_opsrunbooks.runbooks.lint import fragments
from pytest_opsrunbooks.runbooks.lint import shell
from pytest_opsrunbooks.runbooks.lint.commands_compose import is_placeholder
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.shell import Command
from pytest_opsrunbooks.runbooks.lint.shell import Word
from pytest_opsrunbooks.runbooks.lint.shell_blocks import shell_fragments
from pytest_opsrunbooks.runbooks.lint.world import CommandSpec
from pytest_opsrunbooks.runbooks.lint.world import World

CRON_KINDS = ("markdown", "shell", "crontab")

# -- crontab lines -------------------------------------------------------------------------------------------


def _scheduled(document: Document) -> Iterator[tuple[Fragment, int, str, str]]:
    """Every crontab line of the document: (fragment, line in it, the five fields, the command)."""
    for fragment in document.fragments:
        if fragment.language != "cron":
            continue
        for number, line in enumerate(fragment.lines, start=1):
            match = fragments.CRON_TIMES.match(line)
            if match is not None:
                yield fragment, number, match.group().strip(), line[match.end() :]


@rule(
    "shell-crontab-percent",
    severity="error",
    group="shell",
    kinds=CRON_KINDS,
    summary="A % in a crontab line is not escaped: cron ends the command there.",
)
def crontab_percent(document: Document, world: World) -> Iterable[Finding]:
    """cron takes the first `%` for the end of the command and what follows for its input, also within quotes:
    `date +%F` becomes `date +`. Write `\\%`.
    """
    del world
    for fragment, number, _, command in _scheduled(document):
        if re.search(r"(?<!\\)%", command):
            escaped = re.sub(r"(?<!\\)%", r"\\%", command.strip())
            yield fragment.finding(
                number,
                "cron ends the command at the % and gives it the rest as input",
                f"escape it: {escaped}",
            )


@rule(
    "shell-cron-or",
    severity="warning",
    group="shell",
    kinds=CRON_KINDS,
    summary="A crontab line restricts both the day of the month and the weekday: cron runs it on either.",
)
def cron_or(document: Document, world: World) -> Iterable[Finding]:
    """`0 3 1-7 * 0` looks like the first Sunday of a month, and runs on the days 1 to 7 and on every Sunday.
    Restrict one field, and test the other in the command. A line that tests the date itself is right.
    """
    del world
    for fragment, number, times, command in _scheduled(document):
        fields = times.split()
        if len(fields) != 5 or fields[2].startswith("*") or fields[4].startswith("*"):
            continue
        if re.search(r"\bdate\s+\S*\\?%[dujwe]", command):
            continue
        yield fragment.finding(
            number,
            f"the day of the month {fields[2]} and the weekday {fields[4]} mean either of them, not both",
            f"restrict one in the fields and test the other: {' '.join([*fields[:4], '*'])} "
            f'[ "$(date +\\%u)" = {_weekday(fields[4])} ] && …',
        )


def _weekday(field: str) -> str:
    names = {"sun": "7", "mon": "1", "tue": "2", "wed": "3", "thu": "4", "fri": "5", "sat": "6", "0": "7"}
    return names.get(field.lower(), field)


# -- scripts -------------------------------------------------------------------------------------------------

_INTERPRETERS = frozenset(["bash", "sh", "source", ".", "python", "python3", "node", "tsx", "ruby", "perl"])
_SCRIPT = re.compile(r"(?:[\w.@~-]+/|\.{1,2}/)*[\w.-]+\.(?:sh|bash|py|ts|js|mjs|rb|pl)")
_LEADING_VARIABLE = re.compile(r"^[\"']?(?:\$\{?\w+\}?|\$\([^)]*\))[\"']?/")
_OF_THE_SYSTEM = re.compile(r"/(?:usr|etc|bin|sbin|lib|tmp|dev|proc|opt|var/lib)/")
_BRINGS_FILES = frozenset(["git", "unzip", "tar", "scp", "rsync", "gh", "svn"])


@rule(
    "shell-missing-script",
    severity="error",
    group="shell",
    kinds=CRON_KINDS,
    needs="--scripts DIR",
    summary="A script is called that exists nowhere.",
)
def missing_script(document: Document, world: World) -> Iterable[Finding]:
    """Compared with the scripts that were given, and with the files beside the page. What the block itself
    writes or downloads before is not missing.
    """
    if world.scripts is None:
        return
    known = set(world.scripts)
    endings = {pathlib.PurePosixPath(name).suffix for name in known} | {".sh"}
    made = _made(document)
    for fragment, line, path in _calls(document):
        name = path.rpartition("/")[2]
        if pathlib.PurePosixPath(name).suffix not in endings or name in made:
            continue
        if _OF_THE_SYSTEM.match(path) or _exists(path, known, document, world):
            continue
        hint = suggest.nearest(name, {each.rpartition("/")[2] for each in known})
        yield fragment.finding(
            line,
            f"the script {path} is called and exists nowhere",
            hint or "write it, or name the one that exists",
        )


def _calls(document: Document) -> Iterator[tuple[Fragment, int, str]]:
    """Every script that is called: (fragment, line in it, path as written without a variable before it)."""
    for fragment in shell_fragments(document):
        if any(command.name in _BRINGS_FILES for command in fragment.script.commands):
            continue
        for command in fragment.script.commands:
            word = _called(command)
            if word is not None:
                yield fragment, word.line, _LEADING_VARIABLE.sub("", word.raw).strip("\"'")
    for fragment, number, _, command_line in _scheduled(document):
        script = shell.parse(command_line.replace("\\%", "%"))
        for command in script.commands:
            word = _called(command)
            if word is not None:
                yield fragment, number, _LEADING_VARIABLE.sub("", word.raw).strip("\"'")


def _called(command: Command) -> Word | None:
    """The word that is the path of a script, where the command runs one."""
    if command.name in ("docker", "podman", "kubectl", "ssh", "docker-compose"):
        return None  # the file lies elsewhere
    words = list(command.effective)
    if words and words[0].text in ("npx", "pnpm", "yarn", "uv") and len(words) > 1:
        words = words[2:] if words[1].text in ("run", "exec") else words[1:]
    if words and words[0].text.rpartition("/")[2] in _INTERPRETERS:
        words = [word for word in words[1:2] if not word.text.startswith("-")]
    elif words and "/" not in words[0].text and not words[0].text.endswith(".sh"):
        return None
    if not words:
        return None
    path = _LEADING_VARIABLE.sub("", words[0].raw).strip("\"'")
    return words[0] if _SCRIPT.fullmatch(path.removeprefix("/")) else None


def _made(document: Document) -> set[str]:
    """Names of files that the page writes or downloads."""
    found: set[str] = set()
    for fragment in shell_fragments(document):
        for command in fragment.script.commands:
            found |= {r.target.rpartition("/")[2] for r in command.redirects if ">" in r.operator}
            if command.program in (
                "curl",
                "wget",
                "tee",
                "cp",
                "mv",
                "touch",
                "install",
                "vim",
                "nano",
                "vi",
            ):
                found |= {word.text.rpartition("/")[2] for word in command.effective[1:]}
    return found


def _exists(path: str, known: set[str], document: Document, world: World) -> bool:
    plain = re.sub(r"^(?:\./|\.\./|/)+", "", path)
    for name in known:
        if name == plain or name.endswith(f"/{plain}") or plain.endswith(f"/{name}"):
            return True
    folders = (document.path.parent, document.base, world.root, *document.base.parents[:3])
    return any((folder / plain).is_file() or (folder / path).is_file() for folder in folders)


# -- commands whose interface is known -----------------------------------------------------------------------


@rule(
    "shell-unknown-command",
    severity="error",
    group="shell",
    kinds=("markdown", "shell"),
    needs="the interface of the command (that of opsrunbooks is known)",
    summary="A command is called with a subcommand or an option that it does not have.",
)
def unknown_command(document: Document, world: World) -> Iterable[Finding]:
    """Told from the interface of the commands that are known: blocks, scripts, and commands in code marks
    within the page's sentences.
    """
    if not world.commands:
        return
    for fragment, command, line in _typed(document, world.commands):
        words = list(command.effective)
        name = command.program
        problem = _judge(name, world.commands[name], words[1:])
        if problem is not None:
            message, suggestion = problem
            if fragment is None:
                yield document.finding(line, message, suggestion)
            else:
                yield fragment.finding(line, message, suggestion)


def _typed(document: Document, names: Iterable[str]) -> Iterator[tuple[Fragment | None, Command, int]]:
    """Every call of one of the commands; without a fragment those in the page's sentences."""
    wanted = frozenset(names)
    for fragment in shell_fragments(document):
        for command in fragment.script.commands:
            if command.program in wanted:
                yield fragment, command, command.line
    if document.kind != "markdown":
        return
    for prose in document.markdown.prose:
        for span in prose.code_spans:
            if re.match(r"\S+\s+\S", span) and not re.search(r"…|\.\.\.|[\[\]|]", span):
                for command in shell.parse(span).commands:
                    if command.program in wanted:
                        yield None, command, prose.line


def _judge(name: str, spec: CommandSpec, words: list[Word]) -> tuple[str, str] | None:
    """What is wrong with the words after a command's name; None when nothing is."""
    shown = name
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        text = word.value
        if text == "--":
            return None
        if text is None or is_placeholder(word):
            if spec.commands:
                return None
            continue
        if text.startswith("-") and len(text) > 1 and not text[1].isdigit():
            option = text.partition("=")[0]
            known = (
                option if option in spec.options else option[:2] if not option.startswith("--") else option
            )
            if known in spec.options_with_value and "=" not in text and known == option:
                index += 1
            elif known not in spec.options and option not in ("--help", "-h") and not spec.open_ended:
                hint = suggest.nearest(option, spec.options)
                return f"`{shown}` has no option {option}", hint or f"see: {shown} --help"
        elif spec.commands:
            if text not in spec.commands:
                hint = suggest.nearest(text, spec.commands)
                return f"`{shown}` has no command {text!r}", hint or f"see: {shown} --help"
            shown, spec = f"{shown} {text}", spec.commands[text]
    return None


@rule(
    "shell-unknown-procedure",
    severity="error",
    group="shell",
    kinds=("markdown", "shell"),
    needs="the procedures of the project",
    summary="opsrunbooks run names a procedure, or an input of one, that does not exist.",
)
def unknown_procedure(document: Document, world: World) -> Iterable[Finding]:
    """`opsrunbooks run shadow_atlas.rollback --set snapshot_id=…`: the name is a system and a procedure of
    it, the inputs are the ones that the procedure declares.
    """
    if world.procedures is None:
        return
    for fragment, command, line in _typed(document, ("opsrunbooks",)):
        words = [word for word in command.effective[1:] if word.text != "--"]
        if not words or words[0].text != "run":
            continue
        for message, suggestion in _judge_run(words[1:], world.procedures):
            place = document.finding if fragment is None else fragment.finding
            yield place(line, message, suggestion)


def _judge_run(words: list[Word], known: Mapping[str, frozenset[str]]) -> Iterator[tuple[str, str]]:
    name, given = _asked_to_run(words)
    if name is None or name.value is None or is_placeholder(name) or not re.fullmatch(r"[\w.-]+", name.text):
        return
    if name.text not in known:
        hint = suggest.nearest(name.text, known)
        yield f"there is no procedure {name.text!r}", hint or "see: opsrunbooks procedures"
        return
    inputs = known[name.text]
    for each in given:
        if re.fullmatch(r"[a-z_]\w*", each) and each not in inputs:
            hint = suggest.nearest(each, inputs)
            yield (
                f"the procedure {name.text} has no input {each!r}",
                hint or f"its inputs: {', '.join(sorted(inputs)) or 'none'}",
            )


def _asked_to_run(words: list[Word]) -> tuple[Word | None, list[str]]:
    """The word that names the procedure, and the names of the inputs that are set."""
    name: Word | None = None
    given: list[str] = []
    skip = ""
    for word in words:
        if skip:
            if skip == "--set":
                given.append(word.text.partition("=")[0])
            skip = ""
        elif word.text in ("--set", "--confirm", "--ops-config"):
            skip = word.text
        elif word.text.startswith("--set="):
            given.append(word.text.removeprefix("--set=").partition("=")[0])
        elif not word.text.startswith("-") and name is None:
            name = word
    return name, given


RULES = (
    crontab_percent,
    cron_or,
    missing_script,
    unknown_command,
    unknown_procedure,
    commands_compose.unknown_service,
)
