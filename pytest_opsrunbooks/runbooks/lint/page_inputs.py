"""The inputs that a page declares in its front matter: blocks see each as a variable in capitals."""

from __future__ import annotations

import re

from pytest_opsrunbooks.runbooks.lint.documents import Document


def of_document(document: Document) -> frozenset[str]:
    """The names of the variables, such as `SNAPSHOT_ID` for the input `snapshot_id`."""
    if document.kind != "markdown" or not document.markdown.front_matter_end_line:
        return frozenset()
    written = "\n".join(document.lines[1 : document.markdown.front_matter_end_line - 1])
    if "inputs" not in written:
        return frozenset()
    import yaml

    try:
        head = yaml.load(written, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except (yaml.YAMLError, ValueError):
        return frozenset()
    inputs = head.get("inputs") if isinstance(head, dict) else None
    if isinstance(inputs, list):
        return frozenset(str(each.get("name", "")).upper() for each in inputs if isinstance(each, dict))
    return (
        frozenset(re.sub(r"\W", "_", str(name)).upper() for name in inputs)
        if isinstance(inputs, dict)
        else frozenset()
    )
