"""Whether a text of an alert parses as Go's template language, as far as its actions can be read one by one."""

from __future__ import annotations

import re

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_STRING = re.compile(r"\"(?:\\.|[^\"\\])*\"|`[^`]*`|'(?:\\.|[^'\\])*'")
_GIVEN = frozenset(("labels", "value", "externalLabels", "externalURL"))
_WORDS = frozenset(
    [
        "if", "else", "end", "range", "with", "define", "template", "block", "break", "continue", "nil",
        "true", "false", "and", "call", "html", "index", "slice", "js", "len", "not", "or", "print",
        "printf", "println", "urlquery", "eq", "ge", "gt", "le", "lt", "ne", "query", "first", "label",
        "value", "strvalue", "args", "reReplaceAll", "safeHtml", "match", "title", "toUpper", "toLower",
        "graphLink", "tableLink", "sortByLabel", "stripPort", "stripDomain", "humanize", "humanize1024",
        "humanizeDuration", "humanizePercentage", "humanizeTimestamp", "toTime", "toDuration", "now",
        "pathPrefix", "externalURL", "parseDuration", "tmpl", "urlQueryEscape",
    ]
)  # fmt: skip
_OPENS = frozenset(("if", "range", "with", "define", "block"))


def problem(text: str) -> str:
    """What Go would refuse; empty when nothing was found."""
    if "{{" in _ACTION.sub("", text):
        return "{{ is never closed"
    declared = set(_GIVEN)
    depth = 0
    for match in _ACTION.finditer(text):
        if match[1].startswith("/*"):
            continue
        bare = _STRING.sub('""', match[1])
        declared |= set(re.findall(r"\$(\w+)\s*(?:,\s*\$\w+\s*)?:?=", bare)) | set(
            re.findall(r",\s*\$(\w+)\s*:?=", bare)
        )
        if said := _of_action(bare, declared):
            return said
        word = re.match(r"\w+", bare)
        depth += (word is not None and word[0] in _OPENS) - (word is not None and word[0] == "end")
        if depth < 0:
            return "{{ end }} ends nothing"
    return "{{ end }} is missing" if depth else ""


def _of_action(bare: str, declared: set[str]) -> str:
    if not bare:
        return "{{ }} is empty"
    for name in re.findall(r"\$(\w+)", bare):
        if name not in declared:
            return f"the variable ${name} is not defined"
    for name in re.findall(r"(?<![\w.$\"])([A-Za-z_]\w*)(?!\w)", bare):
        if name not in _WORDS:
            return f"there is no function {name}"
    return f"a parenthesis is not closed in {bare}" if bare.count("(") != bare.count(")") else ""
