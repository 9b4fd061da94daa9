"""`suite`: a team's own folder of checks, swept in a process of its own as an operator would."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import hypothesis
import jsonschema
import pytest

from pytest_opsrunbooks.report import jsonfile
from tests import forking
from tests import thorough

# How long an example takes to draw and to try says how busy the machine is, and nothing about what is tested.
hypothesis.settings.register_profile(
    "ours",
    max_examples=thorough.examples(100),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("ours")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "at_night: left out unless OPSRUNBOOKS_THOROUGH=1, as .ci/night sets it"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if thorough.THOROUGH:
        return
    left_out = [item for item in items if item.get_closest_marker("at_night")]
    items[:] = [item for item in items if not item.get_closest_marker("at_night")]
    config.hook.pytest_deselected(items=left_out)


WITHOUT = (*forking.USELESS, "-p", "no:cacheprovider")

MODES = {"without-xdist": ("-p", "no:xdist"), "n0": ("-n0",), "n2": ("-n2",)}
"""The three ways in which pytest runs tests; a sweep says the same in each."""
APART = ("without-xdist", "n2")
"""The two that take different ways through the plugin; `-n0` is tested with the statuses."""

PROCESS_TIMEOUT_SECONDS = 30.0

CONFIGURATION = """
[opsrunbooks]
runbooks = ["runbooks"]

[systems.web]
url = "http://127.0.0.1:1"
"""

PAGE = """
---
id: {id}
title: What to do about {id}
severity: p0
---
# What to do
"""


Process = subprocess.Popen[bytes] | forking.Forked


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ran:
    """A finished run. `result` is what `--ops-json` wrote, already validated; None when nothing was
    written.
    """

    status: int
    output: str
    result: dict[str, Any] | None
    seconds: float

    @property
    def checks(self) -> dict[str, dict[str, Any]]:
        """The result's checks by their name without the file."""
        assert self.result is not None, self.output
        return {check["id"].rpartition("::")[2]: check for check in self.result["checks"]}

    @property
    def verdicts(self) -> dict[str, str]:
        return {name: check["verdict"] for name, check in self.checks.items()}

    def summary(self, name: str) -> str:
        text: str = self.checks[name]["summary"]
        return text

    @property
    def said(self) -> str:
        """The output on one line, for texts that the terminal wraps."""
        return " ".join(self.output.split())


