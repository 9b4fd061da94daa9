"""Rules about Prometheus: rule files, the metrics and ratios of expressions, alerts and their pages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Iterator

from pytest_opsrunbooks import suggest
from pytest_opsrunbooks.runbooks.lint import alert_rules
from pytest_opsrunbooks.runbooks.lint import promql
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.world import World

KINDS = ("markdown", "rules", "yaml", "shell")
_SYNTHETIC = frozenset(
    [
        "up", "ALERTS", "ALERTS_FOR_STATE", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_series_added",
        "scrape_samples_post_metric_relabeling", "scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes",
    ]
)  # fmt: skip
"""What Prometheus itself makes."""
_SUFFIX = re.compile(r"_(?:bucket|sum|count|total|created|info)$")
_CAMEL = re.compile(r"(?:[A-Z][a-z0-9]+){2,}[A-Z0-9]*|[A-Z]+(?:[A-Z][a-z0-9]+)+|(?:[A-Z][a-z0-9]*){2,}")


@rule(
    "monitoring-rule-file", severity="error", group="monitoring", kinds=("markdown", "rules", "yaml"),
    defers_to=("monitoring-yaml-syntax",), summary="A rule file that Prometheus would refuse.",
)  # fmt: skip
def rule_file(document: Document, world: World) -> Iterable[Finding]:
    """Prometheus loads no rule of a file with one mistake in it: an unknown or repeated key, a rule without
    `expr`, an expression or a template that does not parse, `for` in a recording. Try it with: promtool check
    rules.
    """
    del world
    for text in alert_rules.of_document(document):
        for refusal in text.refusals:
            yield text.fragment.finding(refusal.line, refusal.message, refusal.suggestion)


# -- expressions ---------------------------------------------------------------------------------------------


def _expressions(document: Document) -> Iterator[tuple[Fragment, int, str]]:
    """(fragment, line in it, PromQL) of rules, of `promql` blocks and of queries that commands send."""
    for text in alert_rules.of_document(document):
        for each in text.rules:
            if each.expr:
                yield text.fragment, each.expr_line, each.expr
    for fragment in document.fragments:
        if fragment.language == "promql":
            yield from ((fragment, line, expr) for line, expr in _of_block(fragment.text))
        elif fragment.is_shell:
            for command in fragment.script.commands:
                if command.program in ("curl", "wget", "http", "promtool"):
                    yield from (
                        (fragment, word.line, expr)
                        for word in command.args
                        for expr in _sent(word.text, command.program)
                    )


def _of_block(text: str) -> Iterator[tuple[int, str]]:
    """The expressions of a block: all of it, or one in each paragraph, or in each line."""
    bare = re.sub(r"#[^\n]*", "", text)
    for pattern in (r"\A.*\Z", r"(?:[^\n]*\S[^\n]*\n?)+", r"[^\n]*\S[^\n]*"):
        pieces = [
            (bare.count("\n", 0, match.start()) + 1, match.group())
            for match in re.finditer(pattern, bare, re.DOTALL if "\\A" in pattern else 0)
        ]
        pieces = [
            (line + piece[: len(piece) - len(piece.lstrip())].count("\n"), piece.strip())
            for line, piece in pieces
            if piece.strip()
        ]
        if pieces and all(_parses(piece) for _, piece in pieces):
            yield from pieces
            return


def _sent(word: str, program: str) -> Iterator[str]:
    import urllib.parse

    match = re.search(r"(?:^|[?&])query=(?P<query>.*)", word, re.DOTALL)
    if match is not None:
        query = match["query"]
        if "?" in word[: match.start() + 1] or re.search(r"%[0-9A-Fa-f]{2}", query):
            query = urllib.parse.unquote_plus(re.split(r"&(?=\w+=)", query, maxsplit=1)[0])
        yield query
    elif program == "promtool" and re.search(r"[({\[]", word):
        yield word


def _parses(text: str) -> bool:
    try:
        promql.parse(text)
    except promql.NotPromQL:
        return False
    return True


def _parsed(document: Document) -> Iterator[tuple[Fragment, int, str, object]]:
    for fragment, line, expr in _expressions(document):
        try:
            yield fragment, line, expr, promql.parse(expr)
        except promql.NotPromQL:
            continue


@rule(
    "monitoring-unknown-metric", severity="error", group="monitoring", kinds=KINDS, needs="--prometheus-metrics FILE",
    defers_to=("monitoring-rule-file",), summary="An expression reads a metric that nothing emits.",
)  # fmt: skip
def unknown_metric(document: Document, world: World) -> Iterable[Finding]:
    """The alert then never fires, and nothing says so. Known are the metrics that were given, what the recordings
    of this run make, and what Prometheus makes itself.
    """
    if world.metrics is None:
        return
    emitted = world.metrics | _SYNTHETIC | world.once("monitoring:recorded", lambda: _recorded(world))
    for fragment, line, expr, tree in _parsed(document):
        for name in sorted(promql.metrics(tree)):
            if name in emitted or _SUFFIX.sub("", name) in emitted:
                continue
            at = expr.find(name)
            yield fragment.finding(
                line + max(0, expr.count("\n", 0, max(at, 0))),
                f"nothing emits the metric {name}",
                suggest.nearest(name, emitted) or "look at what the program exports under /metrics",
            )


def _recorded(world: World) -> frozenset[str]:
    return frozenset(
        each.name
        for document in world.documents
        if document.kind == "rules"
        for text in alert_rules.of_document(document)
        for each in text.rules
        if each.records
    )


@rule(
    "monitoring-unaggregated-ratio", severity="warning", group="monitoring", kinds=KINDS, defers_to=("monitoring-rule-file",),
    summary="A ratio divides series that are not aggregated, so it is no share of the whole.",
)  # fmt: skip
def unaggregated_ratio(document: Document, world: World) -> Iterable[Finding]:
    """`rate(x{code=~"5.."}[5m]) / rate(x[5m])` pairs each series with itself: always 1. Aggregate both sides to the
    same labels, `sum by (job) (…) / sum by (job) (…)`, or say with on() or ignoring() how they pair. Gauges of one
    kind and the sum and count of one histogram may be divided as they are.
    """
    del world
    for fragment, line, _, tree in _parsed(document):
        for reason in promql.unaggregated_ratios(tree):
            yield fragment.finding(
                line,
                f"the ratio is not of the whole: {reason}",
                "aggregate both sides: sum by (job) (…) / sum by (job) (…)",
            )


# -- alerts and pages ----------------------------------------------------------------------------------------


@rule(
    "monitoring-alert-without-page", severity="warning", group="monitoring", kinds=("rules",),
    defers_to=("monitoring-rule-file",),
    summary="An alert says nothing of a page: it has no runbook_url, or one that leads to no page.",
)  # fmt: skip
def alert_without_page(document: Document, world: World) -> Iterable[Finding]:
    """Whoever is woken needs the page. Give the annotation `runbook_url`. A page of this run that names the alert
    will do as well. A URL is followed only into the pages of this run.
    """
    pages = [each for each in world.documents if each.kind == "markdown"]
    for text in alert_rules.of_document(document):
        for each in text.rules:
            if each.records or not each.name:
                continue
            key = next(
                (
                    k
                    for k in ("runbook_url", "runbook", "runbookUrl", "runbook_link", "playbook")
                    if each.annotations.get(k)
                ),
                None,
            )
            if key is None:
                if not any(re.search(rf"\b{re.escape(each.name)}\b", page.text) for page in pages):
                    yield text.fragment.finding(
                        each.line, f"the alert {each.name} has no page", "add the annotation runbook_url"
                    )
            elif not _leads_to_page(each.annotations[key], document, pages, world):
                yield text.fragment.finding(
                    each.annotation_lines[key],
                    f"the page of {each.name} does not exist: {each.annotations[key]}",
                    _nearest_page(each.annotations[key], pages),
                )


def _leads_to_page(url: str, document: Document, pages: list[Document], world: World) -> bool:
    bare = re.split(r"[?#]", url.strip(), maxsplit=1)[0]
    if "{{" in url or not bare:
        return True
    if not re.match(r"[a-z]+://", bare):
        roots = (document.path.parent, document.base, world.root)
        return any((root / bare.lstrip("/")).exists() for root in roots) or any(
            page.relative == bare.lstrip("/") for page in pages
        )
    stem = re.sub(r"\.(?:md|html)$", "", bare.rstrip("/").rpartition("/")[2]).lower()
    names = {re.sub(r"\.(?:md|markdown)$", "", page.relative.rpartition("/")[2]).lower() for page in pages}
    if stem in names:
        return True
    # Pages of another repository are not among ours: only a folder that others of ours lie in can be judged.
    folder = bare.rpartition("/")[0]
    return not any(_in_folder(page, folder) for page in pages)


def _in_folder(page: Document, folder: str) -> bool:
    parent = page.path.absolute().parent.name.lower()
    return page.operational and folder.rpartition("/")[2].lower() == parent


def _nearest_page(url: str, pages: list[Document]) -> str:
    stem = re.split(r"[?#]", url, maxsplit=1)[0].rpartition("/")[2]
    return (
        suggest.nearest(stem, [page.relative.rpartition("/")[2] for page in pages])
        or "write the page, or mend the URL"
    )


@rule(
    "monitoring-page-without-alert", severity="warning", group="monitoring", kinds=("markdown",),
    summary="A page is for an alert that no rule file of this run has.",
)  # fmt: skip
def page_without_alert(document: Document, world: World) -> Iterable[Finding]:
    """Only where rule files are linted together with the pages. An alert is what a line that says `Alert:` has in
    code marks, or what stands in a table's column `alert`: rename it, or add the rule.
    """
    known = {each.name for _, _, each in alert_rules.alerts(world.documents)}
    if not known:
        return
    for line, name in _named_alerts(document):
        if name not in known:
            yield document.finding(
                line,
                f"no rule has the alert {name}",
                suggest.nearest(name, known) or "add the rule, or leave the alert out",
            )


def _named_alerts(document: Document) -> Iterator[tuple[int, str]]:
    column: int | None = None
    for number, line in enumerate(document.lines, start=1):
        if line.lstrip().startswith("|"):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            heads = [re.sub(r"\W", "", cell).lower() for cell in cells]
            if column is None:
                column = next(
                    (
                        i
                        for i, head in enumerate(heads)
                        if head in ("alert", "alerts", "alertname", "alertnames")
                    ),
                    -1,
                )
            elif 0 <= column < len(cells):
                yield from ((number, name) for name in _identifiers(cells[column]))
            continue
        column = None
        match = re.match(
            r"\s*(?:[-*>]\s+)*(?:\*\*|__)?(?:alerts?|alert ?names?)(?:\*\*|__)?\s*:(?:\*\*|__)?\s*(?P<rest>.*)",
            line,
            re.IGNORECASE,
        )
        if match is not None:
            yield from ((number, name) for name in _identifiers(match["rest"]))


def _identifiers(text: str) -> list[str]:
    spans = re.findall(r"`([^`]+)`", text)
    return [name for name in spans or [text.strip(" *_.")] if _CAMEL.fullmatch(name)]


RULES = (
    rule_file,
    unknown_metric,
    unaggregated_ratio,
    alert_without_page,
    page_without_alert,
)
