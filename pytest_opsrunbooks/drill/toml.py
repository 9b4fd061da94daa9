"""The table that a lab returns, as a configuration file that a sweep and every command can read."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any


def configuration(
    system: str, settings: Mapping[str, Any], runbooks: Sequence[pathlib.Path], environment: str = "drill"
) -> str:
    """The text of an `opsrunbooks.toml` that knows this system and no other."""
    general = {"environment": environment, "runbooks": [str(folder) for folder in runbooks]}
    return _table("opsrunbooks", general) + "\n" + _table(f"systems.{system}", settings)


def _table(name: str, values: Mapping[str, Any]) -> str:
    lines = [f"{_key(key)} = {_value(value)}" for key, value in values.items() if value is not None]
    return "\n".join([f"[{name}]", *lines, ""])


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(str(k))} = {_value(v)}" for k, v in value.items() if v is not None)
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(each) for each in value)}]"
    if isinstance(value, (str, os.PathLike)):
        return _text(os.fspath(value))
    raise TypeError(f"a lab's settings hold {value!r}, which TOML cannot say")


def _text(value: str) -> str:
    # What JSON writes is a basic string of TOML too, but for DEL, which JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
