"""Where the extraction gets its boundaries while a provider is down."""

from __future__ import annotations

import asyncio
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from procedures.shadow_atlas.rollback import data_dir
from pytest_opsrunbooks.observe.http import HttpProber
from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from pytest_opsrunbooks.suggest import nearest
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe import providers
from systems.shadow_atlas.observe.providers import ProviderAnswer
from systems.shadow_atlas.settings import Provider
from systems.shadow_atlas.settings import ShadowAtlas

ATTEMPTS = 3
_PAGE = "runbook: shadow-atlas/upstream-failure"


def known(settings: ShadowAtlas) -> Mapping[str, Provider]:
    """Every provider that is set, by name."""
    return {one.name: one for tier in ("national", "state") for one in providers.configured(settings, tier)}


def ask(*asked: Provider, attempts: int = ATTEMPTS) -> tuple[ProviderAnswer, ...]:
    """What each provider answers, with as many attempts as a sweep makes; all at once."""

    async def one(http: HttpProber, provider: Provider) -> ProviderAnswer:
        answer = await providers.ask(http, provider)
        for _ in range(attempts - 1):
            if answer.error is None:
                break
            answer = await providers.ask(http, provider)
        return answer

    async def everyone() -> tuple[ProviderAnswer, ...]:
        http = HttpProber()
        try:
            return tuple(await asyncio.gather(*(one(http, provider) for provider in asked)))
        finally:
            await http.aclose()

    return asyncio.run(everyone())


def _overrides_file(settings: ShadowAtlas) -> pathlib.Path:
    if settings.source_overrides is None:
        raise Refused(
            "source_overrides is not set, so the extraction cannot be told to take another source; add it to"
            f" [systems.shadow_atlas], or change the registry by hand ({_PAGE})"
        )
    if not settings.source_overrides.parent.is_dir():
        raise Refused(f"there is no folder {settings.source_overrides.parent} for source_overrides")
    return settings.source_overrides


def read_overrides(path: pathlib.Path) -> dict[str, Any]:
    """What is overridden now; nothing where there is no file. Raises Refused for another shape."""
    try:
        parsed = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise Refused(f"{path} cannot be read: {error}; correct it, or move it away") from error
    if not isinstance(parsed, dict):
        raise Refused(f"{path} is no JSON object; correct it, or move it away")
    return parsed


def _write(run: Run, entry: Any) -> None:
    """Set or remove the provider's entry, and have the extraction read it."""
    path, name = _overrides_file(run.settings), run.values["provider"]
    overrides = read_overrides(path)
    if overrides.get(name) != entry:
        if entry is None:
            overrides.pop(name, None)
        else:
            overrides[name] = entry
        atomic.write(path, json.dumps(overrides, indent=2).encode(), like=path if path.exists() else None)
    argv = run.settings.commands.sources_changed
    if argv:
        run.command("sources_changed", argv, provider=name)


def _facts(run: Run) -> Values:
    path = _overrides_file(run.settings)
    return {"was": read_overrides(path).get(run.values["provider"]), "existed": path.exists()}


def _turn(run: Run) -> Values:
    _write(run, run.values["entry"])
    run.say(
        f"jobs that ended partial or failed can be resumed now; undo this when {run.values['provider']} is back"
    )
    return {}


def _verify(run: Run) -> None:
    path = _overrides_file(run.settings)
    if read_overrides(path).get(run.values["provider"]) != run.values["entry"]:
        raise StepFailed(f"{path} does not send {run.values['provider']} to {run.values['fallback']}")
    (answer,) = ask(known(run.settings)[run.values["fallback"]])
    if answer.error is not None:
        raise StepFailed(f"{run.values['fallback']} does not answer any more: {answer.error}")


def _undo(run: Run) -> None:
    if "existed" not in run.facts:
        return
    path = _overrides_file(run.settings)
    found = read_overrides(path).get(run.values["provider"])
    if found not in (run.values["entry"], run.facts["was"]):
        raise StepFailed(f"{path} has been changed since for {run.values['provider']}; it is left as it is")
    _write(run, run.facts["was"])
    if not run.facts["existed"] and read_overrides(path) == {}:
        path.unlink(missing_ok=True)


@procedure(
    name="provider_failover",
    system="shadow_atlas",
    summary="Sends the extraction to another source while a provider is down",
    inputs={
        "provider": Input(
            description="the provider that is down, by its name in the settings",
            pattern=r"[A-Za-z0-9._-]{1,100}",
        ),
        "to": Input(
            description="the provider to use instead; without it the first of its fallbacks that answers",
            default=None,
            pattern=r"[A-Za-z0-9._-]{1,100}",
        ),
    },
    steps=(
        Step(
            name="turn",
            summary="Send {provider} to {fallback} ({url}) in {overrides}",
            precondition=_facts,
            action=_turn,
            verify=_verify,
            undo=_undo,
            timeout_seconds=180,
        ),
    ),
    lock=data_dir,
)
def provider_failover(look: Look) -> Values:
    """Refuses while the provider answers, and where nothing has the same boundaries."""
    settings, name = look.settings, look.inputs["provider"]
    path, everyone = _overrides_file(settings), known(look.settings)
    for wanted in filter(None, (name, look.inputs["to"])):
        if wanted not in everyone:
            raise Refused(f"there is no provider {wanted!r}; {nearest(wanted, everyone) or 'none is set'}")
    fallbacks = (look.inputs["to"],) if look.inputs["to"] is not None else everyone[name].fallbacks
    usable = [everyone[one] for one in fallbacks if one in everyone and one != name]
    if not usable:
        raise Refused(f"{name} has no fallback: pause its jobs and wait for it ({_PAGE})")
    first, *others = ask(everyone[name], *usable)
    if first.error is None:
        raise Refused(f"{name} answers; there is nothing to fail over from")
    for provider, answer in zip(usable, others, strict=True):
        if answer.error is None:
            return {
                "overrides": str(path),
                "because": first.error,
                "fallback": provider.name,
                "url": provider.url,
                "entry": {
                    "use": provider.name,
                    "url": provider.url,
                    "since": timestamps.iso(look.now),
                    "because": first.error,
                },
            }
    said = "; ".join(f"{one.name}: {one.error}" for one in others)
    raise Refused(f"{name} is down ({first.error}), and so is what could take its place: {said} ({_PAGE})")
