"""`opsrunbooks init`: a working configuration, probe, check and runbook page to start from, for a URL or a
SQLite file.
"""

from __future__ import annotations

import datetime
import json
import keyword
import os
import pathlib
import re
import string
import urllib.parse
from collections.abc import Mapping

from pytest_opsrunbooks import scaffold_templates
from pytest_opsrunbooks import textfile
from pytest_opsrunbooks.config import RESERVED_NAMES
from pytest_opsrunbooks.errors import ScaffoldError

_SQLITE_MAGIC = b"SQLite format 3\0"
_PROBE_NAMES = frozenset({"answer", "contents"})
_LONGEST_NAME = 30


def init(directory: pathlib.Path, target: str, force: bool = False) -> tuple[pathlib.Path, ...]:
    """Write the files below `directory` and return their paths, in the order in which to read them.

    `target` is an http or https URL, or the path of an existing SQLite file. Raises ScaffoldError, and then
    has written nothing, when it is neither, or when a file is there already and `force` is not given.
    """
    files = _files(target)
    paths = {directory / name: text for name, text in files.items()}
    in_the_way = [path for path in paths if os.path.lexists(path)]
    if in_the_way and not force:
        listed = ", ".join(str(path) for path in in_the_way)
        raise ScaffoldError(
            f"already there: {listed}; write elsewhere with --directory, or overwrite with --force"
        )
    try:
        for path, text in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ScaffoldError(f"{exc.filename or directory} cannot be written: {textfile.reason(exc)}") from exc
    return tuple(paths)


def _files(target: str) -> Mapping[str, str]:
    if not target.isprintable():
        raise ScaffoldError(f"the target has characters that cannot be written into a file: {target!r}")
    if "://" in target:
        name, setting, templates = *_for_url(target), scaffold_templates.URL
    else:
        name, setting, templates = *_for_sqlite(pathlib.Path(target)), scaffold_templates.SQLITE
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    values = {"name": name, "setting": setting, "target": target.replace("`", "'"), "today": today}
    return {
        string.Template(path).substitute(values): string.Template(text).substitute(values)
        for path, text in {**scaffold_templates.COMMON, **templates}.items()
    }


def _for_url(url: str) -> tuple[str, str]:
    """The system's name, and its line in the configuration."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, password = parts.hostname, parts.password
    except ValueError as exc:
        raise ScaffoldError(f"{url} is no URL: {exc}") from exc
    if parts.scheme not in {"http", "https"} or not host or any(character.isspace() for character in url):
        raise ScaffoldError(f"{url} is no web address; expected one such as https://shop.example.org/health")
    if password is not None:
        raise ScaffoldError(
            "the URL has a password in it, which does not belong in a file; run this without it, then write "
            'url = { env = "NAME" } in opsrunbooks.toml and keep the whole URL in that environment variable'
        )
    return _name(host.removeprefix("www.")), f"url = {json.dumps(url, ensure_ascii=False)}"


def _for_sqlite(path: pathlib.Path) -> tuple[str, str]:
    try:
        if not path.is_file():
            raise _not_a_file(path)
        with path.open("rb") as file:
            magic = file.read(len(_SQLITE_MAGIC))
    except OSError as exc:
        raise ScaffoldError(f"{path} cannot be read: {textfile.reason(exc)}") from exc
    if magic != _SQLITE_MAGIC:
        raise ScaffoldError(f"{path} is no SQLite database; expected a URL or the path of one")
    absolute = os.path.abspath(path)  # noqa: PTH100 - a symlink may be how the current database is named
    return _name(path.stem), f"database = {{ path = {json.dumps(absolute, ensure_ascii=False)} }}"


def _not_a_file(path: pathlib.Path) -> ScaffoldError:
    found = "is not a regular file" if path.exists() else "does not exist"
    hint = (
        f"; did you mean https://{path}?"
        if re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?(/.*)?", str(path))
        else ""
    )
    return ScaffoldError(f"{path} {found}; expected a URL or the path of a SQLite database{hint}")


def _name(text: str) -> str:
    """A system's name: an argument of probes, so a Python name that nothing else has."""
    name = re.sub("[^a-z0-9]+", "_", text.lower()).strip("_")[:_LONGEST_NAME].strip("_") or "system"
    if name[0].isdigit():
        name = f"host_{name}"
    taken = name in RESERVED_NAMES | _PROBE_NAMES or keyword.iskeyword(name) or keyword.issoftkeyword(name)
    return f"{name}_system" if taken else name
