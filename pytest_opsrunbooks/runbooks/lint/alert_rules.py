"""Prometheus's rule files as values, with the lines of their parts, and what Prometheus would refuse in them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks import suggest
from pytest_opsrunbooks.runbooks.lint import alert_templates
from pytest_opsrunbooks.runbooks.lint import promql
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.fragments import Fragment

_TEMPLATED = re.compile(r"\{%|\{\{-?\s*(?:include|toYaml|\.Values|\.Release|\.Chart)\b|<%|\[\[")
"""Made into a rule file by another program; what Prometheus sees cannot be known."""
_LOOKS_LIKE_RULES = re.compile(r"^\s*(?:-\s+)?(?:alert|record):", re.MULTILINE)

_GROUP_KEYS = frozenset(("name", "interval", "query_offset", "limit", "labels", "rules"))
_RELATIVES_KEYS = frozenset(
    (
        "partial_response_strategy",
        "source_tenants",
        "evaluation_delay",
        "align_evaluation_time_on_interval",
        "concurrency",
        "type",
        "params",
    )
)
"""Of Thanos, Mimir and VictoriaMetrics, which read the same files."""
_RULE_KEYS = frozenset(("record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"))
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refusal:
    """What Prometheus would refuse. `line` counts from 1 within the text."""

    line: int
    message: str
    suggestion: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlertRule:
    """A rule: an alert, or with `records` a recording."""

    name: str
    records: bool
    expr: str
    line: int
    end_line: int
    expr_line: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    annotation_lines: Mapping[str, int]
    for_seconds: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuleText:
    """The rules of one file or block."""

    fragment: Fragment
    rules: tuple[AlertRule, ...]
    refusals: tuple[Refusal, ...]


def of_document(document: Document) -> tuple[RuleText, ...]:
    """Every rule file in the document: itself, or YAML blocks of a page that hold rules."""
    if document.kind != "rules" and not _LOOKS_LIKE_RULES.search(document.text):
        return ()
    found = []
    for fragment in document.fragments:
        meant = fragment.language == "rules" or (
            fragment.language == "yaml" and _LOOKS_LIKE_RULES.search(fragment.text)
        )
        if meant and not _TEMPLATED.search(fragment.text):
            text = read(fragment)
            if text is not None:
                found.append(text)
    return tuple(found)


def read(fragment: Fragment) -> RuleText | None:
    """The rules of a fragment; None when it is no YAML, or YAML of another kind."""
    import yaml

    try:
        root = yaml.compose(fragment.text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    reader = _Reader()
    if isinstance(root, yaml.SequenceNode):
        reader.rules(root, "")  # an excerpt: rules without their group
    elif isinstance(root, yaml.MappingNode) and "groups" in {str(key.value) for key, _ in root.value}:
        reader.file(root)
    elif isinstance(root, yaml.MappingNode) and {"alert", "record"} & {
        str(key.value) for key, _ in root.value
    }:
        reader.rule(root, "")
    else:
        return None
    return RuleText(fragment=fragment, rules=tuple(reader.found), refusals=tuple(reader.refusals))


class _Reader:
    def __init__(self) -> None:
        self.found: list[AlertRule] = []
        self.refusals: list[Refusal] = []

    def refuse(self, node: Any, message: str, suggestion: str = "") -> None:
        self.refusals.append(Refusal(line=node.start_mark.line + 1, message=message, suggestion=suggestion))

    def mapping(self, node: Any, known: frozenset[str], what: str) -> dict[str, Any]:
        """The members by name. Unknown and repeated keys are refused."""
        found: dict[str, Any] = {}
        if not hasattr(node, "value") or not isinstance(node.value, list) or node.id != "mapping":
            self.refuse(node, f"{what} is no mapping", "expected keys and values")
            return found
        for key, value in node.value:
            name = str(key.value)
            if known and name not in known | _RELATIVES_KEYS:
                hint = suggest.nearest(name, known)
                self.refuse(
                    key,
                    f"{what} has a key {name!r} that Prometheus does not know",
                    hint or f"known: {', '.join(sorted(known))}",
                )
            if name in found:
                self.refuse(key, f"{what} has the key {name!r} twice", "leave one out")
            found[name] = value
        return found

    def file(self, root: Any) -> None:
        top = self.mapping(root, frozenset(("groups",)), "the file")
        groups = top.get("groups")
        if groups is None or groups.id != "sequence":
            if groups is not None and groups.value not in ("", "null", "~"):
                self.refuse(groups, "groups is no list", "begin each group with `- name:`")
            return
        names: set[str] = set()
        for node in groups.value:
            self.group(node, names)

    def group(self, node: Any, names: set[str]) -> None:
        members = self.mapping(node, _GROUP_KEYS, "a group")
        name = str(members["name"].value) if "name" in members else ""
        if not name:
            self.refuse(node, "a group has no name", "add `name:`")
        elif name in names:
            self.refuse(members["name"], f"two groups have the name {name!r}", "rename one")
        names.add(name)
        for key in ("interval", "query_offset"):
            if key in members:
                self.duration(members[key], f"the {key} of group {name}")
        rules = members.get("rules")
        if rules is not None and rules.id == "sequence":
            self.rules(rules, name)
        elif rules is not None and rules.value not in ("", "null", "~"):
            self.refuse(
                rules, f"rules of group {name} is no list", "begin each rule with `- alert:` or `- record:`"
            )

    def rules(self, node: Any, group: str) -> None:
        for each in node.value:
            self.rule(each, group)

    def duration(self, node: Any, what: str) -> float | None:
        seconds = promql.duration_seconds(str(node.value))
        if seconds is None:
            self.refuse(
                node, f"{what} is {node.value!r}, which is no duration", "write it like 5m, 1h30m or 30s"
            )
        return seconds

    def rule(self, node: Any, group: str) -> None:
        members = self.mapping(node, _RULE_KEYS, "a rule")
        if not members:
            return
        record, alert = members.get("record"), members.get("alert")
        named = alert if alert is not None else record
        name = str(named.value) if named is not None else ""
        where = f"{name}" if name else f"a rule of group {group}" if group else "a rule"
        if record is not None and alert is not None:
            self.refuse(node, f"{where} is both a recording and an alert", "leave out record or alert")
        if not name:
            self.refuse(
                node,
                f"{where} has neither record nor alert",
                "add `alert: Name` or `record: level:metric:operation`",
            )
        if record is not None:
            self.recording(members, name)
        expr = members.get("expr")
        if expr is None or expr.id != "scalar" or not str(expr.value).strip():
            self.refuse(node, f"{where} has no expr", "add the expression")
        else:
            self.expression(expr, where)
        for_seconds = self.duration(members["for"], f"`for` of {where}") if "for" in members else None
        if "keep_firing_for" in members:
            self.duration(members["keep_firing_for"], f"keep_firing_for of {where}")
        labels = self.texts(members.get("labels"), where, "label")
        annotations = self.texts(members.get("annotations"), where, "annotation")
        if record is None:
            for text_node in (*labels.values(), *annotations.values()):
                problem = alert_templates.problem(str(text_node.value))
                if problem:
                    self.refuse(
                        text_node,
                        f"a template of {where} does not parse: {problem}",
                        "mend it; values are {{ $labels.NAME }} and {{ $value }}",
                    )
        self.found.append(
            AlertRule(
                name=name,
                records=record is not None,
                expr=str(expr.value) if expr is not None and expr.id == "scalar" else "",
                line=node.start_mark.line + 1,
                end_line=max(node.start_mark.line + 1, node.end_mark.line),
                expr_line=first_line(expr) if expr is not None else node.start_mark.line + 1,
                labels={key: str(value.value) for key, value in labels.items()},
                annotations={key: str(value.value) for key, value in annotations.items()},
                annotation_lines={key: first_line(value) for key, value in annotations.items()},
                for_seconds=for_seconds,
            )
        )

    def recording(self, members: dict[str, Any], name: str) -> None:
        for key in ("for", "keep_firing_for", "annotations"):
            if key in members:
                self.refuse(
                    members[key],
                    f"the recording {name} has {key!r}, which only an alert may have",
                    f"leave out {key}",
                )
        if not _METRIC.fullmatch(name):
            self.refuse(
                members["record"],
                f"the recording's name {name!r} is no name of a metric",
                "use letters, digits, _ and :",
            )

    def expression(self, node: Any, where: str) -> None:
        try:
            promql.parse(str(node.value))
        except promql.NotPromQL as exc:
            self.refusals.append(
                Refusal(
                    line=first_line(node),
                    message=f"the expression of {where} is no PromQL: {exc}",
                    suggestion="mend it",
                )
            )

    def texts(self, node: Any, where: str, what: str) -> dict[str, Any]:
        if node is None or (node.id == "scalar" and node.value in ("", "null", "~")):
            return {}
        found = self.mapping(node, frozenset(), f"{what}s of {where}")
        for name, value in found.items():
            if not _LABEL.fullmatch(name) or name == "__name__":
                self.refuse(
                    value, f"{name!r} cannot be the name of a {what} ({where})", "use letters, digits and _"
                )
            if value.id != "scalar":
                self.refuse(value, f"the {what} {name} of {where} is no text", "write one text")
        return {name: value for name, value in found.items() if value.id == "scalar"}


def first_line(node: Any) -> int:
    """The line that a scalar's text begins on: the one after `|` of a block."""
    line: int = node.start_mark.line + 1
    return line + 1 if getattr(node, "style", None) in ("|", ">") else line


def alerts(documents: tuple[Document, ...]) -> Iterator[tuple[Document, RuleText, AlertRule]]:
    """Every alert in rule files of the run; blocks of pages are excerpts and define none."""
    for document in documents:
        if document.kind == "rules":
            for text in of_document(document):
                for rule in text.rules:
                    if not rule.records and rule.name:
                        yield document, text, rule
