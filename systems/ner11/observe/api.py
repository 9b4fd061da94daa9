"""What NER11's API says of itself, by either contract. Its HTTP status is 200 even when it is unhealthy, so that
the body is what counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording
from systems.judging import CannotTell
from systems.judging import number
from systems.judging import shown

if TYPE_CHECKING:
    from pytest_opsrunbooks.observe.http import HttpObservation

STORES = ("neo4j_graph", "semantic_search")
"""What the deployed API keeps its data in, as its `/health` names them."""
MODELS = ("ner_model_custom", "ner_model_fallback")
VERSION_1 = "/api/v1"


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ApiHealth(Observation):
    """What `/health` answered. `error` says why that was no answer of NER11's API."""

    url: str
    http_status: int | None = None
    contract: str = ""
    """`documented` or `deployed`, by the keys of the body; empty where they are of neither."""
    reported: str = ""
    """`healthy`, or whatever else it says."""
    version: str = ""
    parts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Of the deployed contract: each part's state."""

    @property
    def unwell(self) -> tuple[str, ...]:
        """`name: state` of each part that is not as it is in a healthy API."""
        well = {"healthy", "loaded", "verified", "connected", "available", "enabled", "active"}
        return tuple(f"{name}: {state}" for name, state in self.parts.items() if state not in well)

    def metrics(self) -> Mapping[str, float]:
        return {} if self.duration_seconds is None else {"duration_seconds": self.duration_seconds}

    def __repr__(self) -> str:
        if self.error is not None:
            return f"ApiHealth({wording.short(self.error, 150)!r})"
        unwell = f", {', '.join(self.unwell[:4])}" if self.unwell else ""
        contract = self.contract or "no known"
        return f"ApiHealth({self.reported}, {contract} contract{unwell}, {wording.seconds(self.duration_seconds)})"


def understand_health(seen: HttpObservation) -> ApiHealth:
    """Judge by the keys and values of the body, never by a word that occurs somewhere in it."""
    found = ApiHealth(url=seen.url, http_status=seen.status, duration_seconds=seen.duration_seconds)
    body, problem = _object(seen)
    if problem is not None:
        return dataclasses.replace(found, error=problem)
    reported = body.get("status")
    if not isinstance(reported, str) or not reported:
        return dataclasses.replace(found, error=f"its body has no `status`: {shown(seen.body)}")
    if seen.status != 200 and not (seen.status == 503 and reported != "healthy"):
        return dataclasses.replace(
            found, error=f"HTTP {seen.status} with the status {shown(reported, 30)}; expected HTTP 200"
        )
    contract = ""
    if any(model in body for model in MODELS):
        contract = "deployed"
    elif "timestamp" in body or "uptime_seconds" in body:
        contract = "documented"
    states = {k: wording.short(v, 40) for k, v in body.items() if isinstance(v, str) and "version" not in k}
    parts = states if contract == "deployed" else {}
    return dataclasses.replace(
        found,
        contract=contract,
        reported=wording.short(reported, 40),
        version=wording.short(str(body.get("version", "")), 40),
        parts={name: state for name, state in parts.items() if name != "status"},
    )


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ApiDatabase(Observation):
    """Whether the API reaches what it keeps its data in, by its own word."""

    states: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Each store's state; `connected` is the good one."""
    pool_size: float | None = None
    active_connections: float | None = None

    @property
    def not_connected(self) -> tuple[str, ...]:
        """`name: state` of each store that is not connected. Raises CannotTell where it named none."""
        if not self.states:
            raise CannotTell("the API names no store of its data")
        return tuple(f"{name}: {state}" for name, state in self.states.items() if state != "connected")

    def metrics(self) -> Mapping[str, float]:
        known = {"pool_size": self.pool_size, "active_connections": self.active_connections}
        return {name: value for name, value in known.items() if value is not None}

    def __repr__(self) -> str:
        if self.error is not None:
            return f"ApiDatabase({wording.short(self.error, 150)!r})"
        return f"ApiDatabase({', '.join(f'{name} {state}' for name, state in self.states.items())})"


def understand_database(seen: HttpObservation) -> ApiDatabase:
    """The documented `/api/v1/db/health`."""
    body, problem = _object(seen)
    if problem is None and seen.status not in (200, 503):
        problem = f"HTTP {seen.status}, expected 200"
    if problem is None and not isinstance(body.get("database"), str):
        problem = f"its body does not name the state of the `database`: {shown(seen.body)}"
    if problem is not None:
        return ApiDatabase(error=problem, duration_seconds=seen.duration_seconds)
    return ApiDatabase(
        states={"database": wording.short(body["database"], 40)},
        pool_size=number(body.get("pool_size")),
        active_connections=number(body.get("active_connections")),
        duration_seconds=seen.duration_seconds,
    )


