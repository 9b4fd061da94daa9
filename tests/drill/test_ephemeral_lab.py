"""A lab that cannot be started here leaves nothing, and says what to do."""

from __future__ import annotations

import tempfile

import pytest

from pytest_opsrunbooks.drill import kept
from pytest_opsrunbooks.errors import LabError


class Broken:
    """A lab without the program that it needs."""

    stopped = 0

    def build(self, directory, _now):
        (directory / "half").write_text("built")
        raise RuntimeError("the lab needs a program; install it")

    def stop(self):
        Broken.stopped += 1


def test_a_lab_that_cannot_be_started_leaves_nothing_and_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(LabError, match=r"needs a program; install it; correct that, or sweep only your own"):
        kept.ephemeral(Broken)
    assert Broken.stopped == 1
    assert list(tmp_path.iterdir()) == []


def test_a_defect_of_a_lab_is_not_taken_for_something_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(Broken, "build", lambda *_: {}["no such key"])
    with pytest.raises(KeyError):
        kept.ephemeral(Broken)
    assert list(tmp_path.iterdir()) == []
