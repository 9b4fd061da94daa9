"""The audit record of a run, for people: made from its journal alone, so it can be made again at any time."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover.journal import History
from pytest_opsrunbooks.recover.procedure import Procedure
from pytest_opsrunbooks.redact import Redactor

_WORDS = {
    "begun": "begun",
    "again": "taken up again",
    "done": "done and verified",
    "failed": "FAILED",
    "stopped": "the run stopped at this gate",
    "undoing": "undoing",
    "undone": "undone",
    "undo_failed": "COULD NOT BE UNDONE",
    "said": "",
}


def render(history: History, procedure: Procedure | None, redactor: Redactor) -> str:
    """The whole record as text, redacted."""
    return redactor.text("\n".join(_lines(history, procedure)) + "\n")


def write(history: History, procedure: Procedure | None, redactor: Redactor) -> pathlib.Path:
    """Write the record beside the journal; returns where."""
    path = history.path.with_suffix(".txt")
    atomic.write(path, render(history, procedure, redactor).encode("utf-8", "backslashreplace"), mode=0o600)
    return path


def _lines(history: History, procedure: Procedure | None) -> Iterator[str]:
    head = history.head
    yield f"run        {history.id}"
    yield f"procedure  {history.procedure}{f' - {procedure.summary}' if procedure is not None else ''}"
    yield f"system     {head.get('origin')}"
    yield f"by         {head.get('by') or 'unknown'}"
    yield f"started    {head.get('started_at')}"
    yield f"outcome    {history.outcome or 'cut off'}"
    yield ""
    for name, value in head["values"].items():
        yield f"  {name} = {json.dumps(value, ensure_ascii=False)}"
    yield ""
    for record in history.records[1:]:
        yield _line(record)


def _line(record: Mapping[str, Any]) -> str:
    at, kind = record.get("at", ""), record["type"]
    if kind == "ended":
        reason = f" ({record['reason']})" if record.get("reason") else ""
        return f"{at}  ended: {record['outcome']}{reason}"
    if kind == "continued":
        return f"{at}  {record['how']}, asked for by {record.get('by') or 'unknown'}"
    words = _WORDS.get(kind, kind)
    details = record.get("text") or record.get("error") or record.get("why") or ""
    facts = {**(record.get("facts") or {}), **(record.get("result") or {})}
    if facts:
        details = json.dumps(facts, ensure_ascii=False)
        details = details if len(details) <= 600 else f"{details[:598]}…"
    return f"{at}  {record.get('step')}: {': '.join(part for part in (words, str(details)) if part)}"