def database_of(health: ApiHealth) -> ApiDatabase:
    """The deployed contract: `/health` names the stores."""
    missing = [name for name in STORES if name not in health.parts]
    if missing:
        return ApiDatabase(error=f"/health does not name the state of {', '.join(missing)}")
    return ApiDatabase(states={name: health.parts[name] for name in STORES})


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ApiModels(Observation):
    """Which models the API has loaded, by its own word."""

    loaded: bool | None = None
    available: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    """What it says is wrong, at most ten."""
    load_seconds: float | None = None

    def metrics(self) -> Mapping[str, float]:
        return {} if self.load_seconds is None else {"load_seconds": self.load_seconds}

    def __repr__(self) -> str:
        if self.error is not None:
            return f"ApiModels({wording.short(self.error, 150)!r})"
        wrong = f", {wording.short('; '.join(self.problems), 100)}" if self.problems else ""
        return f"ApiModels(loaded={self.loaded}, {len(self.available)} available{wrong})"


def understand_models(seen: HttpObservation) -> ApiModels:
    """The documented `/api/v1/models/status`."""
    body, problem = _object(seen)
    if problem is None and seen.status not in (200, 503):
        problem = f"HTTP {seen.status}, expected 200"
    loaded, names = body.get("models_loaded"), body.get("available_models")
    if problem is None and not isinstance(loaded, bool):
        problem = f"`models_loaded` is {shown(loaded, 30)}, neither true nor false"
    if problem is None and not isinstance(names, list):
        problem = f"`available_models` is {shown(names, 30)}, no list"
    if problem is not None or not isinstance(names, list):
        return ApiModels(error=problem, duration_seconds=seen.duration_seconds)
    errors = body.get("errors")
    return ApiModels(
        loaded=loaded,
        available=tuple(wording.short(str(name), 60) for name in names[:50]),
        problems=tuple(wording.short(str(text), 120) for text in errors[:10])
        if isinstance(errors, list)
        else (),
        load_seconds=number(body.get("load_time_seconds")),
        duration_seconds=seen.duration_seconds,
    )


def models_of(health: ApiHealth) -> ApiModels:
    """The deployed contract. With only the fallback loaded the API answers, and less well."""
    states = {name: health.parts.get(name, "not named") for name in MODELS}
    problems = [f"{name}: {state}" for name, state in states.items() if state != "loaded"]
    checksum = health.parts.get("model_checksum", "not named")
    if checksum != "verified":
        problems.append(f"model_checksum: {checksum}")
    return ApiModels(
        loaded=not problems,
        available=tuple(name for name, state in states.items() if state == "loaded"),
        problems=tuple(problems),
    )


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ModuleHealth(Observation):
    """What one module of the API answered; `error` says what to look at where it was no good answer."""

    module: str
    http_status: int | None = None
    reported: str = ""

    def metrics(self) -> Mapping[str, float]:
        return {} if self.duration_seconds is None else {"duration_seconds": self.duration_seconds}

    def __repr__(self) -> str:
        if self.error is not None:
            return f"ModuleHealth({self.module}: {wording.short(self.error, 130)!r})"
        return f"ModuleHealth({self.module} {self.reported}, {wording.seconds(self.duration_seconds)})"


_MODULE_STATUSES = {
    404: "is not imported: HTTP 404; see the imports in api/__init__.py",
    500: "fails: HTTP 500; see the API's log",
}


def understand_module(module: str, seen: HttpObservation, timeout_seconds: float) -> ModuleHealth:
    """By the documents' reading: 404 is a module that is not imported, 500 its own failure, silence overload."""
    took = seen.duration_seconds
    found = ModuleHealth(module=module, http_status=seen.status, duration_seconds=took)
    if seen.error is not None:
        silent = seen.status is None and took is not None and took >= 0.95 * timeout_seconds
        told = f"is overloaded: no answer in {wording.bound(timeout_seconds)}" if silent else seen.error
        return dataclasses.replace(found, error=told)
    if seen.status != 200:
        told = _MODULE_STATUSES.get(seen.status or 0, f"answers HTTP {seen.status}, expected 200")
        return dataclasses.replace(found, error=told)
    body, problem = _object(seen)
    if problem is None and not isinstance(body.get("status"), str):
        problem = f"its body has no `status`: {shown(seen.body)}"
    if problem is not None:
        return dataclasses.replace(found, error=problem)
    return dataclasses.replace(found, reported=wording.short(body["status"], 40))


def _object(seen: HttpObservation) -> tuple[Mapping[str, Any], str | None]:
    """The JSON object of an answer, or why there is none."""
    if seen.error is not None:
        return {}, seen.error
    try:
        body = seen.json()
    except ValueError:
        return {}, f"HTTP {seen.status}, and no JSON: it begins {shown(seen.body, 50)}"
    if not isinstance(body, dict):
        return {}, f"HTTP {seen.status} with JSON that is no object: {shown(seen.body, 50)}"
    return body, None


def below(base: str, path: str) -> str:
    """`path` below the configured base, which may end in a slash."""
    return base.rstrip("/") + path


def module_path(contract: str, module: str) -> str:
    """Where a module's health is; of the deployed API few modules have one."""
    return f"{VERSION_1}/{module}/health" if contract == "documented" else f"/api/v2/{module}/health"


def proxied_path(contract: str) -> str:
    """What is asked through the frontend, which hands on only what begins with `/api/`."""
    return f"{VERSION_1}/health" if contract == "documented" else module_path(contract, "economic-impact")


def modules_with_health(contract: str, modules: tuple[str, ...]) -> tuple[str, ...]:
    """Of the deployed modules only `economic-impact` has a health of its own."""
    return tuple(m for m in modules if contract == "documented" or m == "economic-impact")
