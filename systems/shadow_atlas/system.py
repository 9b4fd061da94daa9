"""Shadow Atlas, declared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_opsrunbooks.model import System
from systems.shadow_atlas.policy import POLICY
from systems.shadow_atlas.settings import ShadowAtlas


def _lab() -> Any:
    from systems.shadow_atlas.lab import ShadowAtlasLab

    return ShadowAtlasLab()


def _procedures() -> Sequence[Any]:
    from procedures import shadow_atlas

    return shadow_atlas.collect()


SYSTEM = System(name="shadow_atlas", settings=ShadowAtlas, policy=POLICY, lab=_lab, procedures=_procedures)
