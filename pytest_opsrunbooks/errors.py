"""Every error that the project raises on purpose, so that a caller can tell them from defects.

    OpsError
    ├── ConfigurationError    opsrunbooks.toml cannot be used; every problem in it is listed
    │   └── MissingSetting    a free-form system has no such key (also an AttributeError)
    ├── MarkerError           a check's markers contradict the rules
    ├── RunbookError          a runbook page is missing, or its front matter is wrong
    ├── SnapshotError         a saved file of observations cannot be read or written
    ├── LabError              a lab did not start, stop or break as asked
    ├── LedgerError           the history cannot be read or written; never changes a verdict
    └── ScaffoldError         `opsrunbooks init` would overwrite something, or does not know the target

The text of each is written for the person who must act on it: where, what was found, what was expected, what
to type next.
"""

from __future__ import annotations

from collections.abc import Sequence


class OpsError(Exception):
    """Base of all of them. `str()` is the whole message."""


class ConfigurationError(OpsError):
    """The configuration cannot be used. `problems` has one finished line for each thing that is wrong."""

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems: tuple[str, ...] = tuple(problems) or (message,)


class MissingSetting(ConfigurationError, AttributeError):  # noqa: N818 - named for what a reader of the traceback needs
    """A free-form system has no such key. An AttributeError too, so that `hasattr` and `getattr` with a
    default work.
    """


class MarkerError(OpsError):
    """A check's markers contradict the rules; the text names the check and the fix."""


class RunbookError(OpsError):
    """A runbook page is missing or its front matter is wrong. `problems` has one finished line for each
    thing.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems: tuple[str, ...] = tuple(problems) or (message,)


class SnapshotError(OpsError):
    """A saved file of observations cannot be read or written; the text names the line."""


class LedgerError(OpsError):
    """The history cannot be read or written. Callers turn it into a warning; it never changes a verdict."""


class LabError(OpsError):
    """A lab did not start, stop or break as asked; the text says what its log said."""


class ScaffoldError(OpsError):
    """Nothing was written: a file is in the way, or the target is neither a URL nor a SQLite file."""
