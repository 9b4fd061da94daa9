"""Which procedure is meant, and where it acts: on the configured system, or on the lab that is kept up."""

from __future__ import annotations

import dataclasses
import getpass
import hashlib
import os
import pathlib
import socket
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_opsrunbooks.recover import journal as journals
from pytest_opsrunbooks.recover.engine import Workplace
from pytest_opsrunbooks.recover.journal import History
from pytest_opsrunbooks.recover.procedure import Procedure
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.redact import Redactor
from pytest_opsrunbooks.suggest import nearest

if TYPE_CHECKING:
    from pytest_opsrunbooks.bindings import Bindings
    from pytest_opsrunbooks.model import Settings

RUNS = "runs"
"""Folder of the journals, in `.opsrunbooks`; in it each system that procedures act on has one of its own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """A system that procedures act on. `where` names it to a person."""

    system: str
    lab: bool
    where: str
    settings: Settings
    workplace: Workplace


def procedures_of(bindings: Bindings) -> Mapping[str, Procedure]:
    """Every procedure of every declared system, by its full name."""
    return {
        procedure.full_name: procedure
        for system in bindings.declared.values()
        if system.procedures is not None
        for procedure in system.procedures()
    }


def find_procedure(
    known: Mapping[str, Procedure], name: str, *, configured: Collection[str] = ()
) -> Procedure:
    """The procedure of that name. The system may be left out where only one has it, or only one of those that have it is
    configured. Raises Refused.
    """
    if name in known:
        return known[name]
    same = [one for one in known.values() if one.name == name]
    here = [one for one in same if one.system in configured] or same
    if len(here) == 1:
        return here[0]
    if len(here) > 1:
        names = ", ".join(one.full_name for one in here)
        raise Refused(f"several systems have a {name}: {names}; say which system")
    said = nearest(name, [*known, *(one.name for one in known.values())]) or "see: opsrunbooks procedures"
    raise Refused(f"there is no procedure {name!r}; {said}")


def place_of(
    root: pathlib.Path, bindings: Bindings, system: str, tell: Callable[[str], None] = lambda _text: None
) -> Place:
    """Where the procedures of a system act. Raises Refused, ConfigurationError."""
    configuration = bindings.configuration
    if configuration is None:
        return _kept_lab(root, bindings, system, tell)
    if system not in configuration.systems:
        raise Refused(
            f"{configuration.path} has no system {system!r}, so it is not known where it is: add"
            f" [systems.{system}]"
        )
    # Two configurations are two systems (a drill's beside the real one), and one is itself from wherever.
    path = str(configuration.path.resolve())
    mark = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return Place(
        system=system,
        lab=False,
        where=f"{system} of {configuration.path}",
        settings=configuration.systems[system].settings,
        workplace=Workplace(
            journals=root / ".opsrunbooks" / RUNS / f"{system}-{mark}",
            settings=configuration.systems[system].settings,
            origin=f"{system} ({path})",
            redactor=Redactor(bindings.secrets()),
            actor=_actor(),
            tell=tell,
        ),
    )


def _kept_lab(root: pathlib.Path, bindings: Bindings, system: str, tell: Callable[[str], None]) -> Place:
    from pytest_opsrunbooks import config
    from pytest_opsrunbooks.drill import kept

    up = kept.find(root, system)
    if up is None:
        raise Refused(
            f"there is no configuration and no lab of {system} is up; name the system to act on with"
            f" --ops-config FILE, or start a lab: opsrunbooks lab up {system}"
        )
    settings = config.bind(bindings.declared[system], up.settings, base=root, lab=True).settings
    return Place(
        system=system,
        lab=True,
        where=f"the lab of {system} in {up.directory}",
        settings=settings,
        workplace=Workplace(
            journals=kept.runs(root, system),
            settings=settings,
            origin=f"lab:{up.identity}",
            actor=_actor(),
            tell=tell,
        ),
    )


def find_run(
    root: pathlib.Path,
    bindings: Bindings,
    known: Mapping[str, Procedure],
    run_id: str,
    *,
    named: Procedure | None = None,
    also_done: bool = False,
) -> History:
    """The run of that id, or `latest`: the latest one that has not come to its end, of the procedure `named`
    where one is; with `also_done` and such a name, else the latest that is done. Raises Refused.
    """
    places = [place_of(root, bindings, system) for system in _bound(root, bindings, known)]
    folders = [place.workplace.journals for place in places]
    if run_id != LATEST:
        for folder in folders:
            if (folder / f"{run_id}.jsonl").is_file():
                return journals.read(journals.find(folder, run_id))
        latest = sorted((path.stem for folder in folders for path in folder.glob("*.jsonl")), reverse=True)
        raise Refused(f"there is no run {run_id!r} here; the latest: {', '.join(latest[:5]) or 'none'}")
    runs = [
        history
        for place in places
        for history in journals.histories(place.workplace.journals)
        if history.head.get("origin") == place.workplace.origin
        and (named is None or history.procedure == named.full_name)
    ]
    waiting = [one for one in runs if one.unfinished or one.outcome == "stopped"]
    done = [one for one in runs if one.outcome == "done"] if also_done and named is not None else []
    if chosen := waiting or done:
        return max(chosen, key=lambda history: history.id)
    whose = "" if named is None else f" of {named.full_name}"
    or_done = ", or is done" if also_done and named is not None else ""
    raise Refused(
        f"there is no run{whose} that was cut off, could not be undone, or waits at a gate{or_done}"
    )


LATEST = "latest"


def _bound(root: pathlib.Path, bindings: Bindings, known: Mapping[str, Procedure]) -> list[str]:
    """The systems with procedures that have a place now."""
    from pytest_opsrunbooks.drill import kept

    systems = list(dict.fromkeys(procedure.system for procedure in known.values()))
    configuration = bindings.configuration
    if configuration is not None:
        return [system for system in systems if system in configuration.systems]
    return [system for system in systems if kept.find(root, system) is not None]


def _actor() -> str:
    """Who runs it, as far as the machine knows."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        user = str(os.getuid())
    behind = os.environ.get("SUDO_USER")
    return f"{user}{f' (by sudo from {behind})' if behind else ''} on {socket.gethostname()}"
