"""Which table and column each name of a statement means, and which mean none. Pure; the statement is a tree
of sqlglot's.

What cannot be known counts as known: a function that makes rows, a view whose columns could not be told, a
table that the page itself creates.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any
from typing import Literal

from pytest_opsrunbooks.runbooks.lint.schemas import Column
from pytest_opsrunbooks.runbooks.lint.schemas import Schema
from pytest_opsrunbooks.runbooks.lint.schemas import Table

Source = Table | frozenset[str] | None
"""A table of the schema; the names that a query makes, in lower case; or None: anything may be in it."""

_ALWAYS = frozenset(
    [
        "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "oid", "rowid", "_rowid_", "current_user", "session_user", "user",
        "current_role", "current_schema", "current_catalog", "current_date", "current_time", "current_timestamp", "localtime",
        "localtimestamp", "default", "true", "false", "null",
    ]
)  # fmt: skip
_SYSTEM_SCHEMAS = frozenset(("pg_catalog", "information_schema", "pg_toast"))
_OWN_SCHEMAS = frozenset(("", "public", "main", "temp"))
_SYSTEM_TABLE = re.compile(r"(?:pg|sqlite|pragma)_\w+|dbstat|generate_series|fsdir|json_each|json_tree|_")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unknown:
    """A name that means nothing. `table` is the one that was searched, where there is just one."""

    kind: Literal["table", "column"]
    name: str
    table: Table | None = None
    quoted: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Frame:
    sources: Mapping[str, Source]
    aliases: frozenset[str] = frozenset()


class Names:
    """The names of one statement. `unknown` are those that mean nothing; `column` says what the others mean."""

    def __init__(self, tree: Any, schema: Schema, created: frozenset[str] = frozenset()) -> None:
        from sqlglot import exp

        self._exp = exp
        self._tree = tree  # kept alive: meanings are kept by the identity of its nodes
        self._schema = schema
        self._created = created
        self._meanings: dict[int, tuple[Table, Column]] = {}
        self.unknown: list[Unknown] = []
        self._visit(tree, (), {})

    def column(self, node: Any) -> tuple[Table, Column] | None:
        """The table and the column that a column of the tree means; None when that is not known."""
        return self._meanings.get(id(node))

    # -- walking

    def _visit(self, node: Any, outer: tuple[_Frame, ...], ctes: Mapping[str, Source]) -> None:
        exp = self._exp
        if isinstance(node, exp.Subquery) and not node.args.get("joins"):
            self._visit(node.this, outer, ctes)
        elif isinstance(node, exp.SetOperation):
            inner = self._with(node, outer, ctes)
            self._visit(node.left, outer, inner)
            self._visit(node.right, outer, inner)
        elif isinstance(node, exp.Select):
            self._select(node, outer, ctes)
        elif isinstance(node, exp.Insert):
            self._insert(node, ctes)
        elif isinstance(node, exp.Update | exp.Delete):
            self._change(node, ctes)

    def _with(self, node: Any, outer: tuple[_Frame, ...], ctes: Mapping[str, Source]) -> Mapping[str, Source]:
        given = node.args.get("with_") or node.args.get("with")
        if given is None:
            return ctes
        known = dict(ctes)
        for cte in given.expressions:
            named = frozenset(each.name.lower() for each in cte.args["alias"].args.get("columns") or ())
            if given.args.get("recursive"):
                known[cte.alias.lower()] = named or None
            self._visit(cte.this, outer, known)
            known[cte.alias.lower()] = named or self._projected(cte.this, known)
        return known

    def _select(self, node: Any, outer: tuple[_Frame, ...], ctes: Mapping[str, Source]) -> None:
        ctes = self._with(node, outer, ctes)
        sources: dict[str, Source] = {}
        start = node.args.get("from_") or node.args.get("from")
        parts = [start.this] if start is not None else []
        parts += [join.this for join in node.args.get("joins") or ()]
        parts += node.args.get("laterals") or ()
        for part in parts:
            self._source(part, sources, outer, ctes)
        aliases = frozenset(each.alias.lower() for each in node.expressions if each.alias)
        frame = _Frame(sources=sources, aliases=aliases)
        self._columns(node, (frame, *outer), ctes, skip=parts)

    def _source(
        self, part: Any, sources: dict[str, Source], outer: tuple[_Frame, ...], ctes: Mapping[str, Source]
    ) -> None:
        exp = self._exp
        alias = (part.alias_or_name or f"\0{len(sources)}").lower()
        named = part.args.get("alias")
        columns = (
            frozenset(c.name.lower() for c in (named.args.get("columns") or ()))
            if isinstance(named, exp.TableAlias)
            else frozenset()
        )
        if isinstance(part, exp.Table) and isinstance(part.this, exp.Identifier):
            sources[alias] = columns or self._table(part, ctes)
            for join in part.args.get("joins") or ():
                self._source(join.this, sources, outer, ctes)
        elif isinstance(part, exp.Subquery) and isinstance(part.this, exp.Query):
            self._visit(part.this, outer, ctes)
            sources[alias] = columns or self._projected(part.this, ctes)
        elif isinstance(part, exp.Subquery | exp.Paren):
            self._source(part.this, sources, outer, ctes)
            for join in part.args.get("joins") or ():
                self._source(join.this, sources, outer, ctes)
        else:
            sources[alias] = None

    def _table(self, node: Any, ctes: Mapping[str, Source]) -> Source:
        name, schema = node.name.lower(), node.db.lower()
        if not schema and name in ctes:
            return ctes[name]
        if (
            schema not in _OWN_SCHEMAS
            or name in self._created
            or _SYSTEM_TABLE.fullmatch(name)
            or "${_}" in name
        ):
            return None
        found = self._schema.table(name)
        if found is None:
            self._report(Unknown(kind="table", name=node.name))
            return None
        return found if found.columns else None

    def _projected(self, query: Any, ctes: Mapping[str, Source]) -> Source:
        """The names that a query makes; None when one of them cannot be told."""
        exp = self._exp
        while isinstance(query, exp.Subquery):
            query = query.this
        if isinstance(query, exp.SetOperation):
            return self._projected(query.left, ctes)
        if not isinstance(query, exp.Select):
            return None
        names = set()
        for each in query.expressions:
            if each.is_star or not each.alias_or_name:
                return None
            names.add(each.alias_or_name.lower())
        return frozenset(names)

    def _insert(self, node: Any, ctes: Mapping[str, Source]) -> None:
        exp = self._exp
        ctes = self._with(node, (), ctes)
        target = node.this.this if isinstance(node.this, exp.Schema) else node.this
        table = self._table(target, {}) if isinstance(target, exp.Table) else None
        if isinstance(node.this, exp.Schema):
            for each in node.this.expressions:
                self._named(each, table)
        if isinstance(node.expression, exp.Query):
            self._visit(node.expression, (), ctes)
        frame = _Frame(sources={(target.alias_or_name or "").lower(): table, "excluded": table})
        for part in (node.args.get("conflict"), node.args.get("returning")):
            if part is not None:
                self._columns(part, (frame,), ctes)

    def _change(self, node: Any, ctes: Mapping[str, Source]) -> None:
        exp = self._exp
        ctes = self._with(node, (), ctes)
        target = node.this
        if not isinstance(target, exp.Table):
            return
        table = self._table(target, {})
        sources: dict[str, Source] = {target.alias_or_name.lower(): table}
        start = node.args.get("from_") or node.args.get("from")
        parts = [target, *([start.this] if start is not None else []), *(node.args.get("using") or ())]
        for part in parts[1:]:
            self._source(part, sources, (), ctes)
            for join in part.args.get("joins") or ():
                self._source(join.this, sources, (), ctes)
        self._columns(node, (_Frame(sources=sources),), ctes, skip=parts)

    def _named(self, node: Any, table: Source) -> None:
        """A name in the list of an INSERT."""
        if isinstance(table, Table) and table.column(node.name) is None and node.name.lower() not in _ALWAYS:
            self._report(Unknown(kind="column", name=node.name, table=table))

    def _columns(
        self, node: Any, frames: tuple[_Frame, ...], ctes: Mapping[str, Source], skip: list[Any] | None = None
    ) -> None:
        """Judge the columns below a node; a query within it has its own sources before these."""
        exp = self._exp
        left_out = {id(part) for part in skip or ()}
        stack = [child for child in node.iter_expressions() if not isinstance(child, exp.With)]
        while stack:
            each = stack.pop()
            if id(each) in left_out:
                continue
            if isinstance(each, exp.Select | exp.SetOperation):
                self._visit(each, frames, ctes)
            elif isinstance(each, exp.Column):
                self._judge(each, frames)
            elif not isinstance(each, exp.From):
                stack += each.iter_expressions()

    # -- judging

    def _judge(self, node: Any, frames: tuple[_Frame, ...]) -> None:
        exp = self._exp
        if isinstance(node.this, exp.Star) or node.args.get("db"):
            return
        name = node.name.lower()
        if name in _ALWAYS or "${_}" in name:
            return
        if node.table:
            self._judge_qualified(node, name, frames)
            return
        near: list[Table] = []
        for frame in frames:
            if name in frame.aliases or name in frame.sources:
                self._note(node, name, frame)
                return
            for source in frame.sources.values():
                if source is None or (isinstance(source, frozenset) and name in source):
                    return
                if isinstance(source, Table):
                    near.append(source)
            if self._note(node, name, frame):
                return
        self._report(
            Unknown(
                kind="column",
                name=node.name,
                table=near[0] if len(near) == 1 else None,
                quoted=bool(node.this.args.get("quoted")),
            )
        )

    def _note(self, node: Any, name: str, frame: _Frame) -> bool:
        for source in frame.sources.values():
            if isinstance(source, Table) and (column := source.column(name)) is not None:
                self._meanings[id(node)] = (source, column)
                return True
        return False

    def _judge_qualified(self, node: Any, name: str, frames: tuple[_Frame, ...]) -> None:
        table = node.table.lower()
        for frame in frames:
            if table not in frame.sources:
                continue
            source = frame.sources[table]
            if isinstance(source, Table):
                column = source.column(name)
                if column is not None:
                    self._meanings[id(node)] = (source, column)
                else:
                    self._report(Unknown(kind="column", name=node.name, table=source))
            elif isinstance(source, frozenset) and name not in source:
                self._report(Unknown(kind="column", name=f"{node.table}.{node.name}"))
            return
        if table not in ("new", "old", "excluded"):
            self._report(Unknown(kind="table", name=node.table))

    def _report(self, unknown: Unknown) -> None:
        if unknown not in self.unknown:
            self.unknown.append(unknown)
