"""The Prometheus text exposition format 0.0.4 and OpenMetrics 1.0, from text to samples. Pure functions.

Strict, since what a lenient reader drops is what a check then does not see: the first thing that is wrong
ends it, with the line's number.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable
from collections.abc import Mapping
from typing import ClassVar

from pytest_opsrunbooks.observe import wording

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_METRIC = re.compile(_NAME)
_LABEL = re.compile(rf"[ \t]*(?:([a-zA-Z_][a-zA-Z0-9_]*)|{_QUOTED})[ \t]*(?:=[ \t]*{_QUOTED})?[ \t]*")
_NUMBER = re.compile(
    r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|nan)", re.IGNORECASE | re.ASCII
)
_MILLISECONDS = re.compile(r"-?\d+", re.ASCII)
_ESCAPE = re.compile(r"\\(.|$)", re.DOTALL)
_ESCAPES = {"\\": "\\", '"': '"', "n": "\n"}
_TYPES = frozenset(
    {"counter", "gauge", "histogram", "summary", "untyped", "unknown", "info", "stateset", "gaugehistogram"}
)
_SUFFIXES = ("_total", "_created", "_bucket", "_count", "_sum", "_info", "_gsum", "_gcount")


class ExpositionError(ValueError):
    """What is wrong, and in which line."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exemplar:
    """An example that OpenMetrics attaches to a sample, such as a trace's id."""

    labels: Mapping[str, str]
    value: float
    timestamp_seconds: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """One line of numbers. `value` may be NaN or infinite."""

    name: str
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    value: float
    timestamp_seconds: float | None = None
    """Since 1970, whichever of the two formats it came from."""
    exemplar: Exemplar | None = None

    @property
    def series(self) -> str:
        """`name{label="value"}` with the labels in order."""
        return series(self.name, self.labels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exposition:
    """Everything of one scrape. `types`, `helps` and `units` are by family: for a counter of OpenMetrics that
    is the name without `_total`.
    """

    samples: tuple[Sample, ...] = ()
    types: Mapping[str, str] = dataclasses.field(default_factory=dict)
    helps: Mapping[str, str] = dataclasses.field(default_factory=dict)
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    is_openmetrics: bool = False

    def find(self, name: str, **labels: str) -> tuple[Sample, ...]:
        """The samples of that name that have at least these labels."""
        return tuple(
            sample
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def value(self, name: str, **labels: str) -> float | None:
        """The value of the one sample that `find` gives; None where there is none. Raises LookupError where
        there are several, naming them.
        """
        found = self.find(name, **labels)
        if len(found) > 1:
            shown = ", ".join(sample.series for sample in found[:3])
            raise LookupError(
                f"{series(name, labels)} fits {len(found)} series ({wording.short(shown, 150)}); name more labels"
            )
        return found[0].value if found else None

    def quantile(self, q: float, name: str, **labels: str) -> float | None:
        """The `q` quantile (0 to 1) of the histogram `name`, which is given without `_bucket`; its series
        that have these labels are taken together. None where there are no observations.
        """
        cumulative: dict[float, float] = {}
        for sample in self.find(f"{name}_bucket", **labels):
            bound = number(sample.labels.get("le", ""))
            if bound is not None:
                cumulative[bound] = cumulative.get(bound, 0.0) + sample.value
        return histogram_quantile(q, cumulative.items())


def series(name: str, labels: Mapping[str, str]) -> str:
    """`name{label="value"}`, escaped, with the labels in order."""
    pairs = ",".join(f'{key}="{escaped(value)}"' for key, value in sorted(labels.items()))
    return f"{name}{{{pairs}}}" if pairs else name


def escaped(text: str) -> str:
    """A label's value as it stands between quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def number(text: str) -> float | None:
    """A value as Prometheus writes it (`1e+06`, `NaN`, `+Inf`); None where it is none."""
    return float(text) if _NUMBER.fullmatch(text) else None


def histogram_quantile(q: float, buckets: Iterable[tuple[float, float]]) -> float | None:
    """The `q` quantile from pairs of upper bound and cumulative count, as Prometheus' function of that name:
    linear within a bucket, the last finite bound for what lies above it.

    None where it cannot be told: no observations, no `+Inf` bucket, or only that one. Raises ValueError for a
    `q` outside 0 to 1.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile is between 0 and 1, not {q:g}")
    ordered = sorted(buckets)
    if len(ordered) < 2 or ordered[-1][0] != math.inf or any(math.isnan(count) for _, count in ordered):
        return None
    counts: list[float] = []
    for _, count in ordered:
        # Buckets are read one after the other by the server, so a later one can be behind by a few.
        counts.append(max(count, counts[-1] if counts else 0.0))
    total = counts[-1]
    if total <= 0:
        return None
    rank = q * total
    index = next(place for place, count in enumerate(counts) if count >= rank)
    if index == len(ordered) - 1:
        return ordered[-2][0]
    upper = ordered[index][0]
    if index == 0 and upper <= 0:
        return upper
    lower, below = (0.0, 0.0) if index == 0 else (ordered[index - 1][0], counts[index - 1])
    inside = counts[index] - below
    return upper if inside <= 0 else lower + (upper - lower) * (rank - below) / inside


def parse(text: str, *, openmetrics: bool | None = None) -> Exposition:
    """Reads a whole exposition. Raises ExpositionError.

    Without `openmetrics` it is taken for OpenMetrics where its last line is `# EOF`; give what the
    Content-Type says, since a text that was cut off lacks just that line. The same series twice is an error,
    except at different times in OpenMetrics.
    """
    if openmetrics is None:
        openmetrics = text.removesuffix("\n").rpartition("\n")[2] == "# EOF"
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    elif not (openmetrics and lines[-1] == "# EOF"):
        raise ExpositionError(f"line {len(lines)} has no line end: the text was cut off")
    reader = _Reader(openmetrics=openmetrics)
    for place, line in enumerate(lines, start=1):
        try:
            reader.line(line, place)
        except _LineError as exc:
            shown = wording.short(line, 80)
            raise ExpositionError(f"line {place}: {exc}; the line is {shown!r}") from None
    if openmetrics and not reader.ended:
        raise ExpositionError(f"line {len(lines)} is the last and is not '# EOF': the text was cut off")
    return Exposition(
        samples=tuple(reader.samples),
        types=reader.facts["TYPE"],
        helps=reader.facts["HELP"],
        units=reader.facts["UNIT"],
        is_openmetrics=openmetrics,
    )


class _LineError(Exception):
    """What is wrong with a line."""


class _Reader:
    """What the lines have said so far."""

    kinds: ClassVar[tuple[str, ...]] = ("TYPE", "HELP", "UNIT")

    def __init__(self, *, openmetrics: bool) -> None:
        self.samples: list[Sample] = []
        self.facts: dict[str, dict[str, str]] = {kind: {} for kind in self.kinds}
        self.ended = False
        self._openmetrics = openmetrics
        self._sampled: set[str] = set()
        self._first_lines: dict[tuple[object, ...], int] = {}

    def line(self, line: str, place: int) -> None:
        if self.ended:
            raise _LineError("it comes after '# EOF'")
        if self._openmetrics and line == "# EOF":
            self.ended = True
        elif line.startswith("#") or (not self._openmetrics and line.lstrip(" \t").startswith("#")):
            self._comment(line.lstrip(" \t"))
        elif line.strip(" \t"):
            self._sample(line.strip(" \t"), place)
        elif self._openmetrics:
            raise _LineError("OpenMetrics has no empty lines")

    def _comment(self, line: str) -> None:
        words = line[1:].strip(" \t").split(maxsplit=2) if not self._openmetrics else line[2:].split(" ", 2)
        kinds = self.kinds if self._openmetrics else ("TYPE", "HELP")
        if not words or words[0] not in kinds:
            if self._openmetrics:
                raise _LineError("expected '# TYPE', '# UNIT', '# HELP' or '# EOF'")
            return  # any other comment is for people
        kind, name, said = [*words, "", ""][:3]
        if name.startswith('"'):
            name, said = _quoted_name(line.partition(kind)[2].lstrip(" \t"))
        elif not _METRIC.fullmatch(name):
            raise _LineError(f"{kind} is for no metric's name")
        if name in self.facts[kind]:
            raise _LineError(f"a second {kind} for {name}")
        if kind == "TYPE":
            said = said.strip(" \t")
            if said not in _TYPES:
                raise _LineError(f"unknown type {wording.short(said, 30)!r}")
            if self._family_has_samples(name, said):
                raise _LineError(f"the TYPE of {name} comes after its samples")
        elif kind == "HELP":
            said = _unescaped(said, strict=False)
        self.facts[kind][name] = said

    def _family_has_samples(self, name: str, said: str) -> bool:
        if name in self._sampled:
            return True
        grouped = self._openmetrics or said in ("histogram", "summary")
        suffixes = _SUFFIXES if self._openmetrics else ("_bucket", "_count", "_sum")
        # `x_count` may be a metric of its own: only one that no TYPE names belongs to a family `x`.
        return grouped and any(
            f"{name}{suffix}" in self._sampled and f"{name}{suffix}" not in self.facts["TYPE"]
            for suffix in suffixes
        )

    def _sample(self, line: str, place: int) -> None:
        name, labels, rest = _head(line)
        rest, mark, attached = rest.partition(" # ") if self._openmetrics else (rest, "", "")
        value, timestamp = self._numbers(rest)
        exemplar = self._exemplar(attached) if mark else None
        at = timestamp if self._openmetrics else None
        key = (name, frozenset(labels.items()), at)
        first = self._first_lines.setdefault(key, place)
        if first != place:
            raise _LineError(f"{wording.short(series(name, labels), 80)} was already in line {first}")
        self._sampled.add(name)
        self.samples.append(
            Sample(name=name, labels=labels, value=value, timestamp_seconds=timestamp, exemplar=exemplar)
        )

    def _numbers(self, text: str) -> tuple[float, float | None]:
        words = text.split()
        if not 1 <= len(words) <= 2:
            raise _LineError("expected a value and perhaps a timestamp after the name and labels")
        value = number(words[0])
        if value is None:
            raise _LineError(f"{wording.short(words[0], 30)!r} is no number")
        if len(words) == 1:
            return value, None
        stamp = number(words[1])
        fits = self._openmetrics or _MILLISECONDS.fullmatch(words[1])
        if stamp is None or not fits or not math.isfinite(stamp):
            unit = "seconds" if self._openmetrics else "whole milliseconds"
            raise _LineError(f"{wording.short(words[1], 30)!r} is no timestamp in {unit}")
        return value, stamp if self._openmetrics else stamp / 1000

    def _exemplar(self, text: str) -> Exemplar:
        if not text.startswith("{"):
            raise _LineError("an exemplar begins with its labels in braces")
        _, labels, rest = _labels(text, 1, name="exemplar")
        value, timestamp = self._numbers(rest)
        return Exemplar(labels=labels, value=value, timestamp_seconds=timestamp)


def _head(line: str) -> tuple[str, dict[str, str], str]:
    """A sample's name, labels, and the text after them."""
    if line.startswith("{"):
        name, labels, rest = _labels(line, 1, name="")
        if not name:
            raise _LineError("it has no metric's name")
        return name, labels, rest
    matched = _METRIC.match(line)
    if matched is None:
        raise _LineError("it begins with no metric's name")
    rest = line[matched.end() :].lstrip(" \t")
    if rest.startswith("{"):
        return _labels(rest, 1, name=matched[0])
    if rest == line[matched.end() :]:
        raise _LineError("expected a space or '{' after the metric's name")
    return matched[0], {}, rest


def _labels(text: str, at: int, *, name: str) -> tuple[str, dict[str, str], str]:
    """The labels from `at`, which is behind the brace. A quoted text alone is the metric's name."""
    labels: dict[str, str] = {}
    first = True
    while True:
        matched = _LABEL.match(text, at)
        if matched is None:
            end = re.compile(r"[ \t]*\}").match(text, at)
            if end is None:
                raise _LineError(f"expected a label or '}}' at {wording.short(text[at:], 30)!r}")
            return name, labels, text[end.end() :]
        plain, quoted, value = matched.groups()
        if value is None:
            if quoted is None or name or not first:
                raise _LineError(f"the label {wording.short(plain or quoted, 30)!r} has no value in quotes")
            name = _unescaped(quoted)
        else:
            key = _unescaped(quoted) if plain is None else plain
            if key in labels:
                raise _LineError(f"the label {wording.short(key, 30)!r} is there twice")
            labels[key] = _unescaped(value)
        first = False
        at = matched.end()
        if text[at : at + 1] == ",":
            at += 1
        elif text[at : at + 1] != "}":
            raise _LineError(f"expected ',' or '}}' at {wording.short(text[at:], 30)!r}")


def _quoted_name(text: str) -> tuple[str, str]:
    matched = re.compile(_QUOTED).match(text)
    if matched is None:
        raise _LineError("a metric's name in quotes does not end")
    return _unescaped(matched[1]), text[matched.end() :].lstrip(" \t")


def _unescaped(text: str, *, strict: bool = True) -> str:
    def replaced(escape: re.Match[str]) -> str:
        if escape[1] in _ESCAPES:
            return _ESCAPES[escape[1]]
        if strict:
            raise _LineError(f'{escape[0]!r} is no escape; there are \\\\, \\" and \\n')
        return escape[0]

    return _ESCAPE.sub(replaced, text) if "\\" in text else text
