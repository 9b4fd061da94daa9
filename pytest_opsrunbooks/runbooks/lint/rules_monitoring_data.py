"""Rules about YAML, JSON and jq: whether they can be read at all."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable
from collections.abc import Iterator

from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import CannotTell
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.shell import Command
from pytest_opsrunbooks.runbooks.lint.shell import Word
from pytest_opsrunbooks.runbooks.lint.world import World

_TEMPLATED = re.compile(r"\{\{|\{%|<%|\$\{[^}]*\}|\[\[")
_LEFT_OUT = re.compile(r"\.\.\.|…|^\s*(?://|/\*|#)|\s//\s|<[A-Za-z][\w .:|/-]*>", re.MULTILINE)
"""What stands in an excerpt of JSON for something else, and comments."""
_GROUPS = re.compile(r"^groups\s*:", re.MULTILINE)
"""What is named .rules may be of udev, polkit or a firewall."""
_TEST_DATA = frozenset(
    ("test", "tests", "testdata", "fixtures", "fixture", "__tests__", "__fixtures__", "testing")
)


def _is_test_data(document: Document) -> bool:
    """Whether it lies among the data of tests, where files are broken on purpose."""
    return bool(set(document.relative.lower().split("/")[:-1]) & _TEST_DATA)


@rule(
    "monitoring-yaml-syntax", severity="error", group="monitoring", kinds=("markdown", "yaml", "rules", "compose"),
    summary="YAML does not parse.",
)  # fmt: skip
def yaml_syntax(document: Document, world: World) -> Iterable[Finding]:
    """Files, and fenced blocks that say `yaml`. What a template engine makes YAML of is left alone. A tab never
    indents; a text with `: ` or ` #` in it needs quotes.
    """
    del world
    if _is_test_data(document):
        return
    for fragment in document.fragments:
        if fragment.language in ("yaml", "compose") or (
            fragment.language == "rules" and _GROUPS.search(fragment.text)
        ):
            yield from _yaml_problems(fragment)


def _yaml_problems(fragment: Fragment) -> Iterator[Finding]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        for _ in yaml.parse(fragment.text, Loader=loader):
            pass
    except yaml.YAMLError as exc:
        if _TEMPLATED.search(fragment.text) or (fragment.origin == "fence" and "…" in fragment.text):
            return
        mark = getattr(exc, "problem_mark", None)
        what = getattr(exc, "problem", None) or str(exc).split("\n", maxsplit=1)[0]
        line = min(mark.line + 1, fragment.text.rstrip("\n").count("\n") + 1) if mark is not None else 1
        if (
            "\t"
            in fragment.lines[line - 1][
                : len(fragment.lines[line - 1]) - len(fragment.lines[line - 1].lstrip())
            ]
        ):
            what = "a tab indents the line"
        yield fragment.finding(
            line,
            f"this YAML does not parse: {what}",
            "mend it: indent with blanks, quote texts with `: ` or ` #`",
        )


@rule(
    "monitoring-json-syntax", severity="error", group="monitoring", kinds=("markdown", "json", "shell"),
    summary="JSON does not parse.",
)  # fmt: skip
def json_syntax(document: Document, world: World) -> Iterable[Finding]:
    """Files, fenced blocks that say `json`, and bodies that a command sends. Excerpts with `...`, placeholders or
    comments are left alone, one document a line is right. JSON has no comma after the last member and no single
    quotes.
    """
    del world
    if _is_test_data(document):
        return
    for fragment in document.fragments:
        if fragment.language == "json":
            yield from _json_problem(fragment, fragment.text, 1)
        elif fragment.is_shell:
            for command in fragment.script.commands:
                for word in _bodies(command):
                    yield from _json_problem(fragment, word.text, word.line)


def _bodies(command: Command) -> Iterator[Word]:
    """What curl sends, where it is written down and meant as JSON."""
    if command.program != "curl":
        return
    words = command.effective
    says_json = any(
        "json" in word.text.lower() for word in words if ":" in word.text or word.text == "--json"
    )
    for option, word in itertools.pairwise(words):
        if (
            option.text in ("-d", "--data", "--data-raw", "--data-binary", "--json")
            and word.value is not None
            and re.match(r"\s*[{\[]", word.text)
            and says_json
        ):
            yield word


def _json_problem(fragment: Fragment, text: str, first_line: int) -> Iterator[Finding]:
    stripped = text.lstrip("\ufeff")
    if not stripped.strip():
        return
    try:
        json.loads(stripped)
    except RecursionError:
        return
    except ValueError as exc:
        if _TEMPLATED.search(stripped) or (fragment.origin != "file" and _LEFT_OUT.search(stripped)):
            return
        if _is_stream(stripped) or _is_excerpt(fragment, stripped) or _has_comments(stripped):
            return
        line = exc.lineno if isinstance(exc, json.JSONDecodeError) else 1
        what = exc.msg[0].lower() + exc.msg[1:] if isinstance(exc, json.JSONDecodeError) else str(exc)
        yield fragment.finding(
            first_line + line - 1,
            f"this JSON does not parse: {what}",
            "mend it; try it with: python3 -m json.tool",
        )


def _is_stream(text: str) -> bool:
    """Whether it is several documents one after the other."""
    decoder = json.JSONDecoder()
    at = 0
    while at < len(text):
        try:
            _, at = decoder.raw_decode(text, at)
        except ValueError:
            return False
        at += len(text[at:]) - len(text[at:].lstrip())
    return True


def _is_excerpt(fragment: Fragment, text: str) -> bool:
    """Whether it is members of an object without the object."""
    if fragment.origin == "file":
        return False
    for whole in (f"{{{text.rstrip().rstrip(',')}}}", f"[{text.rstrip().rstrip(',')}]"):
        try:
            json.loads(whole)
        except ValueError:
            continue
        return True
    if not fragment.document.operational and re.match(r"\s*[{\[]\s*[A-Za-z_]\w*\s*:", text):
        return True  # a value of JavaScript, which such pages call JSON
    return not re.match(r"\s*[\[{\"]", text)  # the head of an answer, or its text


def _has_comments(text: str) -> bool:
    return bool(re.search(r"^\s*//|/\*.*?\*/", text, re.MULTILINE | re.DOTALL))


# -- jq ------------------------------------------------------------------------------------------------------

_WITH_TWO_VALUES = frozenset(("--arg", "--argjson", "--slurpfile", "--rawfile"))
_WITH_VALUE = frozenset(("--indent", "-L", "--library-path"))


@rule(
    "monitoring-jq-syntax", severity="error", group="monitoring", kinds=("markdown", "shell", "jq"), defers_to=("shell-syntax",),
    summary="A jq program does not compile.",
)  # fmt: skip
def jq_syntax(document: Document, world: World) -> Iterable[Finding]:
    """Judged by jq's own compiler, which runs nothing: programs in commands, in `jq` blocks and in .jq files.
    Variables that the command gives with --arg are known.
    """
    del world
    for fragment in document.fragments:
        if fragment.language == "jq":
            problem = _jq_problem(fragment.text, {})
            if problem is not None:
                yield fragment.finding(
                    problem[0], f"jq cannot compile this: {problem[1]}", "mend it; try it with: jq -n"
                )
        elif fragment.is_shell:
            for command in fragment.script.commands:
                if command.program == "jq":
                    yield from _of_command(fragment, command)


def _of_command(fragment: Fragment, command: Command) -> Iterator[Finding]:
    word, names = _program(command)
    if (
        word is None
        or word.value is None
        or word.quoting not in ("single", "double", "")
        or re.search(r"<[A-Za-z]", word.raw)
    ):
        return
    problem = _jq_problem(word.value, names)
    if problem is not None:
        yield fragment.finding(
            word.line + problem[0] - 1,
            f"jq cannot compile {word.raw if len(word.raw) < 60 else 'this'}: {problem[1]}",
            "mend it; try it with: jq -n",
        )


def _program(command: Command) -> tuple[Word | None, dict[str, object]]:
    names: dict[str, object] = {}
    words = list(command.effective[1:])
    while words:
        word = words.pop(0)
        text = word.text
        if text in _WITH_TWO_VALUES and len(words) > 1:
            names[words[0].text] = None
            del words[:2]
        elif text in ("-f", "--from-file") or re.fullmatch(r"-[a-zA-Z]*f", text):
            return None, names
        elif text in _WITH_VALUE:
            del words[:1]
        elif not text.startswith("-") or text == "-":
            rest = [other.text for other in words]
            for index, other in enumerate(rest):
                if other in _WITH_TWO_VALUES and index + 1 < len(rest):
                    names[rest[index + 1]] = None
            return word, names
    return None, names


def _jq_problem(program: str, names: dict[str, object]) -> tuple[int, str] | None:
    """(line, what jq says); None when it compiles or reads modules that are not here."""
    if re.search(r"^\s*(?:import|include)\b", program, re.MULTILINE):
        return None
    try:
        import jq  # type: ignore[import-not-found, unused-ignore]
    except ImportError as exc:
        raise CannotTell(
            "jq programs cannot be checked: jq is not installed; pip install 'pytest-opsrunbooks[lint]'"
        ) from exc
    try:
        jq.compile(program, args=names)
    except ValueError as exc:
        said = str(exc)
        line = re.search(r"line (\d+)", said)
        first = said.split("\n", maxsplit=1)[0].removeprefix("jq: error: ")
        what = re.sub(r"\s+at <top-level>.*$|\s*\(Unix shell quoting issues\?\).*$", "", first)
        return int(line[1]) if line is not None else 1, what
    return None


RULES = (yaml_syntax, json_syntax, jq_syntax)
