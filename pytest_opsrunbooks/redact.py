"""The one redaction point: nothing is printed, stored or sent before it went through a `Redactor`.

It hides the secrets that it knows, in every form in which they usually travel, and what looks like a secret
to anybody. Ordinary text stays: the word `password` alone is no secret.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import enum
import html
import json
import re
import types
import urllib.parse
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks import secret_patterns
from pytest_opsrunbooks.secret_patterns import TOKEN

_MAX_PASSES = 6
_MAX_DEPTH = 60
_SHORTEST_ANYWHERE = 4
"""A shorter secret is hidden only where it stands alone: `ab` must not eat the middle of `label`."""


class Secret(str):
    """A configured secret: usable as the text that it is, shown as `***` by `repr`, so also in assertions and
    tracebacks.

    `str.__str__` is left alone, because a driver or a header needs the value; what is printed goes through a
    `Redactor`.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Redactor:
    """Hides secrets in text and in values.

    Idempotent: hiding twice is hiding once. Safe to use from several threads.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._known: _Known | None = None
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Hide this one too from now on. An empty or blank text is no secret."""
        value = str(secret)
        if value.strip() and value not in self._secrets:
            self._secrets.add(value)
            self._known = _compile_known(self._secrets)

    def text(self, text: str) -> str:
        """The text with `[redacted]` in the place of every secret."""
        if type(text) is Secret:
            return TOKEN
        for _ in range(_MAX_PASSES):
            hidden = self._pass(text)
            if hidden == text:
                return hidden
            text = hidden
        return TOKEN  # A secret made of our own replacement text; hiding everything is the safe end.

    def _pass(self, text: str) -> str:
        known = self._known
        if known is not None and ("%" in text or any(form in text for form in known.forms)):
            text = known.pattern.sub(TOKEN, text)
        return secret_patterns.hide(text)

    def tree(self, value: Any) -> Any:
        """The value with every text in it redacted: dicts, lists, tuples, sets, dataclasses and bytes, to the
        bottom.

        A text under a telling key (`{"password": …}`, `{"cookie": …}`) is hidden whole. What needs no change
        is returned as it is, not as a copy.
        """
        return self._tree(value, 0)

    def _tree(self, value: Any, depth: int) -> Any:  # noqa: PLR0911 - one line for each kind of value
        if value is None or isinstance(value, bool | int | float | enum.Enum):
            return value
        if isinstance(value, str):
            hidden = self.text(value)
            return value if hidden == value else hidden
        if isinstance(value, bytes):
            return self._bytes(value)
        if depth >= _MAX_DEPTH:
            return TOKEN
        if isinstance(value, Mapping):
            return self._mapping(value, depth + 1)
        if isinstance(value, list | tuple | set | frozenset):
            return self._items(value, depth + 1)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._dataclass(value, depth + 1)
        return value

    def _bytes(self, value: bytes) -> bytes:
        text = value.decode(errors="surrogateescape")
        hidden = self.text(text)
        return value if hidden == text else hidden.encode(errors="surrogateescape")

    def _items(self, value: Any, depth: int) -> Any:
        items = [self._tree(item, depth) for item in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*items)
        return type(value)(items)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> Mapping[Any, Any]:
        changed = False
        built: dict[Any, Any] = {}
        for key, item in value.items():
            new_key, new_item = self._tree(key, depth), self._under_key(key, item, depth)
            changed = changed or new_key is not key or new_item is not item
            built[new_key] = new_item
        if not changed:
            return value
        return types.MappingProxyType(built) if isinstance(value, types.MappingProxyType) else built

    def _dataclass(self, value: Any, depth: int) -> Any:
        changes: dict[str, Any] = {}
        for field in dataclasses.fields(value):
            old = getattr(value, field.name)
            new = self._under_key(field.name, old, depth)
            if new is not old:
                changes[field.name] = new
        if not changes:
            return value
        # Not dataclasses.replace: it would run a __post_init__ that may refuse a redacted value.
        duplicate = copy.copy(value)
        for name, new in changes.items():
            object.__setattr__(duplicate, name, new)
        return duplicate

    def _under_key(self, key: Any, item: Any, depth: int) -> Any:
        if (
            isinstance(item, str | bytes)
            and item
            and isinstance(key, str)
            and secret_patterns.is_telling(key)
        ):
            return TOKEN if isinstance(item, str) else TOKEN.encode()
        return self._tree(item, depth)


