"""What a procedure is: typed inputs, a look at the system that resolves values, and ordered steps.

A step may be cut off anywhere, by a signal or a power cut, and then be repeated or undone. So its three parts
keep to a rule:

- `action` may be run again after it was cut off, and ends in the same state;
- `verify` says whether that state is reached, and changes nothing;
- `undo` works on a step that is done, half done or not even begun, and raises when it cannot bring back what
  was.

What `precondition` returns is in the journal before `action` begins: what was there before belongs in it.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import pathlib
import re
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from pytest_opsrunbooks.errors import OpsError
from pytest_opsrunbooks.suggest import nearest

if TYPE_CHECKING:
    from pytest_opsrunbooks.recover.run import Run

Values = Mapping[str, Any]
"""Plain values that JSON keeps: None, bool, int, float, str, lists and dicts of them."""

DEFAULT_STEP_SECONDS = 60.0


class Refused(OpsError):  # noqa: N818 - it is an answer, and nothing was changed
    """The procedure does not begin, or a step does not. The text says why, and what to do instead."""


class StepFailed(OpsError):  # noqa: N818 - named for what the journal says
    """An action did not do what it should, or a verification found that it did not."""


class NotYet(OpsError):  # noqa: N818 - a gate's answer
    """What a gate waits for is not so yet."""


class _Required(enum.Enum):
    REQUIRED = "required"


REQUIRED = _Required.REQUIRED
_YES = frozenset({"true", "yes", "on", "1"})
_NO = frozenset({"false", "no", "off", "0"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Input:
    """One input. `type` is str, int, float, bool or pathlib.Path; without `default` it must be given."""

    description: str
    type: type = str
    default: Any = REQUIRED
    pattern: str | None = None
    """A regular expression that the whole text must match."""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    find: str = ""
    """How a person finds the value."""

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    def read(self, text: str) -> Any:
        """The value that `text` stands for; paths as text. Raises ValueError, whose text is a clause."""
        if not text.strip():
            raise ValueError("is empty")
        if any(ord(character) < 32 for character in text):
            raise ValueError("holds control characters")
        if self.type is bool:
            return self._truth(text)
        if self.type in {int, float}:
            return self._number(text)
        if self.choices and text not in self.choices:
            raise ValueError(
                f"is {text!r}; {nearest(text, self.choices) or 'allowed: ' + ', '.join(self.choices)}"
            )
        if self.pattern is not None and not re.fullmatch(self.pattern, text):
            raise ValueError(f"is {text!r}; it must match {self.pattern}")
        return text

    def _truth(self, text: str) -> bool:
        word = text.strip().lower()
        if word not in _YES | _NO:
            raise ValueError(f"is {text!r}; write true or false")
        return word in _YES

    def _number(self, text: str) -> int | float:
        try:
            number: int | float = int(text) if self.type is int else float(text)
        except ValueError:
            raise ValueError(
                f"is {text!r}; write {'a whole number' if self.type is int else 'a number'}"
            ) from None
        low, high = self.minimum, self.maximum
        if number != number or (low is not None and number < low) or (high is not None and number > high):  # noqa: PLR0124
            bounds = [
                None if low is None else f"at least {low:g}",
                None if high is None else f"at most {high:g}",
            ]
            raise ValueError(f"is {text}; allowed: {' and '.join(filter(None, bounds)) or 'a number'}")
        return number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """What resolving gets: it looks at the system and changes nothing."""

    settings: Any
    inputs: Values
    now: datetime.datetime
    run_id: str
    """Of the run that is planned: names of files that it will make have it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One step; see the module for what its parts promise."""

    name: str
    """Lower case words with hyphens."""
    summary: str
    """What it does, in one sentence; `{name}` stands for a resolved value."""
    action: Callable[[Run], Values | None]
    """What it returns is the step's result, for the record. A run that was cut off between the work and its
    record has lost it: what later steps need belongs into values, facts or files.
    """
    precondition: Callable[[Run], Values | None] | None = None
    """Raises Refused where the step must not begin; returns the facts that undoing needs."""
    verify: Callable[[Run], None] | None = None
    """Raises StepFailed (or AssertionError) where the step did not do what it should."""
    undo: Callable[[Run], None] | None = None
    timeout_seconds: float = DEFAULT_STEP_SECONDS
    changes: bool = True
    """False for a step that only looks; it needs no undo."""
    gate: bool = False
    """The run stops here, perhaps for days; resuming it is the approval, and `action` raises NotYet where it
    is too early.
    """

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name):
            raise ValueError(f"a step's name is lower case words with hyphens, not {self.name!r}")
        if self.gate and self.changes:
            raise ValueError(f"the gate {self.name} must not change anything")
        if self.changes and (self.verify is None or self.undo is None):
            raise ValueError(f"the step {self.name} changes the system, so it needs verify and undo")
        if self.timeout_seconds <= 0:
            raise ValueError(f"the step {self.name} needs a time limit above 0")


def kept(what: str) -> Callable[[Run], None]:
    """An undo for a step that only adds something which does no harm (a backup, say): it stays."""

    def undo(run: Run) -> None:
        run.say(f"{what} is kept")

    return undo


def cannot_be_undone(what_to_do: str) -> Callable[[Run], None]:
    """An undo for a step that nothing can take back: the run ends as not undone, and says what to do."""

    def undo(_run: Run) -> None:
        raise StepFailed(what_to_do)

    return undo


def _nothing(_look: Look) -> Values:
    return {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Procedure:
    """A procedure of one system. Its full name, which is what people type, is `<system>.<name>`."""

    name: str
    system: str
    summary: str
    steps: tuple[Step, ...]
    inputs: Mapping[str, Input] = dataclasses.field(default_factory=dict)
    resolve: Callable[[Look], Values] = _nothing
    """Looks at the system and returns every value that the steps use. Raises Refused."""
    lock: Callable[[Any], pathlib.Path] | None = None
    """From the settings: what to lock for the whole run, a folder or a file that exists. None: a file beside
    the journals.
    """

    def __post_init__(self) -> None:
        names = [step.name for step in self.steps]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"{self.full_name} needs steps with different names, not {names}")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"a procedure's name is lower case words with underscores, not {self.name!r}")

    @property
    def full_name(self) -> str:
        return f"{self.system}.{self.name}"

    @property
    def changes(self) -> bool:
        """Whether any step changes the system."""
        return any(step.changes for step in self.steps)

    def read_inputs(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Every input with its value. Raises Refused with everything that is wrong with `given`."""
        problems = [
            f"{name}: there is no such input; {nearest(name, self.inputs) or self._known_inputs()}"
            for name in given
            if name not in self.inputs
        ]
        values: dict[str, Any] = {}
        for name, one in self.inputs.items():
            if name in given:
                try:
                    values[name] = one.read(given[name])
                except ValueError as error:
                    problems.append(f"{name} {error}{f' (find it: {one.find})' if one.find else ''}")
            elif one.required:
                find = f"; find it: {one.find}" if one.find else ""
                problems.append(f"{name} is missing: {one.description}; add --set {name}=…{find}")
            else:
                values[name] = one.default
        if problems:
            raise Refused(f"{self.full_name} was not begun: " + "; ".join(problems))
        return values

    def _known_inputs(self) -> str:
        return f"its inputs: {', '.join(self.inputs)}" if self.inputs else "it has no inputs"


def procedure(
    *,
    name: str,
    system: str,
    summary: str,
    steps: Sequence[Step],
    inputs: Mapping[str, Input] | None = None,
    lock: Callable[[Any], pathlib.Path] | None = None,
) -> Callable[[Callable[[Look], Values]], Procedure]:
    """Makes a Procedure of the function that resolves its values."""

    def build(resolve: Callable[[Look], Values]) -> Procedure:
        return Procedure(
            name=name,
            system=system,
            summary=summary,
            steps=tuple(steps),
            inputs=dict(inputs or {}),
            resolve=resolve,
            lock=lock,
        )

    return build
