# mypy: disable-error-code="empty-body"
"""Hooks that others implement, in a conftest.py or a plugin of their own.

A conftest.py that implements one of them and must also load where this plugin is not installed (or was turned
off by `-p no:opsrunbooks`) marks it `@pytest.hookimpl(optionalhook=True)`. Implement the arguments that you
need; more may come.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import pytest

if TYPE_CHECKING:
    from pytest_opsrunbooks.model import RunbookLink
    from pytest_opsrunbooks.model import Section
    from pytest_opsrunbooks.model import SweepResult
    from pytest_opsrunbooks.model import System
    from pytest_opsrunbooks.runbooks.lint.registry import Rule


@pytest.hookspec
def pytest_opsrunbooks_systems(config: pytest.Config) -> Sequence[System]:
    """Declare systems: their settings (the keys of `[systems.<name>]`), policies and labs.

    Called once a run, when the first check or the first option needs them; every implementation counts, so
    use the conftest.py in the rootdir or a plugin. A `[systems.<name>]` that nobody declares is a system as
    well, with whatever keys it has.
    """


@pytest.hookspec
def pytest_opsrunbooks_probers(config: pytest.Config) -> Mapping[str, Callable[[int], Any]]:
    """Offer further probe kinds: objects that the engine injects into probes by name, beside `http` and
    `ipfs`.

    Maps the name to a function that is called once, on the engine's event loop, with the number of probe
    calls that are planned; what it returns is shared by all probes that take the name, and its `aclose()`,
    where it has one, is awaited at the end.
    """


@pytest.hookspec(firstresult=True)
def pytest_opsrunbooks_runbook(config: pytest.Config, runbook_id: str) -> RunbookLink | None:
    """Resolve a runbook's id to its page where that is not a file in a configured folder (a wiki, say).

    The first implementation that returns something wins; None leaves it to the next and finally to the
    folders. Called for each id that a collected check names, so it must be quick and must not ask the
    network.
    """


@pytest.hookspec
def pytest_opsrunbooks_report_section(
    config: pytest.Config, result: SweepResult
) -> Section | Sequence[Section] | None:
    """Add a section of plain text to the terminal, JSON and HTML reports.

    Called once, after judging, with the whole result (already redacted). What is returned is redacted as
    well; what is raised becomes a warning in the report and never changes the exit status.
    """


@pytest.hookspec
def pytest_opsrunbooks_lint_rules(config: pytest.Config) -> Rule | Sequence[Rule] | None:
    """Add rules to the linter: functions decorated with `pytest_opsrunbooks.runbooks.lint.registry.rule`.

    Called once for `opsrunbooks lint` and once for `pytest runbooks`, never in a sweep; import the rules
    inside. Their names and groups work with `--select`, `--ignore` and waivers like those that ship.
    """
