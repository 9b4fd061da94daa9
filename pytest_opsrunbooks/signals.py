"""Ends that come from outside: SIGTERM ends a sweep like Ctrl-C, with every report written; the deadline ends
a hung check.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from types import FrameType
from typing import Any

from pytest_opsrunbooks.judge.verdict import DeadlinePassedError
from pytest_opsrunbooks.sweep import Sweep

CONTROLLER_GRACE_SECONDS = 2.0
"""How much longer than its workers the controller of pytest-xdist waits before it stops listening."""


class Signals:
    """Installed for the length of a sweep, in the main thread only; the handlers that were there come back
    after.
    """

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._before: dict[int, Any] = {}
        self.interruptible = False
        """A check or a file's collection is running: the deadline may raise into it."""
        self.is_controller = False
        self.waits_for_workers = False
        """The controller of pytest-xdist listens to its workers: the deadline may end that."""
        self.finishing = False
        """The result and the reports are being made; they are short, and nothing may end them."""

    def install(self) -> None:
        """Safe to call again."""
        if threading.current_thread() is not threading.main_thread():
            return
        if signal.SIGTERM not in self._before:
            self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._terminate)
        remaining = self._sweep.deadline.remaining_seconds
        # Asked each time: the configuration, which may be read later than the options, can set a deadline
        # too.
        if remaining is not None and signal.SIGALRM not in self._before and hasattr(signal, "setitimer"):
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._deadline)
            # It repeats, so that a check which catches everything is interrupted again.
            grace = CONTROLLER_GRACE_SECONDS if self.is_controller else 0.0
            signal.setitimer(signal.ITIMER_REAL, max(remaining + grace, 0.001), 0.5)

    def remove(self) -> None:
        """Put back what was there. Safe to call again."""
        if signal.SIGALRM in self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            with contextlib.suppress(TypeError, ValueError):
                signal.signal(number, handler)
        self._before.clear()

    def _terminate(self, _number: int, _frame: FrameType | None) -> None:
        if self.finishing:
            self.finishing = False  # whoever asks again is not kept waiting
            return
        self._sweep.problem("interrupted by SIGTERM")
        raise KeyboardInterrupt("SIGTERM")

    def _deadline(self, _number: int, _frame: FrameType | None) -> None:
        seconds = self._sweep.deadline.seconds
        if self.finishing:
            return
        if self.is_controller:
            if not self.waits_for_workers:
                return  # nothing is waited for; what is left to do is short
            self._sweep.problem(
                f"the sweep's deadline of {seconds:g} s passed and not every worker had answered"
            )
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt("deadline")
        if self.interruptible:
            raise DeadlinePassedError(
                f"not judged: it was still running when the sweep's deadline of {seconds:g} s passed"
            )
