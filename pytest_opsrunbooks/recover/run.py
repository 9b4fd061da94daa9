"""What a step's functions are given: the run that they are part of."""

from __future__ import annotations

import datetime
import string
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed

if TYPE_CHECKING:
    from pytest_opsrunbooks.observe.command import CommandObservation


class Run:
    """One run of a procedure, as its present step sees it."""

    def __init__(
        self,
        *,
        run_id: str,
        system: str,
        settings: Any,
        values: Mapping[str, Any],
        started_at: datetime.datetime,
        results: Mapping[str, Mapping[str, Any]],
        say: Callable[[str], None],
    ) -> None:
        self.id = run_id
        self.system = system
        self.settings = settings
        self.values = values
        """Inputs and resolved values, as they are in the journal: the same when the run is resumed."""
        self.started_at = started_at
        self.results = results
        """What earlier steps returned, by their names."""
        self.facts: Mapping[str, Any] = {}
        """What this step's precondition returned."""
        self._say = say
        self._end = time.monotonic()

    def say(self, text: str) -> None:
        """Put a line into the journal and the transcript."""
        self._say(text)

    def limit(self, seconds: float) -> None:
        """The present step has this long from now; the engine calls it."""
        self._end = time.monotonic() + seconds

    @property
    def remaining_seconds(self) -> float:
        """Of the step's time limit; never below a tenth."""
        return max(0.1, self._end - time.monotonic())

    def check_time(self) -> None:
        """Raises StepFailed when the step's time is up. For loops, and as SQLite's progress handler."""
        if time.monotonic() >= self._end:
            raise StepFailed("its time limit was reached")

    def command(self, key: str, argv: Sequence[str], **placeholders: str) -> str:
        """Run a command of the settings and return its standard output.

        `{name}` in an argument is replaced by the placeholder of that name. Raises Refused where `argv` is
        empty: `key` is what has to be added to the configuration; StepFailed where it does not end with
        status 0.
        """
        arguments = filled(key, argv, placeholders)
        seen = _run(arguments, self.remaining_seconds)
        for stream in (seen.stdout, seen.stderr):
            for line in stream.strip().splitlines()[-20:]:
                self.say(f"{key}: {line}")
        if not seen.ok:
            said = seen.stderr.strip().splitlines()
            because = seen.error or f"ended with status {seen.exit_code}{f': {said[-1]}' if said else ''}"
            raise StepFailed(f"{key}: {because}")
        return seen.stdout


def needed(key: str, argv: Sequence[str], system: str) -> None:
    """Raises Refused where a command that a procedure needs is not set."""
    if not argv:
        raise Refused(
            f'{key} is not set; add to [systems.{system}.commands]: {key} = ["program", "argument"]'
        )


def filled(key: str, argv: Sequence[str], placeholders: Mapping[str, str]) -> list[str]:
    """The arguments with their placeholders replaced. Raises Refused for one that is not known."""
    if not argv:
        raise Refused(f"the command {key} is not set")
    arguments: list[str] = []
    for argument in argv:
        names = {name for _, name, _, _ in string.Formatter().parse(argument) if name is not None}
        if unknown := names - set(placeholders):
            raise Refused(
                f"the command {key} has {{{min(unknown)}}}; known here: "
                f"{', '.join(sorted(placeholders)) or 'none'}"
            )
        arguments.append(argument.format(**placeholders))
    return arguments


def _run(arguments: Sequence[str], timeout_seconds: float) -> CommandObservation:
    import asyncio

    from pytest_opsrunbooks.observe import command

    return asyncio.run(command.run(arguments, timeout=timeout_seconds))
