"""What one phase of one test says about its check, and the words of it."""

from __future__ import annotations

import dataclasses
import datetime
import re
from typing import Any

import pytest

from pytest_opsrunbooks.model import Verdict

SUMMARY_CHARACTERS = 400


class CannotJudgeError(Exception):
    """A check could not be judged for a reason that lies in the sweep: a bad requirement, the deadline."""


class DeadlinePassedError(BaseException):
    """Interrupts a check that is still running at the deadline; no `except Exception` in the check swallows
    it.
    """


def phase_verdict(when: str, outcome: str, error: BaseException | None, *, xfailed: bool) -> Verdict:
    """Of `setup`, `call` or `teardown`.

    Only a failed assertion (or `pytest.fail`) in the check itself says that the system is at fault. Anything
    else that goes wrong, a skip and an expected failure included, means that nobody knows.
    """
    if outcome == "passed":
        return Verdict.PASSED
    if outcome == "failed" and when == "call" and not xfailed and _is_judgement(error):
        return Verdict.FAILED
    return Verdict.UNKNOWN


def _is_judgement(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_judgement(inner) for inner in error.exceptions)
    return isinstance(error, (AssertionError, pytest.fail.Exception)) and not isinstance(
        error, CannotJudgeError
    )


def summarise(error: BaseException | None, outcome: str, reason: str | None) -> str:
    """One line for the person on call: the assertion and the values behind it, or why it could not be
    told.
    """
    if outcome == "skipped":
        return _bounded(f"not judged: skipped: {_one_line(reason or _message(error))}")
    if reason is not None:
        said = f": {_one_line(reason)}" if reason else ""
        return _bounded(f"not judged: marked as an expected failure{said}")
    if error is None:
        return ""
    if isinstance(error, BaseExceptionGroup) and error.exceptions:
        return _bounded("; ".join(summarise(inner, outcome, None) for inner in error.exceptions))
    if isinstance(error, (AssertionError, CannotJudgeError, DeadlinePassedError, pytest.fail.Exception)):
        return _bounded(_assertion(_message(error)))
    return _bounded(f"{type(error).__name__}: {_assertion(_message(error))}".rstrip(": "))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _message(error: BaseException | None) -> str:
    text = str(getattr(error, "msg", None) or error or "")
    return text.strip()


def _assertion(message: str) -> str:
    """pytest's explanation of an assertion in one line: the expression, then each `where`."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if not lines:
        return "the assertion gave no reason"
    first, rest = lines[0], lines[1:]
    if not first.startswith("assert "):
        return first  # the check's own words say it better than the expression that follows them
    if (error := re.fullmatch(r"assert (['\"])(.+)\1 is None", first)) is not None:
        return error[2]  # `assert observation.error is None`: the error says it all
    wheres = [line.lstrip("+ ") for line in rest if line.startswith("+")]
    return ", ".join([first, *wheres])


def _bounded(text: str) -> str:
    return text if len(text) <= SUMMARY_CHARACTERS else text[: SUMMARY_CHARACTERS - 1] + "…"


def shown(content: Any) -> str:
    """One value of an observation as a person reads it."""
    if isinstance(content, str):
        return content
    if isinstance(content, datetime.datetime):
        return content.isoformat(sep=" ", timespec="seconds")
    return f"{content:.4g}" if isinstance(content, float) else repr(content)


def evidence_text(value: Any, characters: int = 2000) -> str:
    """An observation in words: its repr, then its fields that say something, bounded."""
    lines = [repr(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            content = getattr(value, field.name)
            if content in (None, "", (), b"") or content == {}:
                continue
            text = shown(content)
            lines.append(f"{field.name}: {text if len(text) <= 300 else text[:299] + '…'}")
    text = "\n".join(lines)
    return text if len(text) <= characters else text[: characters - 1] + "…"
