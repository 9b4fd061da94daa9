"""The process that sweeps for drills: it starts pytest once and forks for each sweep.

A drill sweeps five times and more, and most of a sweep's second is spent on importing and assertion
rewriting. This process does that once, in a sweep whose result nobody looks at, and each sweep that is
asked for begins as a copy of it. It is a program of its own, because a copy of a process with threads (the
lab's servers) is not safe to go on with.

It reads one request a line, `{"arguments": [...], "only": ["test_x", ...] | null, "output": FILE}`, and
answers `{"code": 0, "verdicts": {NODE_ID: "passed"}}`. It ends when its input does.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import traceback
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import pytest

_CRASHED = 70


class Chooser:
    """A plugin that keeps the tests that were asked for, by function name with or without parameters, and
    notes every verdict, also of diagnostics.
    """

    def __init__(self, only: Sequence[str] | None) -> None:
        self._only = None if only is None else frozenset(only)
        self.verdicts: dict[str, str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        if self._only is None:
            return
        chosen = [item for item in items if not self._only.isdisjoint(_names(item))]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
        items[:] = chosen

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        carried: Mapping[str, Any] | None = getattr(report, "opsrunbooks", None)
        if carried is None:
            return
        said = str(carried["said"]["verdict"])
        if self.verdicts.get(report.nodeid, "passed") == "passed":
            self.verdicts[report.nodeid] = said


def _names(item: pytest.Item) -> tuple[str, str]:
    return item.name, item.name.partition("[")[0]


def sweep(arguments: Sequence[str], only: Sequence[str] | None) -> tuple[int, Mapping[str, str]]:
    """One sweep in this process."""
    chooser = Chooser(only)
    code = int(pytest.main(list(arguments), plugins=[chooser]))
    return code, chooser.verdicts


def _sweep_in_a_copy(request: Mapping[str, Any]) -> bytes:
    """Fork, sweep there, and return what the copy says; a copy that dies says nothing."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = _CRASHED
        try:
            os.close(reading)
            _redirect(str(request["output"]))
            status, verdicts = sweep(request["arguments"], request["only"])
            with os.fdopen(writing, "wb") as answer:
                answer.write(json.dumps({"code": status, "verdicts": dict(verdicts)}).encode())
            code = 0
        except BaseException:  # noqa: BLE001 -- a copy must never return into the server's loop
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    return said or b'{"code": null, "verdicts": {}}'


def _redirect(path: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def main() -> None:
    """Warm up with the sweep of the first line, say so, and serve."""
    answers = os.fdopen(os.dup(1), "wb")
    first = json.loads(sys.stdin.readline())
    _redirect(str(first["output"]))
    sweep(first["arguments"], first["only"])
    gc.collect()
    gc.freeze()  # so that collecting garbage does not touch, and so copy, every page of memory
    answers.write(b'{"code": 0, "verdicts": {}}\n')
    answers.flush()
    for line in sys.stdin:
        answers.write(_sweep_in_a_copy(json.loads(line)).replace(b"\n", b" ") + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
