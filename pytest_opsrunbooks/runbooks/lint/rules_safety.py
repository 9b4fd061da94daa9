"""Rules about what cannot be taken back: destructive commands, their targets, and secrets in clear text.

Those about copies are in `safety_copies`, those about the order of steps in `safety_steps`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Iterator

from pytest_opsrunbooks.runbooks.lint import destructive
from pytest_opsrunbooks.runbooks.lint import safety_copies
from pytest_opsrunbooks.runbooks.lint import safety_steps
from pytest_opsrunbooks.runbooks.lint import shell
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.shell import Command
from pytest_opsrunbooks.runbooks.lint.shell import Word
from pytest_opsrunbooks.runbooks.lint.shell_blocks import KINDS
from pytest_opsrunbooks.runbooks.lint.shell_blocks import shell_fragments
from pytest_opsrunbooks.runbooks.lint.world import World


@rule(
    "safety-destructive-without-backup",
    severity="error",
    group="safety",
    kinds=(*KINDS, "crontab"),
    summary="A command takes data away, and no verified backup is made before it.",
)
def destructive_without_backup(document: Document, world: World) -> Iterable[Finding]:
    """Dropping, truncating, flushing, removing volumes or data folders. Before it, in the page or the script,
    there must be a backup and something that reads it back: a restore into scratch, an integrity check, a
    comparison. Databases and folders whose names say that they are scratch are left alone, and so is Markdown
    that is no runbook.
    """
    del world
    if not document.operational:
        return
    for fragment in document.fragments:
        if fragment.language not in ("bash", "sh", "sql") or (
            fragment.origin == "file" and fragment.language == "sql"
        ):
            continue
        for loss in destructive.of_fragment(fragment):
            line = fragment.file_line(loss.line)
            before = "\n".join(_spoken_before(document, line))
            if destructive.has_verified_backup(before) and destructive.has_backup(before):
                continue
            missing = "a backup that has been read back" if destructive.has_backup(before) else "a backup"
            yield document.finding(
                line,
                f"{loss.what} takes data away, and nothing before it makes {missing}",
                "make a backup and restore it into scratch first; then this",
            )


def _spoken_before(document: Document, line: int) -> Iterator[str]:
    """The commands before a line: of the scripts in a page without comments, of a script as a whole."""
    for fragment in document.fragments:
        if fragment.origin == "embedded" or not fragment.is_shell:
            continue
        for index, text in enumerate(fragment.lines):
            if fragment.first_line + index < line and not text.lstrip().startswith("#"):
                yield text


@rule(
    "safety-unresolved-target",
    severity="error",
    group="safety",
    kinds=KINDS,
    defers_to=("shell-syntax",),
    summary="rm -r, a kill or a drop is given a variable that may be empty.",
)
def unresolved_target(document: Document, world: World) -> Iterable[Finding]:
    """`rm -rf "$DIR/"*` with an empty DIR is `rm -rf /*`. Set it above, or stop without it: `"${DIR:?}"`. A
    variable that the same block sets, or that it tests before, is right.
    """
    del world
    if not document.operational:
        return
    known: set[str] = set()
    for fragment in shell_fragments(document):
        script = fragment.script
        known |= script.sets
        guarded = (
            {u.name for u in script.uses if u.operator in (":?", "?", ":-", ":=", "-", "=")}
            if "u" not in script.options
            else None
        )
        if guarded is None or any(c.name in ("source", ".", "eval") for c in script.commands):
            continue
        for command in script.commands:
            for name in _bare_targets(command):
                if (
                    name not in known | guarded | _tested(script)
                    and re.fullmatch(r"[A-Za-z_]\w*", name)
                    and name not in _GIVEN
                ):
                    yield fragment.finding(
                        command.line,
                        f"{command.program} is given ${name}, which nothing before it sets: empty, it means something else",
                        f'stop without it: "${{{name}:?say where it comes from}}"',
                    )


_GIVEN = frozenset(["HOME", "TMPDIR", "PWD", "USER"])


def _tested(script: shell.Script) -> set[str]:
    return {
        n for c in script.commands if c.name in ("[", "[[", "test") for w in c.words for n in w.expansions
    }


def _bare_targets(command: Command) -> Iterator[str]:
    texts = [word.text for word in command.effective[1:]]
    recursive = command.program == "rm" and any(
        re.fullmatch(r"-[A-Za-z]*[rR][A-Za-z]*|--recursive", t) for t in texts
    )
    if recursive or command.program in ("dropdb", "pkill", "killall", "kill"):
        for word in command.effective[1:]:
            yield from word.expansions


# -- kill ----------------------------------------------------------------------------------------------------

_BROAD = frozenset(
    [
        "node",
        "python",
        "python3",
        "java",
        "ruby",
        "php",
        "bash",
        "sh",
        "npm",
        "postgres",
        "nginx",
        "docker",
        "redis-server",
    ]
)


@rule(
    "safety-broad-kill",
    severity="error",
    group="safety",
    kinds=(*KINDS, "crontab"),
    defers_to=("shell-syntax",),
    summary="Processes are killed by a name or a pattern that others match too.",
)
def broad_kill(document: Document, world: World) -> Iterable[Finding]:
    """`pkill -f batch` ends every process that has `batch` anywhere in its command line, the editor that has
    the log open and your own shell among them, and `kill $(pgrep …)` does the same. Stop the service through
    its manager, or one process by the number in its pid file. Blocks of Markdown that is no runbook are left
    alone.
    """
    del world
    if not document.operational:
        return
    for fragment in shell_fragments(document):
        for command in fragment.script.commands:
            how = _broadly(command, fragment)
            if how:
                yield fragment.finding(
                    command.line,
                    f"{how} ends every process that matches, not only the one that is meant",
                    "stop it through its service manager, or by the number in its pid file",
                )


def _broadly(command: Command, fragment: Fragment) -> str:  # noqa: PLR0911 - one line for each kind
    words = command.effective[1:]
    texts = [word.text for word in words]
    if command.name in ("docker", "podman", "kubectl", "docker-compose"):
        return ""  # within a container there is little else to hit
    if command.program == "pkill":
        if any(re.fullmatch(r"-\w*f\w*|--full", text) for text in texts):
            return "pkill -f"
        if any(
            text.startswith(("-P", "-F", "--pidfile", "--parent", "-u", "-U", "-x", "-0")) for text in texts
        ):
            return ""
        return "pkill" if any(text in _BROAD for text in texts) else ""
    if command.program == "killall":
        return "" if "-0" in texts or not words else "killall"
    if command.program in ("kill", "xargs") and _kills_a_search(command, words, fragment):
        return "kill with the numbers that a search by name finds"
    return ""


def _kills_a_search(command: Command, words: tuple[Word, ...], fragment: Fragment) -> bool:
    raw = " ".join(word.raw for word in words)
    if re.search(r"\$\(\s*(?:pgrep|pidof|ps)\b|`\s*(?:pgrep|pidof|ps)\b", raw):
        return not re.search(r"pgrep\s+-(?:P|F)|lsof|fuser", raw)
    if command.name != "xargs" or not command.piped_from:
        return False
    for pipeline in fragment.script.pipelines:
        if command in pipeline.commands:
            first = pipeline.commands[0]
            return first.program in ("pgrep", "ps", "pidof") and not any(
                w.text in ("-P", "-F") for w in first.args
            )
    return False


# -- secrets -------------------------------------------------------------------------------------------------

_TOKENS = re.compile(
    r"(?P<aws>\b(?:AKIA|ASIA)[0-9A-Z]{16}\b)|(?P<github>\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_\w{50,})|(?P<slack>\bxox[abprs]-[\w-]{20,})"
    r"|(?P<hook>hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{16,})"
    r"|(?P<key>-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----(?:\\n|\n)\s*[A-Za-z0-9+/]{40})"
    r"|(?P<google>\bAIza[\w-]{35}\b)|(?P<jwt>\bBearer\s+eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,})|(?P<stripe>\b[sr]k_live_[A-Za-z0-9]{16,})"
)
_URL = re.compile(
    r"\b[a-z][a-z0-9+]*://(?!user(?:name)?:)[\w.%-]*:(?P<secret>[^\s:@/'\"<>$]{5,})@(?!\S*\bexample\b)[\w.-]+"
)
_ASSIGNED = re.compile(
    r"(?:^|[\s;'\"])(?:export\s+)?(?P<name>[A-Z_]*(?:PASSWORD|PASSWD|PGPASSWORD|MYSQL_PWD|SECRET(?:_KEY)?|API_?KEY|(?:AUTH|ACCESS|API|BOT)_TOKEN))="
    r"(?P<quote>[\"']?)(?P<secret>[^\s\"'$<`(]{6,})(?P=quote)(?=\s|$|[\"';])"
)
_OPTION = re.compile(
    r"(?:--password[= ]|--pass[= ]|\bredis-cli\b[^\n|]*\s-a\s+)"
    r"(?P<quote>[\"']?)(?P<secret>[^\s\"'$<`(-][^\s\"'$<`(]{5,})(?P=quote)(?=\s|$)"
)
_HINT = re.compile(
    r"AKIA|ASIA|gh[pousr]_|github_pat_|xox|slack\.com|-----|AIza|eyJ|k_live_|://[^\s@]*@|--pass|redis-cli|[A-Z]="
)
"""Something that every secret of the patterns above has: few lines have it, and only those are read closely."""
_STAND_IN = re.compile(
    r"(?i)^(?:.*(?:x{3,}|\*{3,}|\.{3}|your|example|change.?me|placeholder|redacted|dummy|sample|insert|replace|todo|fixme|here|foo|bar|fake|secret"
    r"|password|passwd|token|1234).*|pass|postgres|root|admin|user(?:name)?|test\w*|mysecret\w*|guest|key|[A-Z_]+|(.)\1+|/.*|\{.*|\[.*|%.*)$"
)


@rule(
    "safety-secret",
    severity="error",
    group="safety",
    kinds=(*KINDS, "crontab", "compose", "yaml", "rules"),
    summary="A password, a token or a key stands in clear text.",
)
def secret(document: Document, world: World) -> Iterable[Finding]:
    """Whoever can read the repository has it, and so has the history of every shell that it is pasted into.
    Read it from the environment, a file that only the service may read, or the store of secrets. Obvious
    stand-ins (`changeme`, `xxx`, `your-token`) are left alone. The value itself is never shown.
    """
    del world
    lines = [*document.lines, ""]
    hinted = {document.text.count("\n", 0, match.start()) for match in _HINT.finditer(document.text)}
    for index in sorted(hinted):
        number = index + 1
        what = _secret_in(lines[index], lines[number], document)
        if what:
            yield document.finding(
                number,
                f"{what} stands in clear text",
                "take it away, change it where it is used, and read it from the environment or a file",
            )


def _secret_in(line: str, following: str, document: Document) -> str:
    match = _TOKENS.search(f"{line}\n{following}" if line.endswith("-----") else line)
    if match is not None and not re.search(r"EXAMPLE|XXXX|0000000|1234567", match.group()):
        kind = match.lastgroup or ""
        return {
            "key": "a private key",
            "hook": "the address of a Slack webhook",
            "jwt": "a bearer token",
        }.get(kind, f"a token ({kind})")
    if not document.operational:
        return ""
    for pattern, what in ((_URL, "a password in a URL"), (_OPTION, "a password on a command line")):
        for match in pattern.finditer(line):
            if not _STAND_IN.match(match["secret"]):
                return what
    for match in _ASSIGNED.finditer(line):
        if not _STAND_IN.match(match["secret"]):
            return f"the value of {match['name']}"
    return ""


RULES = (
    destructive_without_backup,
    unresolved_target,
    broad_kill,
    secret,
    *safety_copies.RULES,
    *safety_steps.RULES,
)
