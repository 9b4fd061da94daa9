"""Rules about HTTP paths: whether the server that is meant serves them."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

from pytest_opsrunbooks import suggest
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.shell import Command
from pytest_opsrunbooks.runbooks.lint.world import Route
from pytest_opsrunbooks.runbooks.lint.world import World

_URL = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\]|\$\{?[A-Za-z_]\w*(?::[-?=][^}]*)?\}?|[\w.-]+)(?::(?P<port>\d+))?(?P<path>/[^\s\"'?#|;&]*)"
)
_LOCAL = re.compile(r"localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\]|\$.*")
_OTHER_PORTS = frozenset(
    [
        "9090",
        "9091",
        "9093",
        "9100",
        "9115",
        "9187",
        "9121",
        "3100",
        "4317",
        "4318",
        "5001",
        "8200",
        "8300",
        "8500",
        "9200",
        "9300",
        "5601",
        "15672",
        "2375",
        "2376",
        "2379",
        "6443",
        "16686",
        "9411",
    ]
)
"""Where Prometheus, Alertmanager, exporters, Loki, IPFS, Consul and their like listen."""
_OTHER_PATHS = re.compile(
    r"/-/|/api/v0/|/ipfs/|/ipns/|/api/v1/(?:query|targets|rules|alerts|labels?|series|status|admin)|/loki/|/v1\.\d+/|/_cluster|/_cat"
)
_METHOD_AND_PATH = re.compile(r"(?P<method>GET|POST|PUT|PATCH|DELETE|HEAD)\s+(?P<path>/[^\s?#`]*)")
_VARIABLE_PART = re.compile(r":\w+|\{[^}]*\}|<[^>]*>|\*+|\[[^\]]*\]")


_CLIENTS = frozenset(("curl", "wget", "http", "https", "xh", "hey", "wrk", "ab"))
_WITH_VALUE = re.compile(
    r"-[a-zA-Z]*[oHdXuFAemTwKxb]|--(?:output|header|data\S*|request|user|form|write-out|max-time|json|connect-timeout|cacert|cert"
    r"|key|resolve|retry\S*|user-agent|cookie|proxy)"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Asked:
    line: int
    method: str
    path: str
    host: str = ""


@rule(
    "monitoring-unserved-path", severity="error", group="monitoring", kinds=("markdown", "shell", "compose", "yaml"),
    needs="--routes FILE", summary="A command or a page asks for an HTTP path that no route serves.",
)  # fmt: skip
def unserved_path(document: Document, world: World) -> Iterable[Finding]:
    """A probe of `/health/ready` where only `/v1/health` exists answers 404 for ever. Judged are requests to this
    machine, to a host in a variable, to hosts that a route is asked of elsewhere in the document, and `GET /path`
    in code marks where it begins like a route. Ports and paths of Prometheus and its like are other programs'.
    """
    if world.routes is None:
        return
    asked = list(_asked(document))
    ours = {each.host for each in asked if each.host and _serves(world.routes, each)}
    for each in asked:
        if each.host and not _LOCAL.fullmatch(each.host) and each.host not in ours:
            continue
        if not each.host and not _is_near(world.routes, each.path):
            continue
        if _serves(world.routes, each):
            continue
        other = [route.method for route in world.routes if _matches(route.path, each.path)]
        if other:
            message, hint = (
                f"{each.path} is not served for {each.method}",
                f"it is for {', '.join(sorted(set(other)))}",
            )
        else:
            message = f"no route serves {each.path}"
            hint = suggest.nearest(each.path, [route.path for route in world.routes], cutoff=0.5)
        yield document.finding(each.line, message, hint or "look at the list of routes")


def _asked(document: Document) -> Iterator[_Asked]:
    for fragment in document.fragments:
        if fragment.is_shell:
            for command in fragment.script.commands:
                if command.program in _CLIENTS:
                    for each in _of_command(command):
                        yield dataclasses.replace(each, line=fragment.file_line(each.line))
    if document.kind == "markdown":
        yield from _of_prose(document)
    elif document.kind in ("compose", "yaml"):
        yield from _of_healthchecks(document)


def _of_prose(document: Document) -> Iterator[_Asked]:
    for prose in document.markdown.prose:
        for span in prose.code_spans:
            match = _METHOD_AND_PATH.fullmatch(span.strip())
            if match is not None and _judgeable(match["path"], ""):
                yield _Asked(line=prose.line, method=match["method"], path=_path(match["path"]))


def _method(texts: Sequence[str]) -> str:
    """The method that a command's words ask for."""
    for option, value in itertools.pairwise(texts):
        if option in ("-X", "--request"):
            return value.upper()
    if any(re.fullmatch(r"-[a-zA-Z]*I[a-zA-Z]*|--head|--spider", text) for text in texts):
        return "HEAD"
    if any(re.match(r"-d$|--data|--json$|-F$|--form|--post-data", text) for text in texts):
        return "POST" if "-G" not in texts and "--get" not in texts else "GET"
    return texts[0] if texts and texts[0] in ("POST", "PUT", "DELETE", "PATCH") else "GET"


