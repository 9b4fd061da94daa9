"""NER11, declared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_opsrunbooks.model import System
from systems.ner11.policy import POLICY
from systems.ner11.settings import Ner11


def _lab() -> Any:
    from systems.ner11.lab import Ner11Lab

    return Ner11Lab()


def _procedures() -> Sequence[Any]:
    from procedures import ner11

    return ner11.collect()


SYSTEM = System(name="ner11", settings=Ner11, policy=POLICY, lab=_lab, procedures=_procedures)
