"""What extraction left behind: validation by layer, gaps in the registry, downloads that were given up."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

from pytest_opsrunbooks.model import Observation
from systems.judging import shown
from systems.shadow_atlas.observe.persistence import Queries
from systems.shadow_atlas.observe.persistence import number
from systems.shadow_atlas.observe.persistence import read_rows
from systems.shadow_atlas.observe.persistence import state
from systems.shadow_atlas.observe.persistence import text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """The latest extraction of every state for one layer: how many there are, how many passed validation."""

    name: str
    extracted: int
    passed: int

    @property
    def pass_rate(self) -> float:
        return self.passed / self.extracted


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Extractions(Observation):
    """The present state of what was extracted, and of what could not be."""

    layers: tuple[Layer, ...] = ()
    registry_gaps: tuple[str, ...] = ()
    """`US-NE state_house: layer_not_configured` for each gap that is not resolved."""
    exhausted_downloads: tuple[str, ...] = ()
    """Layer and address of each download of which every attempt failed; never any in the adapter's schema."""

    def __repr__(self) -> str:
        if self.error:
            return f"Extractions(error={shown(self.error, 120)})"
        return (
            f"Extractions({len(self.layers)} layers, {len(self.registry_gaps)} registry gaps, "
            f"{len(self.exhausted_downloads)} downloads exhausted)"
        )

    def layers_below(self, limit: float) -> Mapping[str, float]:
        """The pass rate of each layer that is below `limit`."""
        return {layer.name: round(layer.pass_rate, 4) for layer in self.layers if layer.pass_rate < limit}

    def metrics(self) -> Mapping[str, float]:
        if self.error:
            return {}
        return {
            "registry_gaps_count": float(len(self.registry_gaps)),
            "exhausted_downloads_count": float(len(self.exhausted_downloads)),
        }


def observe(data_dir: pathlib.Path, database: str) -> Extractions:
    """Read the tables beside jobs and snapshots."""
    rows = read_rows(data_dir / database, _QUERIES)
    if rows.error is not None:
        return Extractions(error=rows.error)
    return Extractions(
        layers=tuple(
            Layer(name=text(layer), extracted=number(extracted), passed=number(passed))
            for layer, extracted, passed in rows["layers"]
        ),
        registry_gaps=tuple(
            f"{state(code)} {text(layer)}: {text(reason)}" for code, layer, reason in rows["gaps"]
        ),
        exhausted_downloads=tuple(
            f"{text(layer)} {shown(text(url), 100)[1:-1]}" for layer, url in rows["downloads"]
        ),
    )


# With one MAX() the other columns are those of its row: the latest extraction of each state and layer. The
# two formats of times compare as texts once the `T` is gone and the fraction cut off; of the same second
# either one will do.
_LATEST = "MAX(REPLACE(SUBSTR(completed_at, 1, 19), 'T', ' '))"

_QUERIES: Queries = {
    "schema.sql": {
        "layers": f"""
            SELECT layer_type, COUNT(*), SUM(validation_passed AND NOT EXISTS (
                SELECT 1 FROM validation_results v
                WHERE v.extraction_id = latest.id AND NOT v.passed AND v.archived_at IS NULL))
            FROM (SELECT id, state_code, layer_type, validation_passed, {_LATEST} FROM extractions
                  WHERE archived_at IS NULL GROUP BY state_code, layer_type) AS latest
            GROUP BY layer_type""",
        "gaps": "SELECT DISTINCT state_code, layer_type, reason FROM not_configured"
        " WHERE resolved_at IS NULL AND archived_at IS NULL ORDER BY 1, 2",
        "downloads": "SELECT layer, url FROM failed_downloads"
        " WHERE status = 'exhausted' AND archived_at IS NULL LIMIT 1000",
    },
    "adapter": {
        "layers": f"""
            SELECT layer, COUNT(*), SUM(validation_passed <> 0)
            FROM (SELECT state, layer, validation_passed, {_LATEST} FROM extractions GROUP BY state, layer)
            GROUP BY layer""",
        # Nothing marks a gap as resolved there but that the state and layer have been extracted.
        "gaps": "SELECT DISTINCT n.state, n.layer, n.reason FROM not_configured n WHERE NOT EXISTS ("
        "SELECT 1 FROM extractions e WHERE e.state = n.state AND e.layer = n.layer) ORDER BY 1, 2",
    },
}