class Suite:
    """A folder with a configuration, a runbook page `web/down`, and whatever a test adds."""

    def __init__(self, root: pathlib.Path, home: pathlib.Path, forks: forking.Server) -> None:
        self.root = root
        self._forks = forks
        self._home = home
        self._output_path = home / "output.txt"
        self.environment: dict[str, str] = {}
        self.configure(CONFIGURATION)
        self.page("web/down")
        self.write("pytest.ini", "[pytest]\ntestpaths = checks\n")

    def write(self, path: str, text: str) -> pathlib.Path:
        """A file below the folder; the text is dedented."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return file

    def configure(self, text: str) -> None:
        self.write("opsrunbooks.toml", text)

    def page(self, identifier: str) -> None:
        self.write(f"runbooks/{identifier}.md", PAGE.format(id=identifier))

    def probes(self, text: str, system: str = "web") -> None:
        """The system's conftest.py; `probe` and `Observation` are imported already."""
        head = "from pytest_opsrunbooks import Observation\nfrom pytest_opsrunbooks import probe\n\n"
        self.write(f"checks/{system}/conftest.py", head + textwrap.dedent(text).lstrip("\n"))

    def checks(self, text: str, name: str = "test_web.py", system: str = "web") -> None:
        """A file of checks; `pytest` is imported, and `p0` to `p3` are severities with the page
        `web/down`.
        """
        severities = "".join(f'p{n} = pytest.mark.p{n}(runbook="web/down")\n' for n in range(4))
        head = f"import pytest\n\n{severities}\n"
        self.write(f"checks/{system}/{name}", head + textwrap.dedent(text).lstrip("\n"))

    def run(self, *arguments: str, timeout: float = PROCESS_TIMEOUT_SECONDS) -> Ran:
        """`pytest` with the arguments."""
        return self._finish(self._fork("pytest", [*WITHOUT, *arguments]), timeout)

    def sweep(self, *arguments: str, timeout: float = PROCESS_TIMEOUT_SECONDS) -> Ran:
        """`opsrunbooks sweep` with the arguments."""
        return self._finish(self._fork("pytest_opsrunbooks.cli", ["sweep", *arguments]), timeout)

    def command(self, *arguments: str) -> Ran:
        """`opsrunbooks` with the arguments and nothing else."""
        return self._finish(
            self._fork("pytest_opsrunbooks.cli", list(arguments), with_json=False), PROCESS_TIMEOUT_SECONDS
        )

    def python(self, code: str) -> Ran:
        """A program of its own in the folder."""
        process = self._spawn([sys.executable, "-c", textwrap.dedent(code)])
        return self._finish(process, PROCESS_TIMEOUT_SECONDS)

    @contextlib.contextmanager
    def running(self, *arguments: str) -> Iterator[Running]:
        """`pytest` that is still running, to be signalled; ended at the end whatever happens."""
        process = self._fork("pytest", [*WITHOUT, *arguments])
        try:
            yield Running(self, process)
        finally:
            self._end(process)

    def _output(self) -> str:
        return self._output_path.read_text(encoding="utf-8", errors="replace")

    def _end(self, process: Process) -> None:
        """End the run and everything that it left behind: they are one process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    @property
    def json_path(self) -> pathlib.Path:
        return self.root / "result.json"

    def _fork(self, module: str, arguments: list[str], *, with_json: bool = True) -> forking.Forked:
        return self._forks.start(
            module,
            [*arguments, *self._report(with_json=with_json)],
            cwd=self.root,
            environment=self._environment(),
            output=self._output_path,
        )

    def start_anew(
        self, module: str, arguments: list[str], *, with_json: bool = True
    ) -> subprocess.Popen[bytes]:
        """`python -m module` from nothing, for tests of the start itself."""
        return self._spawn([sys.executable, "-m", module, *arguments, *self._report(with_json=with_json)])

    def _report(self, *, with_json: bool) -> list[str]:
        self.json_path.unlink(missing_ok=True)
        return ["--ops-json", str(self.json_path)] if with_json else []

    def _environment(self) -> dict[str, str]:
        """Nothing of the environment of these tests may change what the sweep does."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "COLUMNS": "80",
            "PY_COLORS": "0",
            "PYTHONFAULTHANDLER": "1",
            # pytest tidies up in its temporary folder before it ends; in ours there may be a lot to tidy up.
            "PYTEST_DEBUG_TEMPROOT": str(self._home),
            **self.environment,
        }

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        # A file, not a pipe: what a hung probe leaves behind would hold the pipe open.
        with self._output_path.open("wb") as output:
            return subprocess.Popen(
                command,
                cwd=self.root,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _finish(self, process: Process, timeout: float) -> Ran:
        begun = time.monotonic()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            # Each process says where it hangs.
            os.killpg(process.pid, signal.SIGABRT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            pytest.fail(f"the run did not end within {timeout:g} s:\n{self._output()}")
        finally:
            self._end(process)
        output = self._output()
        result = None
        if self.json_path.exists():
            result = json.loads(self.json_path.read_text(encoding="utf-8"))
            _validator().validate(result)
            if process.returncode in (0, 1, 2, 3):
                assert result["exit_code"] == process.returncode, (
                    f"the file and the process disagree:\n{output}"
                )
        return Ran(status=process.returncode, output=output, result=result, seconds=time.monotonic() - begun)


class Running:
    """A run that has not ended yet."""

    def __init__(self, suite: Suite, process: Process) -> None:
        self._suite = suite
        self._process = process

    def signal_when(self, file: str, number: int) -> Ran:
        """Send a signal once the run has made the file, and wait for the end."""
        until = time.monotonic() + PROCESS_TIMEOUT_SECONDS
        while not (self._suite.root / file).exists() and self._process.poll() is None:
            assert time.monotonic() < until, f"{file} was never made"
            time.sleep(0.01)
        self._process.send_signal(number)
        return self._suite._finish(self._process, PROCESS_TIMEOUT_SECONDS)


@functools.cache
def _validator() -> Any:
    schema = jsonfile.schema()
    kind = jsonschema.validators.validator_for(schema)
    return kind(schema, format_checker=kind.FORMAT_CHECKER)


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[forking.Server]:
    """Forks the runs of every `suite` of this process."""
    server = forking.Server(tmp_path_factory.mktemp("forks"))
    yield server
    server.close()


@pytest.fixture
def suite(tmp_path: pathlib.Path, forks: forking.Server) -> Suite:
    """A team's own folder, see `Suite`."""
    for name in ("suite", "home"):
        (tmp_path / name).mkdir()
    return Suite(tmp_path / "suite", tmp_path / "home", forks)


@pytest.fixture(
    params=[
        pytest.param(MODES[name], id=name, marks=[thorough.at_night] if name == "n2" else [])
        for name in APART
    ]
)
def mode(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """pytest's arguments for each way through the plugin."""
    arguments: tuple[str, ...] = request.param
    return arguments


def only(mapping: Mapping[str, Any]) -> Any:
    """The one value of a mapping that has one."""
    (value,) = mapping.values()
    return value
