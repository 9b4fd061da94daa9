"""`--ops-json`: the result as JSON, in the schema that ships beside this file (`result.schema.json`)."""

from __future__ import annotations

import datetime
import json
import math
import os
import pathlib
import secrets
import stat
from typing import Any
from typing import overload

from pytest_opsrunbooks.model import CheckResult
from pytest_opsrunbooks.model import GroupResult
from pytest_opsrunbooks.model import PageDiagnosis
from pytest_opsrunbooks.model import PagePath
from pytest_opsrunbooks.model import RunbookLink
from pytest_opsrunbooks.model import SweepResult
from pytest_opsrunbooks.model import finding_order

SCHEMA_VERSION = 1
SCHEMA_PATH = pathlib.Path(__file__).with_name("result.schema.json")


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) that every `to_json` value validates against."""
    loaded: dict[str, Any] = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    return loaded


@overload
def rfc3339(moment: datetime.datetime) -> str: ...
@overload
def rfc3339(moment: None) -> None: ...
@overload
def rfc3339(moment: datetime.datetime | None) -> str | None: ...
def rfc3339(moment: datetime.datetime | None) -> str | None:
    """`2026-11-20T03:45:00Z`; a fraction only where there is one."""
    if moment is None:
        return None
    return moment.astimezone(datetime.UTC).replace(tzinfo=None).isoformat() + "Z"


def to_json(result: SweepResult) -> dict[str, Any]:
    """The result as plain values, checks worst first."""
    return {
        "schema": SCHEMA_VERSION,
        "status": result.status.value,
        "exit_code": result.exit_code,
        "reason": _text(result.reason),
        "environment": _text(result.environment),
        "started_at": rfc3339(result.started_at),
        "duration_seconds": _seconds(result.duration_seconds),
        "replayed_from": _optional_text(result.replayed_from),
        "systems": [{"name": _text(system.name), "lab": system.lab} for system in result.systems],
        "counts": dict(result.counts),
        "checks": [_check(check) for check in sorted(result.checks, key=finding_order)],
        "groups": [_group(group) for group in result.groups],
        "diagnoses": [_diagnosis(diagnosis) for diagnosis in result.diagnoses],
        "not_covered": [_text(text) for text in result.not_covered],
        "problems": [_text(text) for text in result.problems],
        "warnings": [_text(text) for text in result.warnings],
        "incidents": [],
    }


def _check(check: CheckResult) -> dict[str, Any]:
    return {
        "id": _text(check.id),
        "system": _optional_text(check.system),
        "severity": check.severity.value if check.severity else None,
        "severity_name": _text(check.severity_name),
        "verdict": check.verdict.value,
        "summary": _text(check.summary),
        "blocked_by": _optional_text(check.blocked_by),
        "since": rfc3339(check.since),
        "failures_recent": check.failures_recent,
        "sweeps_recent": check.sweeps_recent,
        "duration_seconds": _seconds(check.duration_seconds),
        "runbook": _runbook(check.runbook) if check.runbook else None,
        "respond_by": rfc3339(check.respond_by),
        "observations": [_text(name) for name in check.observations],
    }


def _runbook(link: RunbookLink) -> dict[str, Any]:
    return {
        "id": _text(link.id),
        "url": _text(link.url),
        "path": _optional_text(link.path),
        "title": _text(link.title),
    }


def _diagnosis(diagnosis: PageDiagnosis) -> dict[str, Any]:
    return {
        "runbook": _text(diagnosis.runbook),
        "system": _optional_text(diagnosis.system),
        "file": _text(diagnosis.file) or None,
        "path": _optional_text(diagnosis.path),
        "why": _text(diagnosis.why),
        "paths": [_path(path) for path in diagnosis.paths],
        "questions": [
            {
                "text": _text(question.text),
                "if_yes": _optional_text(question.if_yes),
                "if_no": _optional_text(question.if_no),
            }
            for question in diagnosis.questions
        ],
        "not_told": [{"check": _text(name), "reason": _text(why)} for name, why in diagnosis.not_told],
        "tree": [
            {
                "depth": line.depth,
                "condition": _text(line.condition),
                "outcome": line.outcome or None,
                "reached": line.reached,
                "path": _optional_text(line.letter),
                "note": _text(line.note),
            }
            for line in diagnosis.tree
        ],
    }


def _path(path: PagePath) -> dict[str, Any]:
    return {
        "path": _text(path.letter),
        "title": _text(path.title),
        "url": _text(path.url),
        "steps": [
            {
                "language": _text(step.language),
                "code": _text(step.code),
                "line": step.line,
                "verify": [_text(name) for name in step.verify],
                "undo": _optional_text(step.undo),
                "manual": step.manual,
            }
            for step in path.steps
        ],
        "verify": [_text(name) for name in path.verify],
    }


def _group(group: GroupResult) -> dict[str, Any]:
    return {
        "name": _text(group.name),
        "status": group.status.value,
        "failed": group.failed,
        "total": group.total,
        "critical_at": group.critical_at,
        "degraded_at": group.degraded_at,
    }


def _text(text: str) -> str:
    """Lone surrogates (undecodable bytes of a file name) are no text; strict JSON readers refuse them."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _optional_text(text: str | None) -> str | None:
    return None if text is None else _text(text)


def _seconds(seconds: float) -> float:
    return max(0.0, round(seconds, 6)) if math.isfinite(seconds) else 0.0


def write(result: SweepResult, path: pathlib.Path) -> None:
    """Write the result to `path`, making its parents; a reader sees the old file or the new, never a part.

    A `path` that is a device or a pipe (`/dev/stdout`) is written to, not replaced. Raises OSError.
    """
    # ASCII: a file that is shown with `cat` cannot carry a control or bidi character into a terminal.
    content = (json.dumps(to_json(result), ensure_ascii=True, indent=2, allow_nan=False) + "\n").encode(
        "ascii"
    )
    if _is_stream(path):
        _write_stream(path, content)
        return
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _is_stream(path: pathlib.Path) -> bool:
    if str(path).startswith(("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")):
        return True  # also where the shell has redirected it to a file
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


def _write_stream(path: pathlib.Path, content: bytes) -> None:
    # Without O_NONBLOCK the opening of a named pipe that nobody reads would wait for ever.
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND)
    os.set_blocking(descriptor, True)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - takes over the descriptor
        file.write(content)
