"""What the commands share: how they fail, and how they come to the systems of the folder."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from pytest_opsrunbooks import launch

if TYPE_CHECKING:
    import pytest

    from pytest_opsrunbooks.bindings import Bindings

CANNOT = 3
"""Exit status of every command that could not do what it was asked for."""


def failure(message: str) -> click.ClickException:
    return _CannotError(message)


class _CannotError(click.ClickException):
    exit_code = CANNOT


def with_pytest(act: Callable[[pathlib.Path, Bindings], None], ops_config: str | None = None) -> None:
    """Call `act` with the rootdir and the systems of the folder, as pytest finds them.

    What needs the systems that a conftest.py declares runs inside pytest's own configuration, so that the
    command sees exactly what a sweep in the same folder would see. `ops_config` is what `--ops-config` was
    given.
    """
    import pytest

    command = _Command(act)
    chosen = [] if ops_config is None else [f"--ops-config={ops_config}"]
    suite = launch.shipped_suite(())
    code = int(
        pytest.main(["--disable-plugin-autoload", "-p", "opsrunbooks", *chosen, *suite], plugins=[command])
    )
    if command.error is not None:
        raise command.error
    if not command.ran:
        raise failure(f"pytest could not be configured here (its status {code}); try: pytest --collect-only")


class _Command:
    """Runs in the place of a test session, with everything loaded that a session would have."""

    def __init__(self, act: Callable[[pathlib.Path, Bindings], None]) -> None:
        self._act = act
        self.error: click.ClickException | None = None
        self.ran = False

    def pytest_cmdline_main(self, config: pytest.Config) -> int:
        from pytest_opsrunbooks.bindings import Bindings
        from pytest_opsrunbooks.errors import OpsError

        self.ran = True
        try:
            self._act(config.rootpath, Bindings(config))
        except click.ClickException as error:
            self.error = error
        except OpsError as error:
            self.error = failure(str(error))
        return 0
