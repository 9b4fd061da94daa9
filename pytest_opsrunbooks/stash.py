"""Where a run of pytest keeps what belongs to it: the keys into its configuration's stash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_opsrunbooks.signals import Signals
    from pytest_opsrunbooks.sweep import Sweep

sweep_key: pytest.StashKey[Sweep] = pytest.StashKey()
signals_key: pytest.StashKey[Signals] = pytest.StashKey()
listening_key: pytest.StashKey[bool] = pytest.StashKey()
