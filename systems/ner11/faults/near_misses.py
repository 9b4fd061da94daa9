"""Changes that look like faults and are none."""

from __future__ import annotations

from pytest_opsrunbooks.drill.lab import NearMiss
from systems.ner11.faults import tools

NEAR_MISSES: tuple[NearMiss, ...] = (
    NearMiss(
        name="ten-sessions-idle",
        summary="As many idle sessions as a pool of ten keeps, less what the API has.",
        inject=tools.hold("idle", 7),
    ),
    NearMiss(
        name="a-third-of-the-rows-deleted",
        summary="A clean-up deleted a third of a table's rows, as it does each year.",
        inject=tools.statements("DELETE FROM threat_intelligence WHERE id % 3 = 0"),
    ),
    NearMiss(
        name="memory-84-percent",
        summary="The host uses 84 percent of its memory.",
        inject=tools.host(node_memory_MemAvailable_bytes=16 * 1024**3 * 0.16),
    ),
)
