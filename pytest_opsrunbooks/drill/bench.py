"""Where drills take place: one lab that is served for all of them, made whole before and after each."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import pathlib
import shutil
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from pytest_opsrunbooks.drill import toml
from pytest_opsrunbooks.drill.lab import Lab
from pytest_opsrunbooks.drill.sweeping import ForkingSweeper
from pytest_opsrunbooks.drill.sweeping import Seen
from pytest_opsrunbooks.drill.sweeping import Sweeper
from pytest_opsrunbooks.errors import LabError

STEADY_FOR_SECONDS = 60.0
"""So long a sweep that found the lab healthy counts for a drill that begins after it."""

MakeSweeper = Callable[[pathlib.Path], Sweeper]
"""Gets the configuration file of the lab."""


class Bench:
    """A served lab; close it, or use it in `with`."""

    def __init__(
        self, *, system: str, lab: Lab, root: pathlib.Path, folder: pathlib.Path,
        runbooks: Sequence[pathlib.Path], make_sweeper: MakeSweeper | None = None,
    ) -> None:  # fmt: skip
        """`root` is the folder that pytest would take for its rootdir; `folder` is for the lab, and empty."""
        self.system = system
        self.lab = lab
        self.directory = folder / "lab"
        self._root = root
        self.configuration_file = folder / "opsrunbooks.toml"
        self._steady: tuple[float, Seen] | None = None
        self._sweeper: Sweeper | None = None
        self.directory.mkdir(parents=True)
        lab.build(self.directory, _now())
        try:
            settings = lab.serve(self.directory)
            self.configuration = toml.configuration(system, settings, runbooks)
            self.configuration_file.write_text(self.configuration, encoding="utf-8")
            self._sweeper = make_sweeper(self.configuration_file) if make_sweeper else self._forking(folder)
        except BaseException:
            lab.stop()
            raise

    def _forking(self, folder: pathlib.Path) -> Sweeper:
        return ForkingSweeper(root=self._root, configuration=self.configuration_file, folder=folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def sweeper(self) -> Sweeper:
        assert self._sweeper is not None
        return self._sweeper

    def close(self) -> None:
        """Stop everything; the folder stays."""
        if isinstance(self._sweeper, ForkingSweeper):
            self._sweeper.close()
        self.lab.stop()

    def steady(self) -> Seen:
        """What a sweep sees of the whole lab: the one after the last clean-up, or a new one."""
        if self._steady is not None:
            at, seen = self._steady
            self._steady = None  # whoever asks is about to break it
            if time.monotonic() - at < STEADY_FOR_SECONDS:
                return seen
        return self._made_whole()

    def clean_up(self) -> tuple[str, ...]:
        """Make the lab whole again and look at it; what could not be undone. Ctrl-C has to wait."""
        with _undisturbed():
            try:
                seen = self._made_whole()
            except Exception as error:  # noqa: BLE001 -- whatever keeps a lab from being whole is the finding
                return (f"{type(error).__name__}: {error}",)
        troubles = not_well(seen)
        if not troubles:
            self._steady = (time.monotonic(), seen)
        return troubles

    def _made_whole(self) -> Seen:
        self.lab.mend(self.directory, _now())
        self.lab.work(self.directory, _now())
        return self.sweeper.sweep()

    @contextlib.contextmanager
    def workplace(self) -> Iterator[tuple[pathlib.Path, Mapping[str, str], str]]:
        """A scratch folder with what an operator finds there, the environment, and its mark.

        It is below the root, so that commands typed there find the systems that the project declares.
        """
        mark = uuid.uuid4().hex
        folder = self._root / ".opsrunbooks" / "drill" / mark
        folder.mkdir(parents=True)
        configuration = folder / "opsrunbooks.toml"
        try:
            configuration.write_text(self.configuration, encoding="utf-8")
            self.lab.furnish(self.directory, folder)
            yield folder, _environment(folder, configuration), mark
        finally:
            with _undisturbed():
                shutil.rmtree(folder, ignore_errors=True)
                shutil.rmtree(self._journals(configuration), ignore_errors=True)
                with contextlib.suppress(OSError):
                    folder.parent.rmdir()

    def _journals(self, configuration: pathlib.Path) -> pathlib.Path:
        """Where `opsrunbooks run` keeps the journals of the system that a configuration names."""
        mark = hashlib.sha256(os.fsencode(configuration.resolve())).hexdigest()[:8]
        return self._root / ".opsrunbooks" / "runs" / f"{self.system}-{mark}"

    def check_exists(self, check: str, seen: Seen) -> None:
        """Raises LabError where the sweep knows no check of that name."""
        if not seen.find(check):
            from pytest_opsrunbooks.suggest import nearest

            names = sorted({each.name for each in seen.checks.values()})
            raise LabError(
                f"no check {check!r} in a sweep of {self.system}; {nearest(check, names) or 'look: pytest --collect-only'}"
            )


def not_well(seen: Seen) -> tuple[str, ...]:
    """What keeps a sweep from saying that all is well."""
    checks = tuple(
        f"{check.name} {check.verdict}" + (f" ({check.summary})" if check.summary else "")
        for check in seen.not_passed()
    )
    nothing = () if seen.checks else ("no check was judged",)
    return (*checks, *seen.problems, *nothing)


def _environment(folder: pathlib.Path, configuration: pathlib.Path) -> Mapping[str, str]:
    """What an operator's shell has: the project's commands, the configuration, and nothing of this run."""
    unwanted = ("PYTEST_", "OPSRUNBOOKS_", "COV_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    programs = str(pathlib.Path(sys.executable).parent)
    return {
        **kept,
        "PATH": os.pathsep.join([programs, kept.get("PATH", os.defpath)]),
        "HOME": str(folder),
        "OPSRUNBOOKS_CONFIG": str(configuration),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TERM": "dumb",
        "COLUMNS": "100",
    }


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold Ctrl-C back until the end: half a clean-up is worse than a slow one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            signal.raise_signal(signal.SIGINT)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
