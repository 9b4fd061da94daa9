"""Ways in which a page rots, one small change each: a renamed check, a dead anchor, a wrong column, a changed
number. Each mutator finds every place where it could strike; a mutation is one of them.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mutation:
    """A page's text with one change in it."""

    kind: str
    page: str
    line: int
    before: str
    after: str
    text: str


Change = Callable[[re.Match[str], random.Random], str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mutator:
    """Changes one match of `pattern` within the parts of a page that `within` finds."""

    kind: str
    pattern: re.Pattern[str]
    change: Change
    within: re.Pattern[str] | None = None

    def places(self, text: str) -> Iterator[tuple[int, int, re.Match[str]]]:
        spans = [(0, len(text))]
        if self.within is not None:
            spans = [match.span() for match in self.within.finditer(text)]
        for start, end in spans:
            for match in self.pattern.finditer(text, start, end):
                yield match.start(), match.end(), match


_FENCE = re.compile(r"^```bash[^\n]*\n.*?^```$", re.MULTILINE | re.DOTALL)
_SQL = re.compile(r"(?:<<'SQL'\n.*?^SQL$|\"SELECT [^\"]*\")", re.MULTILINE | re.DOTALL)
_DETECTION = re.compile(r"^## Detection$.*?^## ", re.MULTILINE | re.DOTALL)
_ESCALATION = re.compile(r"^## Escalation$.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_DIAGNOSIS = re.compile(r"^## Diagnosis$.*?^## ", re.MULTILINE | re.DOTALL)


def _misspelt(match: re.Match[str], chance: random.Random) -> str:
    """Two neighbouring letters are exchanged."""
    word = match[0]
    places = [at for at in range(len(word) - 1) if word[at] != word[at + 1] and word[at : at + 2].isalpha()]
    at = chance.choice(places)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _another_number(match: re.Match[str], chance: random.Random) -> str:
    return str(int(match[0]) * chance.choice((2, 3)) + 1)


def _without(match: re.Match[str], chance: random.Random) -> str:
    del match, chance
    return ""


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.MULTILINE)


MUTATORS = (
    Mutator(kind="a check is renamed", pattern=_pattern(r"\btest_[a-z0-9_]+"), change=_misspelt),
    Mutator(
        kind="a check of the diagnosis is renamed",
        pattern=_pattern(r"\btest_[a-z0-9_]+"),
        change=_misspelt,
        within=_DIAGNOSIS,
    ),
    Mutator(kind="an anchor is dead", pattern=_pattern(r"(?<=\]\(#)[a-z0-9-]+(?=\))"), change=_misspelt),
    Mutator(kind="a linked file is gone", pattern=_pattern(r"(?<=\]\()[a-z-]+(?=\.md)"), change=_misspelt),
    Mutator(
        kind="a heading is changed", pattern=_pattern(r"^### [A-Z]: [a-z][^\n]*[a-z]{4}$"), change=_misspelt
    ),
    Mutator(
        kind="a column is wrong",
        pattern=_pattern(
            r"\b(?:state_code|layer_type|boundary_count|job_id|archived_at|deprecated_at|created_at"
            r"|labels_json|recorded_at|last_error|attempt_count|status|ipfs_cid)\b"
        ),
        change=_misspelt,
        within=_SQL,
    ),
    Mutator(
        kind="a table is wrong",
        pattern=_pattern(r"(?<=FROM )[a-z_]+\b"),
        change=_misspelt,
        within=_SQL,
    ),
    Mutator(
        kind="a procedure is renamed",
        pattern=_pattern(r"(?<=opsrunbooks run shadow_atlas\.)[a-z_]+"),
        change=_misspelt,
    ),
    Mutator(
        kind="an input of a procedure is renamed",
        pattern=_pattern(r"(?<=--set )[a-z_]+(?==)"),
        change=_misspelt,
    ),
    Mutator(
        kind="an option is misspelt",
        pattern=_pattern(r"(?<=--)(?:execute|set)\b"),
        change=_misspelt,
        within=_FENCE,
    ),
    Mutator(
        kind="a quote is lost", pattern=_pattern(r"'(?=[^'\n]*'[^'\n]*$)"), change=_without, within=_FENCE
    ),
    Mutator(
        kind="a variable is misspelt",
        pattern=_pattern(r"(?<=\")\$[A-Z]{2,}_[A-Z_]+"),
        change=_misspelt,
        within=_FENCE,
    ),
    Mutator(
        kind="a threshold of a check is changed",
        pattern=_pattern(r"\b\d+(?= (?:h|hours|%|s|seconds|GB|days)\b)"),
        change=_another_number,
        within=_DETECTION,
    ),
    Mutator(
        kind="a time of the escalation is changed",
        pattern=_pattern(r"\b\d+(?= (?:minutes?|hours?)\b)"),
        change=_another_number,
        within=_ESCALATION,
    ),
    Mutator(
        kind="a section is gone",
        pattern=_pattern(r"^## (?:Diagnosis|Verification|Escalation|Impact)$"),
        change=_without,
    ),
    Mutator(kind="a verification is gone", pattern=_pattern(r"^Verify: [^\n]*$"), change=_without),
    Mutator(
        kind="a key of the head is misspelt",
        pattern=_pattern(r"^(?:severity|detects|last_reviewed|rto)(?=:)"),
        change=_misspelt,
    ),
    Mutator(
        kind="the severity is changed",
        pattern=_pattern(r"(?<=^severity: )p[0-3]$"),
        change=lambda match, _: "p3" if match[0] != "p3" else "p0",
    ),
)


def mutations(pages: Sequence[tuple[str, str]], each: int, seed: int) -> Iterator[Mutation]:
    """At random, `each` mutations of every kind over all pages (name and text)."""
    chance = random.Random(seed)
    for mutator in MUTATORS:
        places = [
            (name, text, start, end, match)
            for name, text in pages
            for start, end, match in mutator.places(text)
        ]
        for name, text, start, end, match in chance.sample(places, min(each, len(places))):
            after = mutator.change(match, chance)
            yield Mutation(
                kind=mutator.kind,
                page=name,
                line=text.count("\n", 0, start) + 1,
                before=match[0],
                after=after,
                text=text[:start] + after + text[end:],
            )
