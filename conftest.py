"""Declares the systems that ship with the project, for the suites below."""

from __future__ import annotations

import pytest

from pytest_opsrunbooks import System
from systems.ner11.system import SYSTEM as NER11
from systems.shadow_atlas.system import SYSTEM as SHADOW_ATLAS


@pytest.hookimpl(optionalhook=True)
def pytest_opsrunbooks_systems() -> list[System]:
    return [SHADOW_ATLAS, NER11]
