from __future__ import annotations

import pytest

from pytest_opsrunbooks.drill.bench import Bench
from tests.drill import kiosk


@pytest.fixture(scope="package")
def bench(tmp_path_factory):
    """A bench for the kiosk, with real sweeps, for every test of the folder."""
    root = tmp_path_factory.mktemp("kiosk")
    kiosk.write_project(root)
    with Bench(
        system="kiosk",
        lab=kiosk.KioskLab(),
        root=root,
        folder=tmp_path_factory.mktemp("bench"),
        runbooks=[root / "runbooks"],
    ) as made:
        yield made
