"""A container engine of the tests' own (`pytest_opsrunbooks.drill.private_engine`), and a client that makes
containers on it. Where there can be none, or where this machine does not let a container start, the fixture skips
and says why.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from pytest_opsrunbooks.drill import private_engine
from pytest_opsrunbooks.drill.private_engine import IMAGE
from pytest_opsrunbooks.drill.private_engine import START_SECONDS
from pytest_opsrunbooks.drill.private_engine import EngineMissingError

__all__ = ("IMAGE", "SLEEP", "ContainerEngine", "EngineMissingError", "container_engine", "running_engine")

SLEEP = "trap 'exit 0' TERM; echo ready; while :; do /bin/busybox sleep 0.05; done"
"""A shell's words for a service that ends in an orderly way."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContainerEngine:
    """A running engine. `host` is what the container kind takes."""

    folder: pathlib.Path
    client: httpx.Client

    @property
    def host(self) -> str:
        return private_engine.host(self.folder)

    def podman(self, *arguments: str) -> str:
        """A podman command on this engine's storage; its output."""
        return private_engine.podman(self.folder, *arguments)

    def call(self, method: str, path: str, **request: Any) -> Any:
        """Asks the API as the tests' own client; the JSON of a good answer, None where there is none."""
        answer = self.client.request(method, path, **request)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def create(
        self,
        name: str,
        command: str = SLEEP,
        *,
        image: str = IMAGE,
        tty: bool = False,
        health: str | None = None,
        **host: Any,
    ) -> str:
        """A new container that runs `command` in a shell, not yet started; `host` is its `HostConfig`."""
        with contextlib.suppress(AssertionError):
            self.call("DELETE", f"/containers/{name}", params={"force": "1"})
        body: dict[str, Any] = {
            "Image": image,
            "Cmd": ["/bin/sh", "-c", command],
            "Tty": tty,
            "HostConfig": {"NetworkMode": "host", **host},
        }
        if health is not None:
            body["Healthcheck"] = {"Test": ["CMD-SHELL", health], "Retries": 1, "Timeout": 10**9}
        self.call("POST", "/containers/create", params={"name": name}, json=body)
        return name

    def run(self, name: str, command: str = SLEEP, **given: Any) -> str:
        """A new container that has been started."""
        self.create(name, command, **given)
        self.call("POST", f"/containers/{name}/start")
        return name

    def until_ready(self, name: str) -> str:
        """Waits until it has written `ready`: only then does it hear SIGTERM. Returns the name."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            log = self.client.get(f"/containers/{name}/logs", params={"stdout": "1", "stderr": "1"})
            if b"ready" in log.content:
                return name
            time.sleep(0.02)
        raise AssertionError(f"{name} was never ready: {log.content!r}")

    def wait(self, name: str) -> int:
        """Waits until it has ended; its exit code."""
        code: int = self.call("POST", f"/containers/{name}/wait")["StatusCode"]
        return code

    def check_health(self, name: str) -> None:
        """Runs its health check once. The engine's own clock for that is systemd, which is not everywhere."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.podman("healthcheck", "run", name)

    def tag_image(self, tag: str, content: str) -> str:
        """An image of its own with `content` in it; its id. What had the tag loses it."""
        private_engine.write_image(self.folder / "more.tar", content)
        return self.podman("import", str(self.folder / "more.tar"), tag).split()[-1]


@contextlib.contextmanager
def running_engine() -> Iterator[ContainerEngine]:
    """Starts an engine; ends it, and every container and network of it. Raises EngineMissingError."""
    if (reason := private_engine.unavailable()) is not None:
        raise EngineMissingError(reason)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="engine-", dir="/tmp"))
    try:
        private_engine.prepare(folder)
        with _service(folder):
            transport = httpx.HTTPTransport(uds=str(private_engine.socket(folder)))
            with httpx.Client(transport=transport, base_url="http://engine", timeout=30) as client:
                engine = ContainerEngine(folder=folder, client=client)
                _try_one(engine)
                yield engine
    finally:
        private_engine.clear(folder)


@contextlib.contextmanager
def _service(folder: pathlib.Path) -> Iterator[None]:
    log = folder / "service.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            private_engine.service_command(folder),
            env=private_engine.environment(folder),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        ) as service,
    ):
        try:
            private_engine.wait_until_it_listens(folder, log, lambda: service.poll() is None)
            yield
        finally:
            private_engine.remove_all(folder)
            service.terminate()


@pytest.fixture(scope="session")
def container_engine() -> Iterator[ContainerEngine]:
    """One engine for all tests of a process; import the fixture's name to use it."""
    with contextlib.ExitStack() as stack:
        try:
            engine = stack.enter_context(running_engine())
        except EngineMissingError as exc:
            pytest.skip(str(exc))
        yield engine


def _try_one(engine: ContainerEngine) -> None:
    try:
        engine.run("first", "exit 0")
    except AssertionError as exc:
        raise EngineMissingError(f"this machine starts no container: {exc}") from exc
    assert engine.wait("first") == 0, "the first container did not end well: is busybox a static program?"
