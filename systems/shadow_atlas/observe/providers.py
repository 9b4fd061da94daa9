"""Upstream GIS services: whether they answer as a GIS service does, which is more than with status 200."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording
from systems.judging import shown
from systems.shadow_atlas import providers
from systems.shadow_atlas.settings import Provider
from systems.shadow_atlas.settings import ShadowAtlas

if TYPE_CHECKING:
    from pytest_opsrunbooks.observe.http import HttpObservation
    from pytest_opsrunbooks.observe.http import HttpProber

MAX_BODY_BYTES = 2 * 1024 * 1024
"""The description of a large map service has some hundred kilobytes."""


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ProviderAnswer(Observation):
    """One provider's answer. `error` says why it is of no use, whatever its status."""

    name: str
    url: str
    status: int | None = None
    first_byte_seconds: float | None = None

    def __repr__(self) -> str:
        if self.error:
            return f"ProviderAnswer({self.name}: {shown(self.error, 110)})"
        return f"ProviderAnswer({self.name}: {self.status} in {wording.seconds(self.duration_seconds)})"

    def metrics(self) -> Mapping[str, float]:
        return {} if self.duration_seconds is None else {"duration_seconds": self.duration_seconds}


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class StatesOut(Observation):
    """How wide an outage of state portals is."""

    out: tuple[str, ...] = ()
    asked: int = 0

    def __repr__(self) -> str:
        names = f": {', '.join(self.out[:8])}" if self.out else ""
        return f"StatesOut({len(self.out)} of {self.asked}{names}{' …' if len(self.out) > 8 else ''})"

    def metrics(self) -> Mapping[str, float]:
        return {"out_count": float(len(self.out))}


def configured(settings: ShadowAtlas, tier: str) -> tuple[Provider, ...]:
    """The providers of one tier; those of the documents are added where wanted, and never replace one of
    the same name.
    """
    named = {provider.name: provider for provider in settings.providers}
    if settings.documented_providers:
        named = {**{provider.name: provider for provider in providers.documented()}, **named}
    return tuple(provider for provider in named.values() if provider.tier == tier)


async def ask(http: HttpProber, provider: Provider) -> ProviderAnswer:
    """Ask one provider once."""
    return understand(
        provider, await http.get(provider.url, timeout=provider.timeout, max_body_bytes=MAX_BODY_BYTES)
    )


def understand(provider: Provider, seen: HttpObservation) -> ProviderAnswer:
    """Whether the answer is one that extraction could use."""
    return ProviderAnswer(
        name=provider.name,
        url=seen.url,
        status=seen.status,
        first_byte_seconds=seen.first_byte_seconds,
        duration_seconds=seen.duration_seconds,
        error=_problem(provider, seen),
    )


def _problem(provider: Provider, seen: HttpObservation) -> str | None:
    if seen.error is not None:
        return seen.error
    if not seen.ok:
        return f"HTTP {seen.status}"
    # An ArcGIS error is a few lines: what is too long to be read as a whole is a document.
    if not provider.json or (seen.body_truncated and seen.body.lstrip().startswith(("{", "["))):
        return None
    try:
        document = seen.json()
    except ValueError as problem:
        return f"HTTP {seen.status}: {problem}"
    if isinstance(document, dict) and "error" in document and document["error"] is not None:
        return f"HTTP {seen.status} with an error in its body: {shown(document['error'], 90)}"
    return None


def states_out(answers: Iterable[ProviderAnswer]) -> StatesOut:
    """From the answers of every state portal."""
    everyone = tuple(answers)
    return StatesOut(
        out=tuple(answer.name for answer in everyone if answer.error is not None), asked=len(everyone)
    )
