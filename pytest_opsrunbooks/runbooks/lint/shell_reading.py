"""Builds the values of `shell` from the tree that tree-sitter parses."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Literal

from pytest_opsrunbooks.runbooks.lint import shell
from pytest_opsrunbooks.runbooks.lint.shell import Assignment
from pytest_opsrunbooks.runbooks.lint.shell import Command
from pytest_opsrunbooks.runbooks.lint.shell import Heredoc
from pytest_opsrunbooks.runbooks.lint.shell import Pipeline
from pytest_opsrunbooks.runbooks.lint.shell import Quoting
from pytest_opsrunbooks.runbooks.lint.shell import Redirect
from pytest_opsrunbooks.runbooks.lint.shell import Scope
from pytest_opsrunbooks.runbooks.lint.shell import Use
from pytest_opsrunbooks.runbooks.lint.shell import Word

if TYPE_CHECKING:
    from tree_sitter import Node
    from tree_sitter import Parser


@functools.cache
def _parser() -> Parser:
    # Heavy and optional: the extra `lint` brings it.
    try:
        import tree_sitter_bash
        from tree_sitter import Language
        from tree_sitter import Parser
    except ImportError as exc:
        from pytest_opsrunbooks.runbooks.lint.findings import CannotTell

        raise CannotTell(
            "shell blocks cannot be read: tree-sitter-bash is not installed; pip install 'pytest-opsrunbooks[lint]'"
        ) from exc
    return Parser(Language(tree_sitter_bash.language()))


def read(source: str) -> tuple[Reader, int | None]:
    """What stands in the text, and the first line that the parser could not read. Raises CannotTell without
    the parser.
    """
    root = _parser().parse(source.encode("utf-8", "replace")).root_node
    reader = Reader(source)
    reader.visit(root, _Context())
    return reader, _error_line(root) if root.has_error else None


def _error_line(node: Node) -> int:
    """The first node that is an error or had to be made up."""
    if node.is_error or node.is_missing:
        return int(node.start_point[0]) + 1
    for child in node.children:
        if child.has_error or child.is_missing:
            return _error_line(child)
    return int(node.start_point[0]) + 1


@dataclasses.dataclass(frozen=True)
class _Context:
    piped_from: bool = False
    piped_into: bool = False
    negated: bool = False
    followed_by: Literal["", "&&", "||"] = ""
    preceded_by: Literal["", "&&", "||"] = ""
    condition: bool = False
    function: str = ""
    substitution: bool = False
    background: bool = False
    redirects: tuple[Redirect, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()
    scope: Scope = ()

    def inner(self, **changes: object) -> _Context:
        """For what stands inside a compound command: it keeps only where it is."""
        kept = _Context(function=self.function, substitution=self.substitution, scope=self.scope)
        return dataclasses.replace(kept, **changes)  # type: ignore[arg-type]


class Reader:
    """Walks the tree once and keeps what it finds."""

    def __init__(self, source: str) -> None:
        self._bytes = source.encode("utf-8", "replace")
        self.commands: list[Command] = []
        self.pipelines: list[Pipeline] = []
        self.assignments: list[Assignment] = []
        self.uses: list[Use] = []
        self.sets: set[str] = set()
        self.functions: set[str] = set()
        self.heredoc_lines: set[int] = set()

    def text(self, node: Node) -> str:
        return self._bytes[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def visit(self, node: Node, context: _Context) -> None:
        handler = getattr(self, f"_visit_{node.type}", None)
        if handler is not None:
            handler(node, context)
        else:
            self._children(node, context.inner())

    def _children(self, node: Node, context: _Context) -> None:
        for index, child in enumerate(node.children):
            following = node.children[index + 1] if index + 1 < len(node.children) else None
            background = following is not None and following.type == "&"
            self.visit(child, dataclasses.replace(context, background=True) if background else context)

    # -- commands

    def _visit_command(self, node: Node, context: _Context) -> None:
        words: list[Word] = []
        assigns: list[str] = []
        redirects = list(context.redirects)
        for child in node.children:
            if child.type == "variable_assignment":
                name = child.child_by_field_name("name")
                assigns.append(self.text(name) if name is not None else "")
                self._children(child, context.inner())
            elif child.type == "command_name":
                words.append(self.word(child.children[0] if child.child_count == 1 else child))
                self.visit(child, context.inner())
            elif child.type.endswith("_redirect"):
                redirects += self._redirect(child)
                self.visit(child, context.inner())
            else:
                words.append(self.word(child))
                self.visit(child, context.inner())
        self._add(node, words, dataclasses.replace(context, redirects=tuple(redirects)), tuple(assigns))

    def _visit_test_command(self, node: Node, context: _Context) -> None:
        words = [self.word(leaf) for leaf in _test_words(node)]
        self._children(node, context.inner())
        self._add(node, words, context, ())

    def _visit_declaration_command(self, node: Node, context: _Context) -> None:
        keyword = self.text(node.children[0])
        for child in node.children[1:]:
            if child.type == "variable_assignment":
                self._assignment(child, keyword, context)
                self._children(child, context.inner())
                continue
            if child.type == "variable_name" and keyword != "export":
                self.sets.add(self.text(child))
            self.visit(child, context.inner())
        self._add(node, [self.word(child) for child in node.children], context, ())

    _visit_unset_command = _visit_declaration_command

    def _add(self, node: Node, words: list[Word], context: _Context, assigns: tuple[str, ...]) -> None:
        command = Command(
            words=tuple(words),
            line=node.start_point[0] + 1,
            end_line=node.end_point[0] + 1,
            offset=node.start_byte,
            end_offset=node.end_byte,
            assigns=assigns,
            redirects=context.redirects,
            heredocs=context.heredocs,
            piped_from=context.piped_from,
            piped_into=context.piped_into,
            negated=context.negated,
            followed_by=context.followed_by,
            preceded_by=context.preceded_by,
            condition=context.condition,
            function=context.function,
            substitution=context.substitution,
            background=context.background,
            scope=context.scope,
        )
        self.commands.append(command)
        self._note_sets(command)
        if not (context.piped_from or context.piped_into):
            self.pipelines.append(Pipeline(commands=(command,), line=command.line, end_line=command.end_line))

    def _note_sets(self, command: Command) -> None:
        words = [word.text for word in command.effective]
        if not words:
            return
        if words[0] in ("read", "mapfile", "readarray"):
            self.sets |= {word for word in words[1:] if re.fullmatch(r"[A-Za-z_]\w*", word)} | (
                {"REPLY"} if words[0] == "read" else set()
            )
        elif words[0] == "getopts" and len(words) > 2:
            self.sets |= {words[2], "OPTARG", "OPTIND"}
        elif words[0] == "printf" and "-v" in words:
            self.sets |= set(words[words.index("-v") + 1 : words.index("-v") + 2])
        elif words[0] == "let":
            self.sets |= {match.group() for word in words[1:] if (match := re.match(r"[A-Za-z_]\w*", word))}

    # -- lists and pipelines

    def _visit_pipeline(self, node: Node, context: _Context) -> None:
        members = [child for child in node.children if child.type not in ("|", "|&")]
        begin = len(self.commands)
        for index, member in enumerate(members):
            piped = dataclasses.replace(
                context,
                piped_from=context.piped_from or index > 0,
                piped_into=context.piped_into or index < len(members) - 1,
            )
            self.visit(member, piped)
        self._pipeline(node, begin, len(members))

    def _pipeline(self, node: Node, begin: int, members: int) -> None:
        direct = [c for c in self.commands[begin:] if c.piped_from or c.piped_into]
        direct.sort(key=lambda c: c.offset)
        if direct:
            self.pipelines.append(
                Pipeline(
                    commands=tuple(direct),
                    line=node.start_point[0] + 1,
                    end_line=node.end_point[0] + 1,
                    compound=len(direct) != members,
                )
            )

    def _visit_list(self, node: Node, context: _Context) -> None:
        operator: Literal["", "&&", "||"] = ""
        children = node.children
        for index, child in enumerate(children):
            if child.type in ("&&", "||"):
                operator = "&&" if child.type == "&&" else "||"
                continue
            following = children[index + 1].type if index + 1 < len(children) else ""
            followed: Literal["", "&&", "||"] = context.followed_by
            if following in ("&&", "||"):
                followed = "&&" if following == "&&" else "||"
            self.visit(
                child,
                dataclasses.replace(
                    context, followed_by=followed, preceded_by=operator or context.preceded_by
                ),
            )

    def _visit_negated_command(self, node: Node, context: _Context) -> None:
        self._children(node, dataclasses.replace(context, negated=True))

    def _visit_redirected_statement(self, node: Node, context: _Context) -> None:
        redirects = list(context.redirects)
        heredocs = list(context.heredocs)
        rest: list[Node] = []
        for child in node.children:
            if child.type == "heredoc_redirect":
                heredocs += self._heredoc(child)
                rest += [part for part in child.children if part.type not in _HEREDOC_PARTS]
            elif child.type.endswith("_redirect"):
                redirects += self._redirect(child)
        body = node.child_by_field_name("body")
        tail = [part for part in rest if part.type == "pipeline"]
        inner = dataclasses.replace(context, redirects=tuple(redirects), heredocs=tuple(heredocs))
        begin = len(self.commands)
        if body is not None:
            self.visit(body, dataclasses.replace(inner, piped_into=True) if tail else inner)
        for child in node.children:
            if child.type.endswith("_redirect") and child.type != "heredoc_redirect":
                self.visit(child, context.inner())
        self._heredoc_rest(rest, context)
        if tail:
            self._pipeline(node, begin, 1 + sum(c.type != "|" for part in tail for c in part.children))

    def _heredoc_rest(self, rest: list[Node], context: _Context) -> None:
        """What stands on the line of `<<EOF` after it: `| grep x`, `&& y`, `> file`."""
        for part in rest:
            if part.type == "pipeline":
                for member in part.children:
                    if member.type != "|":
                        self.visit(member, dataclasses.replace(context, piped_from=True))
            elif part.type not in ("&&", "||", "<<", "<<-"):
                self.visit(part, context.inner())

    def _heredoc(self, node: Node) -> list[Heredoc]:
        start = next((child for child in node.children if child.type == "heredoc_start"), None)
        body = next((child for child in node.children if child.type == "heredoc_body"), None)
        if body is None:
            return []
        self.visit(body, _Context())
        first = body.start_point[0] + 1
        self.heredoc_lines |= set(range(first, body.end_point[0] + 2))
        quoted = start is not None and any(mark in self.text(start) for mark in "'\"\\")
        return [Heredoc(text=self.text(body), line=first, expands=not quoted)]

    def _redirect(self, node: Node) -> list[Redirect]:
        if node.type == "herestring_redirect":
            return [Redirect(operator="<<<", target=self.text(node)[3:].strip())]
        descriptor, operator, target = "", "", ""
        for child in node.children:
            if child.type == "file_descriptor":
                descriptor = self.text(child)
            elif not child.is_named:
                operator = self.text(child)
            elif not target:
                target = self.word(child).text
        return [Redirect(operator=operator, target=target, descriptor=descriptor)]

    # -- compounds

    def _visit_if_statement(self, node: Node, context: _Context) -> None:
        branch = 0
        in_condition = False
        for child in node.children:
            inner = context.inner(scope=(*context.scope, ("if", node.start_byte, branch)))
            if child.type in ("if", "elif", "then"):
                in_condition = child.type != "then"
            elif child.type in ("elif_clause", "else_clause"):
                branch += 1
                inner = context.inner(scope=(*context.scope, ("if", node.start_byte, branch)))
                self._clause(child, inner)
            elif in_condition:
                self.visit(child, context.inner(condition=True))
            else:
                self.visit(child, inner)

    def _clause(self, node: Node, context: _Context) -> None:
        in_condition = node.type == "elif_clause"
        for child in node.children:
            if child.type == "then":
                in_condition = False
            self.visit(child, dataclasses.replace(context, condition=in_condition))

    def _visit_while_statement(self, node: Node, context: _Context) -> None:
        for child in node.children:
            if child.type == "do_group":
                self._children(child, context.inner(scope=(*context.scope, ("loop", node.start_byte, 0))))
            else:
                self.visit(child, context.inner(condition=True))

    def _visit_for_statement(self, node: Node, context: _Context) -> None:
        name = node.child_by_field_name("variable")
        if name is not None:
            self.sets.add(self.text(name))
        for child in node.children:
            scope = (
                (*context.scope, ("loop", node.start_byte, 0)) if child.type == "do_group" else context.scope
            )
            self.visit(child, context.inner(scope=scope))

    def _visit_case_statement(self, node: Node, context: _Context) -> None:
        branch = 0
        for child in node.children:
            if child.type == "case_item":
                self._children(
                    child, context.inner(scope=(*context.scope, ("case", node.start_byte, branch)))
                )
                branch += 1
            else:
                self.visit(child, context.inner())

    def _visit_function_definition(self, node: Node, context: _Context) -> None:
        name = node.child_by_field_name("name")
        text = self.text(name) if name is not None else ""
        self.functions.add(text)
        self._children(
            node, context.inner(function=text, scope=(*context.scope, ("function", node.start_byte, 0)))
        )

    def _visit_command_substitution(self, node: Node, context: _Context) -> None:
        self._children(node, context.inner(substitution=True))

    def _visit_subshell(self, node: Node, context: _Context) -> None:
        self._children(node, context.inner())

    # -- variables

    def _visit_variable_assignment(self, node: Node, context: _Context) -> None:
        self._assignment(node, "", context)
        self._children(node, context.inner())

    def _assignment(self, node: Node, keyword: str, context: _Context) -> None:
        name = node.child_by_field_name("name")
        value = node.child_by_field_name("value")
        if name is not None:
            bare = re.match(r"[A-Za-z_]\w*", self.text(name))
            self.assignments.append(
                Assignment(
                    name=bare.group() if bare else self.text(name),
                    value=self.word(value) if value is not None and value.type != "array" else None,
                    line=node.start_point[0] + 1,
                    offset=node.start_byte,
                    declared_by=keyword,
                    scope=context.scope,
                    preceded_by=context.preceded_by,
                    followed_by=context.followed_by,
                    end_offset=node.end_byte,
                )
            )

    def _visit_simple_expansion(self, node: Node, context: _Context) -> None:
        del context
        name = self.text(node)[1:]
        self.uses.append(Use(name=name, line=node.start_point[0] + 1, offset=node.start_byte))

    def _visit_expansion(self, node: Node, context: _Context) -> None:
        match = re.match(
            r"\$\{([!#]?)([A-Za-z_]\w*|[0-9@*#?$!-])(?:\[[^\]]*\])?(:?[-=?+]|[#%/^,@:]*)", self.text(node)
        )
        if match is not None:
            self.uses.append(
                Use(
                    name=match.group(2),
                    line=node.start_point[0] + 1,
                    offset=node.start_byte,
                    operator=match.group(3),
                    length=bool(match.group(1)),
                )
            )
            if match.group(3) in ("=", ":="):
                self.sets.add(match.group(2))
        self._children(node, context.inner())

    def _visit_arithmetic_expansion(self, node: Node, context: _Context) -> None:
        self.sets |= set(re.findall(r"\b([A-Za-z_]\w*)\s*(?:[-+*/%]?=(?!=)|\+\+|--)", self.text(node)))
        self._children(node, context.inner())

    _visit_compound_statement = _visit_arithmetic_expansion
    _visit_c_style_for_statement = _visit_arithmetic_expansion

    def word(self, node: Node) -> Word:
        raw = self.text(node)
        return Word(
            raw=raw,
            value=_value(raw, node),
            line=node.start_point[0] + 1,
            end_line=node.end_point[0] + 1,
            quoting=_quoting(node),
            expansions=tuple(self._expansions(node)),
            substitutes=_contains(node, ("command_substitution", "process_substitution")),
            offset=node.start_byte,
        )

    def _expansions(self, node: Node) -> Iterator[str]:
        if node.type in ("simple_expansion", "expansion"):
            match = re.match(r"\$\{?[!#]?([A-Za-z_]\w*|[0-9@*#?$!-])", self.text(node))
            if match is not None:
                yield match.group(1)
        for child in node.children:
            yield from self._expansions(child)


_HEREDOC_PARTS = ("heredoc_start", "heredoc_body", "heredoc_end", "file_descriptor")
_WORD_TYPES = frozenset(
    ["word", "string", "raw_string", "ansi_c_string", "translated_string", "concatenation", "simple_expansion",
     "expansion", "number", "command_substitution", "test_operator", "extglob_pattern", "regex", "variable_name",
     "arithmetic_expansion", "process_substitution"]
)  # fmt: skip


def _test_words(node: Node) -> Iterator[Node]:
    for child in node.children:
        if child.type in _WORD_TYPES or not child.is_named:
            yield child
        else:
            yield from _test_words(child)


def _contains(node: Node, types: tuple[str, ...]) -> bool:
    return node.type in types or any(_contains(child, types) for child in node.children)


def _quoting(node: Node) -> Quoting:
    if node.type == "raw_string":
        return "single"
    if node.type in ("string", "translated_string"):
        return "double"
    if node.type == "concatenation" and any(
        child.type in ("raw_string", "string") for child in node.children
    ):
        return "mixed"
    return ""


def _value(raw: str, node: Node) -> str | None:
    """The word as the command is given it; None with an expansion."""
    if _contains(
        node,
        (
            "simple_expansion",
            "expansion",
            "command_substitution",
            "process_substitution",
            "arithmetic_expansion",
        ),
    ):
        return None
    if node.type == "concatenation":
        parts = [
            _value(child.text.decode("utf-8", "replace") if child.text else "", child)
            for child in node.children
        ]
        return None if None in parts else "".join(part for part in parts if part is not None)
    if node.type == "raw_string":
        return raw[1:-1]
    if node.type == "string":
        return shell.unescape_double(raw[1:-1])
    return re.sub(r"\\(.)", r"\1", raw.replace("\\\n", ""))
