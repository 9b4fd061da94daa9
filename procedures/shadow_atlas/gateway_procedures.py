"""Which IPFS gateway the service reads from."""

from __future__ import annotations

import pathlib
import re

from procedures.shadow_atlas import ipfs_content
from procedures.shadow_atlas import published
from procedures.shadow_atlas.rollback import data_dir
from pytest_opsrunbooks.observe import exchange
from pytest_opsrunbooks.observe.ipfs import IpfsObservation
from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.shadow_atlas.observe.gateways import FETCH_SECONDS
from systems.shadow_atlas.settings import ShadowAtlas

NAME = "IPFS_GATEWAY"
_LINE = re.compile(rf"^[ \t]*(?:export[ \t]+)?{NAME}=(.*)$", re.MULTILINE)


def current(content: str) -> str | None:
    """The gateway that an environment file names; of several lines the last one counts, as in a shell."""
    found = [match[1].strip().strip("\"'") for match in _LINE.finditer(content)]
    return found[-1] if found else None


def changed(content: str, gateway: str | None) -> str:
    """The file with another gateway, or with none; every other line stays as it is."""
    lines = content.splitlines(keepends=True)
    places = [place for place, line in enumerate(lines) if _LINE.match(line.rstrip("\r\n"))]
    kept = [line for place, line in enumerate(lines) if place not in places]
    if gateway is None:
        return "".join(kept)
    at = places[0] if places else len(kept)
    if at == len(kept) and kept and not kept[-1].endswith("\n"):
        kept[-1] += "\n"
    prefix = "export " if places and "export" in lines[places[0]].partition("=")[0] else ""
    return "".join([*kept[:at], f"{prefix}{NAME}={gateway}\n", *kept[at:]])


def _environment(settings: ShadowAtlas) -> pathlib.Path:
    if settings.environment_file is None:
        raise Refused(
            f"environment_file is not set, so it is not known where the service is told its {NAME}; add it to"
            ' [systems.shadow_atlas]: environment_file = "/etc/shadow-atlas.env"'
        )
    if not settings.environment_file.is_file():
        raise Refused(f"there is no file {settings.environment_file}")
    return settings.environment_file


def _usable(seen: IpfsObservation) -> bool:
    return seen.verified and seen.duration_seconds is not None


def _measured(settings: ShadowAtlas, gateways: list[str], cid: str) -> dict[str, IpfsObservation]:
    seen = published.fetch_from_all(
        gateways,
        cid,
        timeout_seconds=FETCH_SECONDS,
        max_bytes=settings.ipfs_max_bytes,
        grace_seconds=published.GRACE_SECONDS,
    )
    return dict(zip(gateways, seen, strict=True))


def _best(seen: dict[str, IpfsObservation]) -> str:
    """The fastest that serves the snapshot. Raises Refused where none does."""
    good = {gateway: one.duration_seconds or 0.0 for gateway, one in seen.items() if _usable(one)}
    if not good:
        raise Refused(
            f"no gateway serves the snapshot by its hash: {published.words(tuple(seen.values()))}"
            " (runbook: shadow-atlas/ipfs-unavailable)"
        )
    return min(good, key=lambda gateway: good[gateway])


def _set(run: Run, gateway: str | None) -> None:
    """Write the environment file, and have the service read it."""
    path = _environment(run.settings)
    content = path.read_bytes().decode()
    if current(content) != gateway:
        atomic.write(path, changed(content, gateway).encode())
    argv = run.settings.commands.gateway_changed
    if argv:
        run.command("gateway_changed", argv, gateway=gateway or "")
    else:
        run.say(f"commands.gateway_changed is not set: start the service again so that it reads {path}")


def _facts(run: Run) -> Values:
    return {"was": current(_environment(run.settings).read_bytes().decode())}


def _switch(run: Run) -> Values:
    if run.values["already_so"]:
        run.say(f"{run.values['gateway']} serves the snapshot and is in use already; nothing was changed")
        return {}
    _set(run, run.values["gateway"])
    run.say("the sweep goes by ipfs_gateways in opsrunbooks.toml: take out what is broken there as well")
    return {}


def _verify(run: Run) -> None:
    path, gateway = _environment(run.settings), run.values["gateway"]
    if current(path.read_bytes().decode()) != gateway:
        raise StepFailed(f"{path} does not name {gateway}")
    seen = _measured(run.settings, [gateway], run.values["cid"])[gateway]
    if not _usable(seen):
        raise StepFailed(f"{gateway} does not serve {run.values['cid']} any more: {seen.error}")


def _undo(run: Run) -> None:
    if "was" not in run.facts or run.values["already_so"]:
        return
    found = current(_environment(run.settings).read_bytes().decode())
    if found == run.facts["was"] and not run.settings.commands.gateway_changed:
        return
    if found not in {run.values["gateway"], run.facts["was"]}:
        raise StepFailed(f"{NAME} has been changed since, to {found}; it is left as it is")
    _set(run, run.facts["was"])


@procedure(
    name="switch_gateway",
    system="shadow_atlas",
    summary="Has the service read from a gateway that serves the active snapshot by its hash",
    inputs={
        "gateway": Input(
            description="the gateway; without it the fastest of ipfs_gateways that serves the snapshot, and"
            " only where the present one does not",
            default=None,
            pattern=r"https?://[^\s\"'`$\\]+",
        ),
    },
    steps=(
        Step(
            name="switch",
            summary="Set IPFS_GATEWAY from {gateway_before} to {gateway} in {environment}",
            precondition=_facts,
            action=_switch,
            verify=_verify,
            undo=_undo,
            timeout_seconds=120,
        ),
    ),
    lock=data_dir,
)
def switch_gateway(look: Look) -> Values:
    """Measures every gateway by fetching the snapshot; a gateway that is named has to serve it too."""
    settings = look.settings
    path = _environment(settings)
    _, row = ipfs_content.chosen_row(settings, None)
    if not row.cid:
        raise Refused(f"the active snapshot {row.id} has no CID by which gateways could be judged")
    before, wanted = current(path.read_bytes().decode()), look.inputs["gateway"]
    if wanted is not None:
        try:
            exchange.parse_url(wanted)
        except ValueError as error:
            raise Refused(f"gateway cannot be used: {error}") from error
    else:
        ipfs_content.need_gateways(settings)
    asked = [wanted] if wanted is not None else [*settings.ipfs_gateways, *([before] if before else [])]
    seen = _measured(settings, list(dict.fromkeys(asked)), row.cid)
    stays = wanted is None and before is not None and _usable(seen[before])
    gateway = before if stays else _best(seen)
    return {
        "cid": row.cid,
        "environment": str(path),
        "gateway_before": before,
        "gateway": gateway,
        "already_so": gateway == before,
    }
