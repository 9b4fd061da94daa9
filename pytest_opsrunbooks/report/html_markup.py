"""Text and links from outside as HTML: whatever comes in, what goes out is text, or a link that runs nothing.

Everything that the HTML report shows passes through `text`, `block` or `link`.
"""

from __future__ import annotations

import html
import os
import pathlib
import urllib.parse

from pytest_opsrunbooks.report.safe_text import visible


def text(value: str) -> str:
    """One line, escaped for element content and for quoted attributes; control characters are shown."""
    return html.escape(visible(value), quote=True)


def block(value: str) -> str:
    """Several lines for a `<pre>`, escaped likewise."""
    return html.escape(visible(value, multiline=True), quote=True)


def safe_href(url: str) -> str | None:
    """`url` when it is http(s) or a relative path; None for all else (`javascript:`, `//host`, `/x`)."""
    if not url or not url.isprintable() or "\\" in url or url != url.strip():
        # Browsers drop control characters and read a backslash as a slash: neither may decide where it leads.
        return None
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return None
    if parts.scheme:
        return url if parts.scheme in {"http", "https"} and parts.netloc else None
    return None if parts.netloc or url.startswith("/") else url


def breakable(value: str) -> str:
    """Like `text`, for names and paths: a narrow screen may break it after `_`, `/` and `::`."""
    escaped = text(value)
    for end in ("_", "/", "::"):
        escaped = escaped.replace(end, f"{end}<wbr>")
    return escaped


def link(url: str, words: str, *, css_class: str = "") -> str:
    """`words` as a link to `url`; as plain text where `url` is none that may be followed."""
    href = safe_href(url)
    attribute = f' class="{text(css_class)}"' if css_class else ""
    if href is None:
        return f"<span{attribute}>{text(words)}</span>"
    return f'<a{attribute} href="{text(href)}" rel="noopener noreferrer">{text(words)}</a>'


def rebase(url: str, *, root: pathlib.Path, folder: pathlib.Path) -> str:
    """A path of a page, relative to `root` or absolute, as a path relative to `folder`, where the report is.

    Other URLs, and paths of files that do not exist, come back unchanged.
    """
    path, mark, anchor = url.partition("#")
    if not path or "\0" in path or "://" in path:
        return url
    target = root / path
    try:
        if not target.is_file():
            return url
        relative = os.path.relpath(target, folder)
    except (OSError, ValueError):
        return url
    return urllib.parse.quote(pathlib.PurePath(relative).as_posix()) + mark + anchor
