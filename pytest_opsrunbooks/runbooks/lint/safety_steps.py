"""Rules about the order of steps: gentle ones first, and a look whether it has helped at the end."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

from pytest_opsrunbooks.runbooks.lint import destructive
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
from pytest_opsrunbooks.runbooks.lint.markdown import Section
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.shell import Command
from pytest_opsrunbooks.runbooks.lint.shell_blocks import shell_fragments
from pytest_opsrunbooks.runbooks.lint.world import World

_FORCES = ("a look", "a reload", "a restart", "a stop", "a kill", "a restore", "a destruction of data")
_LOOK, _RELOAD, _RESTART, _STOP, _KILL, _RESTORE, _DESTROY = range(7)
_OPTION_COMMENT = re.compile(
    r"^\s*#+\s*(?:option|attempt|try|method|approach|level|alternative)\s+(?:\d+|[A-Z]\b)|^\s*#+\s*(?:if that|if this|or)\b",
    re.IGNORECASE,
)
_ALTERNATIVES = re.compile(
    r"resol|recover|mitigat|remediat|fix|repair|restor|troubleshoot|quick action|solution", re.IGNORECASE
)


def _force(command: Command) -> int:  # noqa: PLR0911 - one line for each kind
    """How much a command may break."""
    text = " ".join(word.text for word in command.words)
    program = command.program
    if program in ("kill", "pkill", "killall", "xargs") and re.search(
        r"\s-(?:9|KILL|SIGKILL)\b|-s\s+(?:9|KILL)", text
    ):
        return _KILL
    if re.search(
        r"^(?:sudo )?(?:docker|podman)(?:-compose| compose)? kill\b|kubectl .*delete pods?\b.*--force", text
    ):
        return _KILL
    if program in ("kill", "pkill", "killall"):
        return _RELOAD if re.search(r"-(?:HUP|1|USR1)\b", text) else _STOP
    if re.search(
        r"\b(?:systemctl|docker|podman|supervisorctl|service|pm2|docker-compose|kubectl)\b.*\brestart\b", text
    ):
        return _RESTART
    if re.search(r"\b(?:systemctl|service|nginx|supervisorctl)\b.*\breload\b", text):
        return _RELOAD
    if re.search(r"\b(?:systemctl|docker|podman|supervisorctl|docker-compose)\b.*\b(?:stop|down)\b", text):
        return _STOP
    if program == "pg_restore" or re.search(
        r"\.restore\b|restore[_-]backup|rollback\.sh|\brestore\.sh", text
    ):
        return _RESTORE
    return _LOOK


def _fragment_force(fragment: Fragment) -> int:
    forces = [_force(command) for command in fragment.script.commands] if fragment.is_shell else []
    if any(True for _ in destructive.of_fragment(fragment)):
        forces.append(_DESTROY)
    return max(forces, default=_LOOK)


@rule(
    "safety-rising-force",
    severity="warning",
    group="safety",
    kinds=("markdown",),
    summary="A recovery begins with a step of more force than one that comes after it.",
)
def rising_force(document: Document, world: World) -> Iterable[Finding]:
    """Somebody tired takes the first step that they read. Alternatives in a section on recovery go from the
    gentle to the harsh: reload, restart, stop, kill, restore, destroy. Within one alternative a stop before a
    restore is right and is left alone; `kill -9` comes only after a signal that lets the process finish. The
    paths of a page with a diagnosis are not tried in turn, and are left alone.
    """
    del world
    if not document.operational:
        return
    for fragment in shell_fragments(document):
        yield from _kill_first(fragment)
        yield from _options_in(fragment)
    if not document.has_front_matter:
        yield from _sections(document)


def _kill_first(fragment: Fragment) -> Iterator[Finding]:
    gentler = False
    for command in fragment.script.commands:
        force = _force(command)
        if force in (_STOP, _RESTART):
            gentler = True
        elif force == _KILL and not gentler and not _gentler_above(fragment):
            yield fragment.finding(
                command.line,
                "the first signal here is one that no process can answer: it cannot finish what it writes",
                "stop it, wait, and kill only what is still there",
            )
            return


def _gentler_above(fragment: Fragment) -> bool:
    """Whether a block above, in the same or an enclosing section, stops or restarts something."""
    return any(
        other.first_line < fragment.first_line
        and other.is_shell
        and any(_force(c) in (_STOP, _RESTART) for c in other.script.commands)
        for other in fragment.document.fragments
    )


def _options_in(fragment: Fragment) -> Iterator[Finding]:
    """Alternatives that comments mark within one block."""
    starts = [n for n, line in enumerate(fragment.lines, start=1) if _OPTION_COMMENT.match(line)]
    if len(starts) < 2:
        return
    ends = [*starts[1:], len(fragment.lines) + 1]
    forces = [
        max((_force(c) for c in fragment.script.commands if begin <= c.line < end), default=_LOOK)
        for begin, end in zip(starts, ends, strict=True)
    ]
    for line, force, following in zip(starts, forces, forces[1:], strict=False):
        if following != _LOOK and force > following:
            yield fragment.finding(line, _message(force, following), "put the gentle one first")
            return


def _message(force: int, following: int) -> str:
    return f"this is {_FORCES[force]}, and {_FORCES[following]} comes after it"


def _sections(document: Document) -> Iterator[Finding]:
    sections = document.markdown.sections
    for parent in sections:
        if not _ALTERNATIVES.search(parent.heading.text):
            continue
        children = [
            s
            for s in sections
            if s.heading.level == parent.heading.level + 1
            and parent.heading.line < s.heading.line <= parent.end_line
        ]
        if not children or not all(_is_alternative(child) for child in children[:2]):
            continue
        yield from _falling(document, children)


def _is_alternative(section: Section) -> bool:
    """`Option 1`, `Graceful restart`, `Hard restart`: not the numbered steps of one procedure."""
    return not re.match(r"(?:step|phase)\b", section.heading.text, re.IGNORECASE)


def _falling(document: Document, children: Sequence[Section]) -> Iterator[Finding]:
    forces = []
    for section in children:
        inside = [f for f in document.fragments if section.heading.line <= f.first_line <= section.end_line]
        forces.append(max((_fragment_force(f) for f in inside), default=_LOOK))
    for section, force, rest in zip(
        children, forces, (forces[i + 1 :] for i in range(len(forces))), strict=True
    ):
        gentler = [other for other in rest if other in (_RELOAD, _RESTART)]
        if force >= _KILL and gentler:
            yield document.finding(
                section.heading.line, _message(force, min(gentler)), "put the gentle one first"
            )
            return


# -- verification --------------------------------------------------------------------------------------------

_CHANGES_SQL = re.compile(
    r"\b(?:UPDATE\s+\w+\s+SET|DELETE\s+FROM|INSERT\s+INTO|DROP\s+TABLE|TRUNCATE)\b", re.IGNORECASE
)
_LOOKS = re.compile(
    r"\bSELECT\b|integrity_check|\bcurl\b|health|status|verif|\bcheck|\btest\b|\bopsrunbooks\s+sweep\b|\bpytest\b|\blogs?\b|\bgrep\b|\bps\b|\bis-active\b"
    r"|\bpg_isready\b|\bls\b|\bcmp\b|\bdf\b|\bdiff\b|\bget\b|\bdescribe\b|\bwatch\b|\bps\b|\bstat\b|\binspect\b|\bPING\b",
    re.IGNORECASE,
)
_SAYS_LOOK = re.compile(
    r"\bverif|\bvalidat|\bconfirm|\bcheck\b|\bensure\b|\bmake sure\b|\bexpect|\bshould (?:see|show|return|be|now)\b"
    r"|\bmust (?:say|show|print|be)\b|\bmonitor\b|\bwatch\b|\bgood is\b",
    re.IGNORECASE,
)
_ABOUT_VERIFYING = re.compile(
    r"\bverif|\bvalidat|\bsmoke|\bconfirm|\bsuccess criteria|\bpost-?checks?\b|\bdone when\b", re.IGNORECASE
)
_ABOUT_ACTING = re.compile(
    r"resol|recover|mitigat|remediat|fix|repair|restor|rollback"
    r"|roll back|scenario|procedure|emergency|quick|path [A-Z]|option|step|action",
    re.IGNORECASE,
)


@rule(
    "safety-no-verification",
    severity="warning",
    group="safety",
    kinds=("markdown",),
    defers_to=("structure-no-verification",),
    summary="A recovery ends with a change, and nothing after it looks whether that has helped.",
)
def no_verification(document: Document, world: World) -> Iterable[Finding]:
    """After the last step of a recovery comes a look: a query, a health check, a `Verify:` line, a section
    Verification. A page that stops at the change lets people close incidents that go on.
    """
    del world
    if not document.operational or document.kind != "markdown":
        return
    for section in _smallest_acting(document):
        change = _last_change(document, section)
        if change is None or _looked_at_after(document, section, *change):
            continue
        yield change[0].finding(
            change[1].line,
            f'{change[2]} is the last step of "{section.heading.text}", and nothing after it looks whether it has helped',
            "add what shows it: a query, a health check, or a line Verify: with the names of checks",
        )


def _smallest_acting(document: Document) -> Iterator[Section]:
    """The sections about doing something that have no such section within them that has a block."""
    sections = document.markdown.sections
    for section in sections:
        above = document.markdown.section_at(section.heading.line)
        if not any(_ABOUT_ACTING.search(h.text) for h in above):
            continue
        inner = [s for s in sections if section.heading.line < s.heading.line <= section.end_line]
        if not any(
            s.heading.line <= f.first_line <= s.end_line for s in inner for f in document.markdown.fences
        ):
            yield section


def _last_change(document: Document, section: Section) -> tuple[Fragment, Command, str] | None:
    found: tuple[Fragment, Command, str] | None = None
    for fragment in shell_fragments(document):
        if section.heading.line <= fragment.first_line <= section.end_line:
            for command in fragment.script.commands:
                what = _change(command)
                if what:
                    found = (fragment, command, what)
    return found


def _change(command: Command) -> str:
    text = " ".join(word.text for word in command.effective)
    if command.program in ("sqlite3", "psql", "mysql") and _CHANGES_SQL.search(text):
        return f"a change through {command.program}"
    if _force(command) in (_RESTART, _RESTORE):
        return " ".join(word.text for word in command.words[:3])
    if command.program == "redis-cli" and re.search(r"\b(?:FLUSH\w+|DEL)\b", text, re.IGNORECASE):
        return "redis-cli"
    if re.search(r"\bopsrunbooks run\b.*--execute", text):
        return "opsrunbooks run"
    return ""


def _looked_at_after(
    document: Document, section: Section, fragment: Fragment, last: Command, what: str
) -> bool:
    del what
    if any(
        _LOOKS.search(" ".join(w.text for w in c.words))
        for c in fragment.script.commands
        if c.offset > last.offset
    ):
        return True
    begin = fragment.file_line(last.end_line) + 1
    if any(
        _LOOKS.search(f.text)
        for f in document.fragments
        if begin <= f.first_line <= section.end_line and f.origin == "fence"
    ):
        return True
    if any(_SAYS_LOOK.search(p.text) for p in document.markdown.prose if begin <= p.line <= section.end_line):
        return True
    comments = [line for line in fragment.lines[last.end_line :] if line.lstrip().startswith("#")]
    if any(_SAYS_LOOK.search(line) for line in comments):
        return True
    return any(_ABOUT_VERIFYING.search(h.text) for h in document.markdown.headings if h.line > begin)


RULES = (rising_force, no_verification)
