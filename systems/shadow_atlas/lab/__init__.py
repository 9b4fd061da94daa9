"""The lab of Shadow Atlas: a real data directory, its services, and how they are made to misbehave."""

from __future__ import annotations

from systems.shadow_atlas.lab.lab import ShadowAtlasLab

__all__ = ["ShadowAtlasLab"]
