"""`@probe`: declares a function that reads a system, and makes it a fixture that checks can ask for."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import Protocol
from typing import overload

import pytest


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ProbeDefinition:
    """A declared probe. Two are the same only if they are one object: two folders may each have a probe
    `disk`.
    """

    name: str
    function: Callable[..., Any]
    file: str
    """The file that declares it."""
    arguments: tuple[str, ...]
    """Names that the engine injects."""
    params: Callable[[Any], Sequence[Any]] | None
    needs: tuple[str, ...]
    """Dotted settings (`shadow_atlas.serving_url`) that must not be empty for this probe to make sense."""
    attempts: int
    timeout_seconds: float
    """Bound on one attempt."""
    backoff_seconds: float
    """Pause before the second attempt; it doubles for each further one."""

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.function)


class Observer(Protocol):
    """Who answers for a probe: the engine of this run, or a saved snapshot."""

    def observation(self, definition: ProbeDefinition, param: Any) -> Any:
        """What the probe saw; raises what the probe raised, or `ProbeTimeoutError`."""


observer_key: pytest.StashKey[Observer] = pytest.StashKey()
DEFINITION_ATTRIBUTE = "opsrunbooks_probe"


@overload
def probe(function: Callable[..., Any], /) -> Any: ...


@overload
def probe(
    *,
    params: Callable[[Any], Sequence[Any]] | None = None,
    needs: str | Sequence[str] = (),
    attempts: int = 1,
    timeout: float = 30.0,
    backoff_seconds: float = 0.5,
) -> Callable[[Callable[..., Any]], Any]: ...


def probe(
    function: Callable[..., Any] | None = None,
    /,
    *,
    params: Callable[[Any], Sequence[Any]] | None = None,
    needs: str | Sequence[str] = (),
    attempts: int = 1,
    timeout: float = 30.0,
    backoff_seconds: float = 0.5,
) -> Any:
    """Declare a probe; checks ask for its observation by the function's name, as for any fixture.

    The function reads and never changes anything. It is called once a sweep (once for each value of
    `params`), concurrently with every other probe; a synchronous one in a thread of its own. Its arguments
    are injected by name: a system's settings, `param` (one value of `params`), a prober object (`http`,
    `ipfs`, or one from `pytest_opsrunbooks_probers`), `nightly` (whether the slow checks were asked for), or
    another probe, whose observation is then awaited first (of a probe with `params`: a tuple of all of them).

    It returns an `Observation` (or a plain JSON value). A target that is down is an observation with an
    `error`: it is tried again up to `attempts` times, pausing `backoff_seconds`, then twice that, and so on.
    An exception is tried again likewise; if it remains, every check that asks for the probe is `unknown` and
    shows the traceback.

    Args:
        params: called with the configuration (`config.shadow_atlas.providers`); every check that asks for the probe runs once
            for each value. Nothing there means that those checks are left out and reported as not covered.
        needs: dotted settings that must not be empty, else the same.
        attempts: how often it is tried.
        timeout: seconds for one attempt; a probe that hangs is given up then.
        backoff_seconds: the first pause between attempts.
    """
    if function is not None:
        return probe()(function)
    if attempts < 1 or timeout <= 0 or backoff_seconds < 0:
        raise ValueError(
            "@probe takes attempts of 1 or more, a timeout above 0 and a backoff_seconds of 0 or more"
        )

    def decorate(function: Callable[..., Any]) -> Any:
        definition = ProbeDefinition(
            name=function.__name__,
            function=function,
            file=function.__code__.co_filename,
            arguments=tuple(inspect.signature(function).parameters),
            params=params,
            needs=(needs,) if isinstance(needs, str) else tuple(needs),
            attempts=attempts,
            timeout_seconds=timeout,
            backoff_seconds=backoff_seconds,
        )

        def observe(request: pytest.FixtureRequest) -> Any:
            __tracebackhide__ = True
            return request.config.stash[observer_key].observation(definition, getattr(request, "param", None))

        observe.__name__ = function.__name__
        observe.__doc__ = function.__doc__
        observe.__module__ = function.__module__
        setattr(observe, DEFINITION_ATTRIBUTE, definition)
        fixture = pytest.fixture(scope="session")(observe)
        # On both: pytest hands out the function, a conftest.py holds the fixture.
        setattr(fixture, DEFINITION_ATTRIBUTE, definition)
        return fixture

    return decorate


def definition_of(fixture: Any) -> ProbeDefinition | None:
    """The probe behind a fixture or its function; None for anything else."""
    # Not getattr: modules hold objects such as `pytest.mark` that answer, or fail, for every name.
    found = getattr(fixture, "__dict__", {}).get(DEFINITION_ATTRIBUTE)
    return found if isinstance(found, ProbeDefinition) else None


def param_id(param: Any) -> str:
    """How a value of `params` is called in node ids and snapshots: its `name`, else its text."""
    name = getattr(param, "name", None)
    return name if isinstance(name, str) else str(param)
