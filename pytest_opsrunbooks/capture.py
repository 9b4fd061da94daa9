"""`opsrunbooks snapshot`: every observation into one file to judge again and one page to read."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_opsrunbooks.judge.verdict import shown
from pytest_opsrunbooks.observe.snapshot import SavedObservation
from pytest_opsrunbooks.stash import sweep_key

if TYPE_CHECKING:
    from pytest_opsrunbooks.sweep import Sweep

_ENTRIES = 60
_FIELD_CHARACTERS = 1000


def default_path() -> pathlib.Path:
    """`opsrunbooks-snapshot-20261120T034500Z.jsonl` in the current folder."""
    return pathlib.Path(f"opsrunbooks-snapshot-{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%SZ}.jsonl")


class Captured:
    """A plugin that writes the files at the end of the run, and says what was captured."""

    def __init__(self) -> None:
        self.files: tuple[pathlib.Path, ...] = ()
        self.captured = 0
        self.failed: tuple[str, ...] = ()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        from pytest_opsrunbooks.finishing import snapshot_of
        from pytest_opsrunbooks.observe import snapshot

        sweep = session.config.stash.get(sweep_key, None)
        if sweep is None or sweep.observed is None:
            return
        path = pathlib.Path(session.config.getoption("ops_observe_only"))
        snapshot.write(path, snapshot.encode(snapshot_of(sweep, sweep.observed), sweep.redactor.tree))
        page = path.with_suffix(".md")
        page.write_text(page_of(sweep, sweep.observed), encoding="utf-8")
        self.files = (path, page)
        good = [saved for saved in sweep.observed if not _problem(saved)]
        self.captured = len(sweep.observed)
        self.failed = tuple(
            f"{_label(saved)}: {sweep.redactor.text(_problem(saved) or '')}"
            for saved in sweep.observed
            if saved not in good
        )


def page_of(sweep: Sweep, observations: tuple[SavedObservation, ...]) -> str:
    """The page as Markdown: one section a probe, what could not be captured first."""
    systems = ", ".join(
        f"{state.name} (lab)" if state.lab else state.name for state in sweep.bindings.states()
    )
    lines = [
        f"# Snapshot of {systems or 'no system'}",
        "",
        f"Taken {sweep.now:%Y-%m-%d %H:%M:%S} UTC, environment {sweep.bindings.environment}. Secrets are hidden.",
        "",
    ]
    failed = [saved for saved in observations if _problem(saved)]
    lines += ["## Could not be captured, or is down", ""]
    lines += [f"- {_label(saved)}: {_problem(saved)}" for saved in failed] or [
        "Nothing: every part answered."
    ]
    for saved in observations:
        if saved.failure is None:
            # Indented, not fenced: text from outside could hold a fence of its own.
            lines += ["", f"## {_label(saved)}", "", *(f"    {line}".rstrip() for line in _told(saved.value))]
    text: str = sweep.redactor.text("\n".join(lines) + "\n")
    return text


def _told(value: Any) -> list[str]:
    """An observation in lines: its repr, then its fields, lists one entry a line."""
    lines = [repr(value)]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return lines
    for field in dataclasses.fields(value):
        content = getattr(value, field.name)
        if content in (None, "", (), b"") or content == {}:
            continue
        if isinstance(content, Mapping):
            entries = [f"{key}: {shown(entry)}" for key, entry in content.items()]
        elif isinstance(content, tuple) and len(content) > 1:
            entries = [shown(entry) for entry in content]
        elif isinstance(content, str) and "\n" in content:
            entries = content.splitlines()
        else:
            lines.append(_bounded(f"{field.name}: {shown(content)}", _FIELD_CHARACTERS))
            continue
        more = len(entries) - _ENTRIES
        lines.append(f"{field.name}:")
        lines += [_bounded(f"  {entry}", _FIELD_CHARACTERS) for entry in entries[:_ENTRIES]]
        lines += [f"  … and {more} more; all are in the .jsonl file"] if more > 0 else []
    return lines


def _bounded(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


def _label(saved: SavedObservation) -> str:
    name = saved.probe.rpartition("::")[2]
    return name if saved.param is None else f"{name}[{saved.param}]"


def _problem(saved: SavedObservation) -> str | None:
    """Why a part is missing or down, in one line; None for one that answered."""
    if saved.failure is not None:
        lines = saved.failure.strip().splitlines()
        return lines[-1] if lines else "failed"
    return getattr(saved.value, "error", None)