def _of_command(command: Command) -> Iterator[_Asked]:
    words = command.effective[1:]
    method = _method([word.text for word in words])
    takes_value = False
    for word in words:
        if takes_value:
            takes_value = False
        elif _WITH_VALUE.fullmatch(word.text):
            takes_value = True
        else:
            match = _URL.match(word.text)
            if match is None or not (match["scheme"] or _LOCAL.fullmatch(match["host"])):
                continue
            if _judgeable(match["path"], match["port"] or ""):
                yield _Asked(line=word.line, method=method, path=_path(match["path"]), host=match["host"])


def _of_healthchecks(document: Document) -> Iterator[_Asked]:
    """`test: curl -f http://localhost:3000/health` of compose, `httpGet: path:` of Kubernetes."""
    for number, line in enumerate(document.lines, start=1):
        if re.search(r"\b(?:curl|wget)\b", line):
            for match in re.finditer(
                r"https?://(?P<host>localhost|127\.0\.0\.1)(?::(?P<port>\d+))?(?P<path>/[^\s\"'?#|\],;]*)",
                line,
            ):
                if _judgeable(match["path"], match["port"] or ""):
                    yield _Asked(line=number, method="GET", path=_path(match["path"]), host=match["host"])
        match_probe = re.match(r"\s*path:\s*[\"']?(?P<path>/[^\s\"'?#]*)", line)
        if match_probe is not None and any(
            "httpGet" in other for other in document.lines[max(0, number - 4) : number]
        ):
            yield _Asked(line=number, method="GET", path=_path(match_probe["path"]))


def _judgeable(path: str, port: str) -> bool:
    return (
        path not in ("/", "")
        and port not in _OTHER_PORTS
        and not _OTHER_PATHS.match(path)
        and not path.startswith("/$")
        and "…" not in path
    )


def _path(path: str) -> str:
    return path.rstrip("/.,)") or "/"


def _serves(routes: Sequence[Route], asked: _Asked) -> bool:
    methods = {asked.method, "*", *(("GET",) if asked.method == "HEAD" else ())}
    return any(
        _matches(route.path, asked.path)
        and (route.method in methods or "<" in asked.method or "$" in asked.method)
        for route in routes
    )


def _is_near(routes: Sequence[Route], path: str) -> bool:
    """Whether a path in words begins like something of ours; else it may be any other server's."""
    return path.split("/")[1] in {part for route in routes for part in route.path.split("/") if part}


def _matches(pattern: str, path: str) -> bool:
    """Whether a path is one of a route's: `:id`, `{id}`, `<id>` and `*` stand for any part, as do `$ID` and
    placeholders in the path.
    """
    wanted, given = pattern.rstrip("/").split("/"), path.split("/")
    if wanted and wanted[-1] in ("*", "**", "*path", "{path:path}"):
        wanted, given = wanted[:-1], given[: len(wanted) - 1] if len(given) >= len(wanted) else given
    if len(wanted) != len(given):
        return False
    return all(
        _VARIABLE_PART.search(each) is not None
        or part == each
        or "$" in part
        or _VARIABLE_PART.fullmatch(part) is not None
        for each, part in zip(wanted, given, strict=True)
    )


RULES = (unserved_path,)
