"""The scripts and blocks of a document that are read as shell."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.fragments import Fragment

KINDS = ("markdown", "shell")


def shell_fragments(document: Document) -> Iterator[Fragment]:
    """The document's scripts and blocks that are to be read as shell."""
    return (fragment for fragment in document.fragments if fragment.is_shell and fragment.text.strip())
