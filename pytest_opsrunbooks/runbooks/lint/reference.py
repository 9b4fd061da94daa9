"""The reference of the rules, from the rules themselves: docs/lint-rules.md and `opsrunbooks lint --explain`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from collections.abc import Sequence

from pytest_opsrunbooks.runbooks.lint import waivers
from pytest_opsrunbooks.runbooks.lint.registry import Rule

_HEAD = """\
# Rules of the linter

<!-- Generated from the rules: `opsrunbooks lint --reference > docs/lint-rules.md`. A test keeps it true. -->

`opsrunbooks lint PATH…` and `pytest runbooks` say what these find. `--select` and `--ignore` take rules and groups
(the headings). A rule that needs to know something of your systems says nothing where it was not given: see
`opsrunbooks lint --help`.

A finding that you let stand gets a waiver, with a reason and an end. In a page it is a comment of its own before the
line or the block, in a script it is a comment before the line or at its end:

```text
<!-- lint-ok: links-dead-file reason="the release writes the page" until=2027-01-31 -->
# lint-ok: shell-unset-variable reason="the service manager sets it" until=2027-01-31
```
"""


def markdown(rules: Sequence[Rule]) -> str:
    """The whole reference."""
    parts = [_HEAD]
    groups = dict.fromkeys(rule.group for rule in rules)
    for group in groups:
        parts.append(f"## {group}\n")
        parts += ["\n".join(_section(rule)) for rule in rules if rule.group == group]
    parts.append(f"## waivers\n\n### {waivers.RULE_NAME}\n\n{waivers.SUMMARY} (warning)\n")
    return "\n".join(parts)


def _section(rule: Rule) -> Iterator[str]:
    yield f"### {rule.name}\n"
    yield f"{rule.summary} ({rule.severity})\n"
    if rule.help:
        yield f"{rule.help}\n"
    if rule.kinds:
        yield f"Looks at: {', '.join(rule.kinds)}.\n"
    if rule.needs:
        yield f"Needs: {rule.needs}.\n"


def explain(rule: Rule) -> str:
    """One rule for a terminal."""
    facts = [f"{rule.name}  ({rule.severity}, group {rule.group})", f"  {rule.summary}"]
    if rule.help:
        facts.append(f"  {rule.help}")
    if rule.kinds:
        facts.append(f"  looks at: {', '.join(rule.kinds)}")
    if rule.needs:
        facts.append(f"  needs: {rule.needs}")
    return "\n".join(facts)


def listing(rules: Sequence[Rule]) -> str:
    """Every rule in one line, by group."""
    width = max((len(rule.name) for rule in rules), default=0)
    found: list[str] = []
    for group, members in itertools.groupby(sorted(rules, key=lambda r: r.group), key=lambda r: r.group):
        found.append(group)
        found += [f"  {rule.name:<{width}}  {rule.summary}" for rule in members]
    return "\n".join(found)
