"""NER11's services for procedures: how each is started and stopped, and the gate that says that it serves."""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.observe import postgres
from pytest_opsrunbooks.observe import wording
from pytest_opsrunbooks.recover.containers import Engine
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.run import Run
from pytest_opsrunbooks.recover.services import CommandService
from pytest_opsrunbooks.recover.services import ContainerService
from pytest_opsrunbooks.recover.services import Service
from systems.ner11.settings import Ner11

NAMES = ("postgres", "api", "frontend")
"""In the order in which they are started; the reverse is the order of stopping."""
LOOK_SECONDS = 5.0
_POLL_SECONDS = 0.25
_PAGE_TITLE = "NER11 Gold Model"


def service(settings: Ner11, name: str) -> Service:
    """How the service is started and stopped: by the engine, or by commands. Raises Refused for a service that
    neither can reach.
    """
    one = getattr(settings, name)
    if settings.container_host is not None:
        return ContainerService(engine=Engine(settings.container_host), container=one.container)
    if not (one.start and one.stop and one.status):
        missing = [key for key in ("start", "stop", "status") if not getattr(one, key)]
        raise Refused(
            f"nothing says how {name} is started and stopped: set container_host in [systems.ner11], or"
            f" {', '.join(missing)} in [systems.ner11.{name}], each a list of arguments"
        )
    return CommandService(
        name=name,
        start_command=one.start,
        stop_command=one.stop,
        kill_command=one.kill,
        status_command=one.status,
        log_file=one.log_file,
        settings_place=f"systems.ner11.{name}",
    )


def closed(settings: Ner11, name: str) -> str | None:
    """Why the gate of a service is closed; None when it serves. What is not configured has no gate but to run."""
    return {"postgres": _database_closed, "api": _api_closed, "frontend": _frontend_closed}[name](settings)


def wait_until_it_serves(run: Run, name: str) -> None:
    """Raises StepFailed with the reason when the gate is still closed at the end of the step's time."""
    wait_until(run, lambda settings: closed(settings, name), f"{name} runs and does not serve: ")


def wait_until(run: Run, reason_of: Callable[[Ner11], str | None], words: str = "") -> None:
    """Look until there is no reason any more. Raises StepFailed with the last one at the end of the step's time."""
    import time

    while (reason := reason_of(run.settings)) is not None:
        if run.remaining_seconds <= 1.0:
            raise StepFailed(f"{words}{reason}")
        time.sleep(_POLL_SECONDS)


def _database_closed(settings: Ner11) -> str | None:
    if settings.database_url is None:
        return None
    seen = postgres.query(settings.database_url, "SELECT 1", timeout_seconds=LOOK_SECONDS)
    # The server accepts connections. That its database is missing is not its gate, and a restore begins like this.
    return None if seen.error_kind == "no_database" else seen.error


def _api_closed(settings: Ner11) -> str | None:
    if settings.api_url is None:
        return None
    base = settings.api_url.rstrip("/")
    said = _json(f"{base}/health")
    if isinstance(said, str):
        return said
    if said.get("status") != "healthy":
        return f"/health says {said.get('status')!r}"
    if settings.contract == "documented":
        database = _json(f"{base}/api/v1/db/health")
        if isinstance(database, str) or database.get("database") != "connected":
            return f"it does not reach its database: {database}"
    return None


def models_not_loaded(settings: Ner11) -> str | None:
    """What the API says is wrong with its models; None where all are loaded, or no API is configured."""
    if settings.api_url is None:
        return None
    documented = settings.contract == "documented"
    url = f"{settings.api_url.rstrip('/')}{'/api/v1/models/status' if documented else '/health'}"
    said = _json(url)
    if isinstance(said, str):
        return said
    good = (
        {"models_loaded": True}
        if documented
        else {"ner_model_custom": "loaded", "ner_model_fallback": "loaded", "model_checksum": "verified"}
    )
    wrong = [f"{key}: {said.get(key)}" for key, value in good.items() if said.get(key) != value]
    return f"{url} says {', '.join(wrong)}{_errors_of(said)}" if wrong else None


def _errors_of(said: Mapping[str, Any]) -> str:
    errors = said.get("errors")
    return f" ({wording.short(str(errors[0]), 120)})" if isinstance(errors, list) and errors else ""


def _frontend_closed(settings: Ner11) -> str | None:
    if settings.frontend_url is None:
        return None
    status, body = _get(settings.frontend_url)
    if status != 200:
        return body if status == 0 else f"it answers {status}"
    return None if _PAGE_TITLE in body else f"its page does not have the title {_PAGE_TITLE!r}"


def _json(url: str) -> dict[str, Any] | str:
    status, body = _get(url)
    if status != 200:
        return body if status == 0 else f"{url} answers {status}"
    try:
        said = json.loads(body)
    except ValueError:
        return f"{url} does not answer with JSON"
    return said if isinstance(said, dict) else f"{url} answers with a JSON {type(said).__name__}"


def _get(url: str) -> tuple[int, str]:
    """Status and body; status 0 and the reason where there is no answer."""
    import httpx

    try:
        answer = httpx.get(url, timeout=LOOK_SECONDS, trust_env=False)
    except httpx.HTTPError as error:
        return 0, f"{url} does not answer: {type(error).__name__}"
    return answer.status_code, answer.text
