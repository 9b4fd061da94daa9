"""What a lab and a fault are. A lab is a miniature of a system made of real parts; a fault breaks it in one
realistic way.
"""

from __future__ import annotations

import abc
import dataclasses
import datetime
import pathlib
from collections.abc import Callable
from collections.abc import Mapping

from pytest_opsrunbooks.model import Severity


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """Breaks a lab and knows who must answer.

    `inject` gets the lab's folder. It may run in another process than the lab's servers, so it acts on files
    only: the lab's data, or the file from which its servers read how to misbehave.
    """

    name: str
    """Lower case words with hyphens: `persistence-header-overwritten`."""
    summary: str
    """What happened to the system, in one sentence."""
    check: str
    """The check that must fail: a test function's name, with its parameters where it has some
    (`test_x[p0-0.9]`).
    """
    severity: Severity
    runbook: str
    inject: Callable[[pathlib.Path], None]
    also: tuple[str, ...] = ()
    """Further checks that rightly fail of the same cause; any other failing check is a false alarm."""
    path: str | None = None
    """The letter of the page's path that must answer; None where the page has no tree."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NearMiss:
    """A change that looks like a fault and is not one (just inside a window, say): no check may fail."""

    name: str
    summary: str
    inject: Callable[[pathlib.Path], None]


class Lab(abc.ABC):
    """A miniature of one system. One instance serves one folder."""

    @abc.abstractmethod
    def build(self, directory: pathlib.Path, now: datetime.datetime) -> None:
        """Write the lab's data into `directory`, whole and healthy as of `now`."""

    @abc.abstractmethod
    def serve(self, directory: pathlib.Path) -> Mapping[str, object]:
        """Start the servers in this process, on loopback; return the table that `[systems.<name>]` would
        hold.
        """

    @abc.abstractmethod
    def stop(self) -> None:
        """Stop the servers; the folder stays. Safe to call twice."""

    @abc.abstractmethod
    def mend(self, directory: pathlib.Path, now: datetime.datetime) -> None:
        """Undo every fault: data as `build` writes it, servers well-behaved, without restarting them."""

    @abc.abstractmethod
    def faults(self) -> tuple[Fault, ...]:
        """Every fault that this lab can show."""

    def unavailable(self, fault: Fault) -> str | None:
        """Why this machine cannot show a fault (no permission to mount, say); None when it can."""
        del fault
        return None

    def near_misses(self) -> tuple[NearMiss, ...]:
        """Changes that must not raise an alarm."""
        return ()

    # -- for drills; a lab without these can be drilled, but no loss is measured -----------------------------

    def work(self, directory: pathlib.Path, now: datetime.datetime) -> None:
        """Write what the system has written since its last backup, so that a restore has something to
        lose. The lab stays healthy.
        """
        del directory, now

    def rows(self, directory: pathlib.Path) -> Mapping[str, datetime.datetime | None] | None:
        """Everything that must not be lost: a name for each row, and when it was written (None where nothing
        tells). What cannot be read is left out. None where the lab cannot tell at all.
        """
        del directory
        return None

    def furnish(self, directory: pathlib.Path, folder: pathlib.Path) -> None:
        """Put into `folder` what an operator finds in the folder where a page's commands are typed."""
        del directory, folder
