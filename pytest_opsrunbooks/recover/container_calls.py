"""Asking a container engine to do something, in the synchronous way of a procedure's steps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.observe import container_api
from pytest_opsrunbooks.recover.procedure import StepFailed


class EngineFailed(StepFailed):
    """The engine did not do it. `kind` is one of `no_engine`, `no_container`, `no_network`, `timeout`,
    `not_reached` (it answered well, and the container is not as it should be) and `other`.
    """

    def __init__(self, text: str, kind: str = "not_reached") -> None:
        super().__init__(text)
        self.kind = kind


class Calls:
    """Requests to one engine, a connection each. `timeout_seconds` is how long it may be silent.

    `what` in each names the thing that is asked for, for the messages: `container web`, `network front`.
    """

    def __init__(self, where: container_api.Endpoint, timeout_seconds: float) -> None:
        self._where = where
        self._timeout_seconds = timeout_seconds

    def json(self, method: str, path: str, what: str, params: Mapping[str, str] | None = None) -> Any:
        """The JSON of a good answer. Raises EngineFailed."""
        body = self.call(method, path, what, params)
        try:
            return container_api.parsed(body, what)
        except container_api.EngineError as exc:
            raise EngineFailed(str(exc), exc.kind) from exc

    def call(
        self,
        method: str,
        path: str,
        what: str,
        params: Mapping[str, str] | None = None,
        *,
        json: Any = None,
        extra_seconds: float = 0.0,
    ) -> bytes:
        """The body of a good answer. Raises EngineFailed."""
        taken = bytearray()
        with self.stream(method, path, what, params, json=json, extra_seconds=extra_seconds) as chunks:
            for chunk in chunks:
                taken += chunk
                if len(taken) > container_api.MAX_ANSWER_BYTES:
                    raise EngineFailed(f"{what}: the engine's answer is too long", "other")
        return bytes(taken)

    @contextlib.contextmanager
    def stream(
        self,
        method: str,
        path: str,
        what: str,
        params: Mapping[str, str] | None = None,
        *,
        json: Any = None,
        extra_seconds: float = 0.0,
    ) -> Iterator[Iterator[bytes]]:
        """The pieces of a good answer's body. Raises EngineFailed. 304 is good: it is so already."""
        import httpx

        limit_seconds = self._timeout_seconds + extra_seconds
        self._knock(what)
        try:
            with (
                httpx.Client(
                    transport=self._where.transport(),
                    base_url=self._where.url,
                    headers={"accept-encoding": "identity"},
                    timeout=limit_seconds,
                    trust_env=False,
                ) as client,
                client.stream(method, path, params=params, json=json) as answer,
            ):
                if answer.status_code != 304:
                    self._refuse(answer, what)
                yield answer.iter_raw()
        except (httpx.TimeoutException, TimeoutError) as exc:
            late = container_api.timed_out(self._where, limit_seconds)
            raise EngineFailed(f"{what}: {late}", late.kind) from exc
        except httpx.HTTPError as exc:
            said = container_api.explain(exc, self._where)
            raise EngineFailed(f"{what}: {said}", said.kind) from exc

    def _knock(self, what: str) -> None:
        try:
            self._where.knock(self._timeout_seconds)
        except TimeoutError as exc:
            late = container_api.timed_out(self._where, self._timeout_seconds)
            raise EngineFailed(f"{what}: {late}", late.kind) from exc
        except OSError as exc:
            said = container_api.explain(exc, self._where)
            raise EngineFailed(f"{what}: {said}", said.kind) from exc

    def _refuse(self, answer: Any, what: str) -> None:
        body = b""
        if not answer.is_success:
            for chunk in answer.iter_raw():
                body += chunk
                if len(body) >= container_api.MAX_MESSAGE_BYTES:
                    break
        error = container_api.refusal(answer.status_code, body, what, self._where)
        if error is not None:
            raise EngineFailed(str(error), error.kind)
