"""The pinning service: uploading a file, pinning a CID. What it says is believed only after it was fetched."""

from __future__ import annotations

import functools
import ipaddress
import json
import time
import urllib.parse
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import httpx

from pytest_opsrunbooks.observe import cid as cids
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.run import Run
from systems.shadow_atlas.settings import ShadowAtlas

WAITS_SECONDS = (2.0, 4.0, 8.0, 16.0, 32.0)
"""Before the second to the sixth attempt."""
POLL_SECONDS = 2.0
_REQUEST_SECONDS = 300.0
_PAGE = "runbook: shadow-atlas/ipfs-unavailable"
_MEANINGS = {
    401: f"the token is wrong or has run out ({_PAGE}, path A)",
    402: f"the quota is used ({_PAGE}, path E)",
    403: f"the token lacks the right ({_PAGE}, path A)",
    404: "there is no such address; look at pinning_url and pinning_upload_url",
    413: f"the quota is used, or the file is too large ({_PAGE}, path E)",
}


class _TryAgain(Exception):  # noqa: N818 - it is no error yet
    """The service is not there now; the text says how it shows."""


def need_service(settings: ShadowAtlas, *, upload: bool) -> None:
    """Raises Refused where no pinning service is set, or its token would be sent in clear."""
    if upload and settings.pinning_upload_url is None:
        raise Refused(
            "pinning_upload_url is not set, so nothing can be uploaded; add it to [systems.shadow_atlas]:"
            ' pinning_upload_url = "https://…" and pinning_token = { env = "…" }'
        )
    if settings.pinning_url is None and settings.pinning_upload_url is None:
        raise Refused(
            "no pinning service is set; add pinning_url (the IPFS Pinning Service API) or pinning_upload_url"
            " to [systems.shadow_atlas]"
        )
    for key in ("pinning_url", "pinning_upload_url"):
        url = getattr(settings, key)
        if url is not None and settings.pinning_token and not _private(url):
            raise Refused(f"{key} is {url}: the token would be sent in clear; use https")


def _private(url: str) -> bool:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def upload(run: Run, content: bytes, name: str) -> str:
    """Upload a file and have it pinned; returns the CID that the service gives it. Raises StepFailed."""
    settings: ShadowAtlas = run.settings
    answer = _patiently(
        run,
        lambda: _ask(run, "POST", str(settings.pinning_upload_url), files={"file": (name, content)}),
    )
    text = answer.get("IpfsHash") or answer.get("cid")
    try:
        return str(cids.parse(str(text)))
    except ValueError as error:
        raise StepFailed(
            f"the pinning service answered without a CID: {json.dumps(answer)[:200]} ({error})"
        ) from error


def pin(run: Run, cid: str, name: str) -> None:
    """Have a CID pinned that the network still has, and wait until it is. Raises StepFailed."""
    base = str(run.settings.pinning_url).rstrip("/")
    found = _patiently(run, lambda: _ask(run, "GET", f"{base}/pins?cid={cid}&status=queued,pinning,pinned"))
    status = next((one for one in found.get("results", []) if one.get("status") == "pinned"), None)
    if status is not None:
        run.say(f"{cid} is pinned already")
        return
    body = {"cid": cid, "name": name}
    status = _patiently(run, lambda: _ask(run, "POST", f"{base}/pins", json=body))
    while status.get("status") in {"queued", "pinning"}:
        run.check_time()
        time.sleep(POLL_SECONDS)
        request = urllib.parse.quote(str(status.get("requestid")), safe="")
        status = _patiently(run, functools.partial(_ask, run, "GET", f"{base}/pins/{request}"))
    if status.get("status") != "pinned":
        raise StepFailed(
            f"the pinning service could not find {cid}: it says {str(status.get('status'))[:40]!r}"
        )


def _patiently(run: Run, ask: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Ask again while the service is down, with growing pauses."""
    said = ""
    for wait in (*WAITS_SECONDS, None):
        try:
            return ask()
        except _TryAgain as error:
            said = str(error)
        if wait is None or wait > run.remaining_seconds:
            break
        run.say(f"{said}; trying again in {wait:g} s")
        time.sleep(wait)
    raise StepFailed(f"the pinning service is down: {said} ({_PAGE}, path B)")


def _ask(run: Run, method: str, url: str, **body: Any) -> Mapping[str, Any]:
    """One request; a JSON object comes back. Raises StepFailed, _TryAgain."""
    token = run.settings.pinning_token
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with httpx.Client(timeout=min(_REQUEST_SECONDS, run.remaining_seconds)) as client:
            answer = client.request(method, url, headers=headers, **body)
    except httpx.HTTPError as error:
        raise _TryAgain(f"{type(error).__name__}: {error}") from error
    if answer.status_code == 429 or answer.status_code >= 500:
        raise _TryAgain(f"status {answer.status_code}")
    if not answer.is_success:
        meaning = _MEANINGS.get(answer.status_code, answer.text[:100])
        raise StepFailed(f"the pinning service answered {answer.status_code}: {meaning}")
    try:
        parsed = answer.json()
    except ValueError as error:
        raise StepFailed(f"the pinning service answered no JSON: {answer.text[:100]!r}") from error
    if not isinstance(parsed, dict):
        raise StepFailed(f"the pinning service answered no JSON object: {answer.text[:100]!r}")
    return parsed
