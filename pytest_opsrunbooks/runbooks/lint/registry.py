"""How a rule is declared, and the list of all rules.

@rule("links-dead-file", severity="error", group="links", summary="A link leads to a file that does not exist.")
def dead_file(document: Document, world: World) -> Iterable[Finding]:
    ...

RULES = (dead_file,)        # at the end of each module of rules
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_opsrunbooks import suggest
from pytest_opsrunbooks.errors import OpsError
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.findings import LintSeverity

if TYPE_CHECKING:
    from pytest_opsrunbooks.runbooks.lint.documents import Document
    from pytest_opsrunbooks.runbooks.lint.world import World

    Judge = Callable[[Document, World], Iterable[Finding]]

MODULES = (
    "links", "upkeep", "pages", "structure", "escalation", "shell", "commands", "status", "sql", "safety", "monitoring",
)  # fmt: skip
"""The modules `rules_<name>` that ship; each has its rules in `RULES`."""

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)+")


class UnknownRule(OpsError):  # noqa: N818 - named for what is wrong
    """`--select` or `--ignore` names neither a rule nor a group."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule. Call it with a document and the world; it yields findings without `rule` and `severity`."""

    name: str
    severity: LintSeverity
    group: str
    summary: str
    """One line of help."""
    judge: Judge
    kinds: tuple[str, ...] = ()
    """The kinds of document that it is asked about; empty: all."""
    needs: str = ""
    """What must be given for it to say anything, as one clause; empty: nothing."""
    defers_to: tuple[str, ...] = ()
    """Rules whose findings at the same lines make this one's superfluous (a syntax error explains the
    rest).
    """
    across: bool = False
    """Whether it reads every document to judge one; it is asked when all others have been."""
    help: str = ""
    """The function's docstring: why, with what is right."""

    def __call__(self, document: Document, world: World) -> Iterable[Finding]:
        return self.judge(document, world)


def rule(
    name: str,
    *,
    severity: LintSeverity,
    summary: str,
    group: str,
    kinds: tuple[str, ...] = (),
    needs: str = "",
    defers_to: tuple[str, ...] = (),
    across: bool = False,
) -> Callable[[Judge], Rule]:
    """Declare the decorated function `(document, world) -> Iterable[Finding]` as a rule. Raises ValueError
    for a name that is not of the form `group-what`.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"a rule's name is lower-case words joined by hyphens, such as links-dead-file, not {name!r}"
        )

    def declare(judge: Judge) -> Rule:
        return Rule(
            name=name,
            severity=severity,
            group=group,
            summary=summary,
            judge=judge,
            kinds=kinds,
            needs=needs,
            defers_to=defers_to,
            across=across,
            help=" ".join((judge.__doc__ or "").split()),
        )

    return declare


def builtin() -> tuple[Rule, ...]:
    """The rules that ship, in the order of the reference."""
    found: list[Rule] = []
    for name in MODULES:
        found += importlib.import_module(f"pytest_opsrunbooks.runbooks.lint.rules_{name}").RULES
    return tuple(found)


def combined(further: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules that ship and those of users. Raises ValueError when a name is taken twice."""
    rules = (*builtin(), *further)
    names = [each.name for each in rules]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two rules have the name {twice[0]!r}; a rule's name must be its own")
    return rules


def choose(rules: Sequence[Rule], select: Sequence[str], ignore: Sequence[str]) -> tuple[Rule, ...]:
    """The rules that `select` names (all when it is empty) without those that `ignore` names.

    Each may be a rule or a group. Raises UnknownRule.
    """
    known = {each.name for each in rules} | {each.group for each in rules}
    for name in (*select, *ignore):
        if name not in known:
            hint = suggest.nearest(name, known) or "see docs/lint-rules.md for all of them"
            raise UnknownRule(f"there is no rule or group {name!r}; {hint}")
    wanted = set(select) or known
    return tuple(
        each
        for each in rules
        if {each.name, each.group} & wanted and not {each.name, each.group} & set(ignore)
    )