def secrets_in_url(url: str, *, opaque_parts: bool = False) -> tuple[str, ...]:
    """The password in a URL's userinfo, as it is written and decoded; empty when there is none.

    `opaque_parts` adds query values and path segments that look like tokens, for a URL that was kept secret
    as a whole.
    """
    if "://" not in url:
        return ()
    authority, _, rest = url.partition("://")[2].partition("/")
    userinfo = re.split(r"[?#]", authority, maxsplit=1)[0].rpartition("@")[0]
    found = [userinfo.partition(":")[2]]
    if opaque_parts:
        path, _, query = rest.partition("?")
        found += [part for part in path.split("/") if len(part) >= 16 and re.search(r"[0-9]", part)]
        found += [value for pair in query.split("&") if len(value := pair.partition("=")[2]) >= 8]
    return tuple(dict.fromkeys(form for part in found if part for form in (part, urllib.parse.unquote(part))))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Known:
    forms: tuple[str, ...]
    """Looked for first: a plain search is much faster than the pattern, and finds nothing in most texts."""
    pattern: re.Pattern[str]


def _compile_known(secrets: Iterable[str]) -> _Known:
    forms: set[str] = set()
    alone: set[str] = set()
    quoted: list[str] = []
    for secret in secrets:
        if len(secret) < _SHORTEST_ANYWHERE:
            alone.add(secret)
        else:
            forms |= _forms(secret)
            quoted.append(_quoted(secret))
    # Longest first: where one secret begins with another, nothing of the longer one may stay. Our own
    # replacement text comes before all, so that a secret such as `redacted` cannot grow it.
    branches = [re.escape(TOKEN), *(re.escape(form) for form in sorted(forms, key=_longest_first))]
    branches += sorted(quoted, key=_longest_first)
    branches += [rf"(?<!\w){re.escape(form)}(?!\w)" for form in sorted(alone)]
    return _Known(forms=tuple(sorted(forms | alone, key=len)), pattern=re.compile("|".join(branches)))


def _longest_first(text: str) -> tuple[int, str]:
    return (-len(text), text)


def _forms(secret: str) -> set[str]:
    """How a secret may be written: as it is, in JSON, in a Python repr, in HTML, in base64 at any offset."""
    in_json = json.dumps(secret)[1:-1]
    forms = {secret, in_json, json.dumps(in_json)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    forms |= {repr(secret)[1:-1], html.escape(secret), html.escape(secret, quote=False)}
    forms |= {
        line.strip() for line in secret.splitlines() if len(line.strip()) >= 16
    }  # a key, printed indented
    forms |= _base64(secret.encode("utf-8", "surrogatepass"))
    return {form for form in forms if len(form) >= _SHORTEST_ANYWHERE}


def _quoted(secret: str) -> str:
    """A pattern of the secret in a URL: no two encoders agree on which characters they quote, nor on the
    case.
    """

    def one(character: str) -> str:
        if character.isascii() and character.isalnum():
            return character
        codes = "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
        either_case = re.sub("[A-F]", lambda match: f"[{match.group()}{match.group().lower()}]", codes)
        plus = r"|\+" if character == " " else ""
        return f"(?:{re.escape(character)}|{either_case}{plus})"

    return "".join(map(one, secret))


def _base64(raw: bytes) -> set[str]:
    """The part of a base64 text that is the same whatever stands before and after `raw`, for the three
    offsets.
    """
    found: set[str] = set()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw)
        start = (0, 2, 3)[offset]
        stop = (offset + len(raw)) // 3 * 4
        stem = encoded[start:stop].decode()
        if len(stem) >= 6:
            found |= {stem, stem.replace("+", "-").replace("/", "_")}
    return found
