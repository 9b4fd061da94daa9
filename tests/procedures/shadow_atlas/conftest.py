"""The lab with its servers, for procedures that go over the network."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Iterator

import pytest

from procedures.shadow_atlas import ipfs_content
from procedures.shadow_atlas import pinning
from procedures.shadow_atlas import published
from tests import in_memory
from tests.procedures.shadow_atlas import miniature
from tests.procedures.shadow_atlas.miniature import Miniature


@pytest.fixture
def tmp_path(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """In memory where that is possible: a kill test waits for the disk hundreds of times."""
    with in_memory.folder(otherwise=tmp_path) as folder:
        yield folder


@pytest.fixture(scope="session")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Miniature]:
    """Its servers run for all tests of this folder that need them."""
    with (
        in_memory.folder(otherwise=tmp_path_factory.mktemp("lab")) as root,
        miniature.served(root) as lab,
    ):
        for name in ("data", "artefacts", "pinning", "process"):
            shutil.copytree(root / name, root / "as-built" / name)
        yield lab


@pytest.fixture
def served(shared_lab: Miniature, monkeypatch: pytest.MonkeyPatch) -> Miniature:
    """The lab as it was built, its servers well-behaved; nothing waits for the clock."""
    root: pathlib.Path = shared_lab.layout.root
    for name in ("data", "artefacts", "pinning", "process"):
        shutil.rmtree(root / name)
        shutil.copytree(root / "as-built" / name, root / name)
    shutil.rmtree(root / "journals", ignore_errors=True)
    shared_lab.layout.behaviours.write_text("{}")
    monkeypatch.setattr(pinning, "WAITS_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(pinning, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(ipfs_content, "SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(ipfs_content, "SPARE_SECONDS", 0.1)
    monkeypatch.setattr(published, "GRACE_SECONDS", 0.2)
    return shared_lab
