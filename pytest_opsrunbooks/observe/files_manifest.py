"""Lists of files with their sizes and checksums: what `sha256sum` writes, and JSON manifests. Pure functions
from bytes to entries.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from typing import Any

from pytest_opsrunbooks.observe import wording

_HEX = re.compile(r"[0-9a-fA-F]+")
_SUM = re.compile(r"(?P<sum>[0-9a-fA-F]+) (?P<mode>[ *])(?P<name>.+)", re.DOTALL)
_TAGGED = re.compile(r"(?P<kind>[A-Z0-9-]+) \((?P<name>.+)\) = (?P<sum>[0-9a-fA-F]+)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "\\": "\\"}
_OTHER_SUMS = {32: "MD5", 40: "SHA-1", 56: "SHA-224", 96: "SHA-384", 128: "SHA-512"}
_SIZE_KEYS = ("size_bytes", "size")
_SUM_KEYS = ("sha256", "checksum")
_NAME_KEYS = ("name", "path", "file")


class ManifestError(ValueError):
    """What is wrong with a manifest, and where in it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """One listed file. Not both of `size_bytes` and `sha256` are None."""

    name: str
    """As listed, without a leading `./`."""
    size_bytes: int | None = None
    sha256: str | None = None
    """Lower-case hexadecimal."""


def parse(content: bytes, *, own_name: str = "") -> tuple[ManifestEntry, ...]:
    """The entries of a manifest of either format, in its order.

    `own_name` is the manifest's file name: a file `dump.gz.sha256` that holds nothing but a sum is about
    `dump.gz`. Raises ManifestError.
    """
    if content[:1] in (b"{", b"[") or content.lstrip()[:1] in (b"{", b"["):
        entries = _from_json(content)
    else:
        entries = _from_sums(content.decode("utf-8", "backslashreplace"), own_name)
    return _distinct(entries)


def _distinct(entries: Iterable[ManifestEntry]) -> tuple[ManifestEntry, ...]:
    known: dict[str, ManifestEntry] = {}
    for entry in entries:
        if known.setdefault(entry.name, entry) != entry:
            raise ManifestError(f"lists {wording.short(entry.name, 60)!r} twice, and differently")
    if not known:
        raise ManifestError("lists no file")
    return tuple(known.values())


def _from_sums(text: str, own_name: str) -> list[ManifestEntry]:
    lines = [
        (number, line.removesuffix("\r"))
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip() and not line.startswith("#")
    ]
    stem, dot, suffix = own_name.rpartition(".")
    if len(lines) == 1 and dot and suffix.lower() in ("sha256", "sha256sum"):
        alone = lines[0][1].strip()
        if _HEX.fullmatch(alone):
            return [ManifestEntry(name=stem, sha256=_sum(alone, "line 1"))]
    return [_sum_line(line, f"line {number}") for number, line in lines]


def _sum_line(line: str, where: str) -> ManifestEntry:
    escaped = line.startswith("\\")
    matched = _SUM.fullmatch(line[escaped:]) or _TAGGED.fullmatch(line[escaped:])
    if matched is None:
        raise ManifestError(
            f"{where} is {wording.short(line, 60)!r}, expected a SHA-256, two spaces and a name, as `sha256sum` writes it"
        )
    kind = matched.groupdict().get("kind", "SHA256")
    if kind != "SHA256":
        raise ManifestError(f"{where} has a sum of the kind {kind}, expected SHA256")
    name = _unescaped(matched["name"], where) if escaped else matched["name"]
    return ManifestEntry(name=_plain(name, where), sha256=_sum(matched["sum"], where))


def _sum(text: str, where: str) -> str:
    if len(text) != 64 or not _HEX.fullmatch(text):
        looks = _OTHER_SUMS.get(len(text), f"a text of {len(text)} characters")
        raise ManifestError(f"{where} holds {looks} where a SHA-256 of 64 hexadecimal digits was expected")
    return text.lower()


def _unescaped(name: str, where: str) -> str:
    def replaced(escape: re.Match[str]) -> str:
        if escape[1] not in _ESCAPES:
            raise ManifestError(f"{where} has the escape {escape[0]!r}, expected \\n, \\r or \\\\")
        return _ESCAPES[escape[1]]

    return re.sub(r"\\(.|$)", replaced, name, flags=re.DOTALL)


def _plain(name: str, where: str) -> str:
    plain = name.removeprefix("./")
    if not plain or "\0" in plain:
        raise ManifestError(f"{where} names no file")
    return plain


def _from_json(content: bytes) -> list[ManifestEntry]:
    try:
        value = json.loads(content, object_pairs_hook=_no_key_twice)
    except ManifestError:
        raise
    except (ValueError, RecursionError) as exc:
        raise ManifestError(f"is not JSON: {exc}") from exc
    listing = value["files"] if isinstance(value, dict) and "files" in value else value
    if isinstance(listing, dict):
        return [_json_entry(name, entry, f"entry {name!r}") for name, entry in listing.items()]
    if isinstance(listing, list):
        return [_listed_entry(entry, f"entry {number}") for number, entry in enumerate(listing, start=1)]
    raise ManifestError("holds no files: expected an object or a list below the key 'files'")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ManifestError(f"has the key {wording.short(twice, 60)!r} twice")
    return found


def _listed_entry(entry: Any, where: str) -> ManifestEntry:
    name = _first(entry, _NAME_KEYS) if isinstance(entry, dict) else None
    if not isinstance(name, str):
        raise ManifestError(f"{where} has no name; expected the key 'name'")
    return _json_entry(name, entry, where)


def _json_entry(name: str, entry: Any, where: str) -> ManifestEntry:
    shown = wording.short(where, 80)
    if not isinstance(entry, dict):
        raise ManifestError(f"{shown} is no object; expected the keys 'size' and 'sha256'")
    size, digest = _first(entry, _SIZE_KEYS), _first(entry, _SUM_KEYS)
    if size is None and digest is None:
        raise ManifestError(f"{shown} has neither 'size' nor 'sha256': nothing to compare with")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
        raise ManifestError(
            f"{shown} has the size {wording.short(repr(size), 30)}, expected bytes as a number"
        )
    if digest is not None and not isinstance(digest, str):
        raise ManifestError(f"{shown} has a sha256 that is no text")
    # A lone surrogate is valid in JSON's escapes and can be no name, nor be saved.
    legible = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return ManifestEntry(
        name=_plain(legible, shown),
        size_bytes=size,
        sha256=None if digest is None else _sum(digest.removeprefix("sha256:"), shown),
    )


def _first(entry: dict[str, Any], keys: Iterable[str]) -> Any:
    return next((entry[key] for key in keys if entry.get(key) is not None), None)
