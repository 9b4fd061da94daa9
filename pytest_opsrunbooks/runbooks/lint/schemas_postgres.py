"""The schema of a PostgreSQL that answers, read in one read-only transaction with a time limit."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

from pytest_opsrunbooks.redact import Redactor
from pytest_opsrunbooks.redact import secrets_in_url
from pytest_opsrunbooks.runbooks.lint import schemas_ddl
from pytest_opsrunbooks.runbooks.lint.findings import CannotTell
from pytest_opsrunbooks.runbooks.lint.schemas import Check
from pytest_opsrunbooks.runbooks.lint.schemas import Column
from pytest_opsrunbooks.runbooks.lint.schemas import Schema
from pytest_opsrunbooks.runbooks.lint.schemas import Table

_TIMEOUT_SECONDS = 10

_COLUMNS = """
SELECT c.relname, c.relkind::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid), a.attidentity <> '' OR a.attgenerated <> '',
       ARRAY(SELECT e.enumlabel FROM pg_enum e WHERE e.enumtypid = a.atttypid ORDER BY e.enumsortorder)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_%'
ORDER BY c.relname, a.attnum
"""
_CONSTRAINTS = """
SELECT c.relname, k.contype::text, pg_get_constraintdef(k.oid),
       ARRAY(SELECT a.attname FROM unnest(k.conkey) x JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid WHERE k.contype IN ('p', 'u', 'c')
"""


def read(name: str, dsn: str) -> Schema:
    """The schema behind a connection string. Raises CannotTell without the driver and when the server does
    not answer.
    """
    hide = Redactor(secrets_in_url(dsn)).text
    shown = hide(re.sub(r"password=\S+", "password=***", dsn))
    try:
        import psycopg
    except ImportError as exc:
        raise CannotTell(
            f"the schema of {name} cannot be read from {shown}: psycopg is not installed; "
            "give a file that pg_dump --schema-only wrote instead"
        ) from exc
    try:
        with psycopg.connect(
            re.sub(r"^postgres(?:ql)?\+\w+://", "postgresql://", dsn),
            connect_timeout=_TIMEOUT_SECONDS,
            options=f"-c default_transaction_read_only=on -c statement_timeout={_TIMEOUT_SECONDS * 1000}",
        ) as connection:
            columns = connection.execute(_COLUMNS).fetchall()
            constraints = connection.execute(_CONSTRAINTS).fetchall()
    except psycopg.Error as exc:
        raise CannotTell(
            f"the schema of {name} cannot be read from {shown}: {hide(str(exc)).strip()}"
        ) from exc
    return assemble(name, shown, columns, constraints)


def assemble(name: str, source: str, columns: Iterable[Any], constraints: Iterable[Any]) -> Schema:
    """The schema that the two answers describe."""
    tables: dict[str, dict[str, Column]] = {}
    views: set[str] = set()
    names: dict[str, str] = {}
    for table, kind, column, declared, not_null, default, automatic, labels in columns:
        key = str(table).lower()
        names[key] = str(table)
        if kind in ("v", "m"):
            views.add(key)
        tables.setdefault(key, {})[str(column).lower()] = Column(
            name=str(column), type=str(declared).upper(), not_null=bool(not_null), default=default, automatic=bool(automatic),
            allowed=tuple(labels or ()),
        )  # fmt: skip
    unique: dict[str, list[tuple[str, ...]]] = {}
    checks: dict[str, list[Check]] = {}
    for table, kind, definition, members in constraints:
        key = str(table).lower()
        if kind in ("p", "u"):
            unique.setdefault(key, []).append(tuple(str(member).lower() for member in members))
            continue
        check, allowed = schemas_ddl.constraint(str(definition))
        if check is not None:
            checks.setdefault(key, []).append(check)
        for column, values in allowed.items():
            if column in tables.get(key, {}):
                tables[key][column] = dataclasses.replace(tables[key][column], allowed=values)
    return Schema(
        name=name,
        dialect="postgres",
        source=source,
        tables={
            key: Table(
                name=names[key],
                columns=found,
                unique=tuple(unique.get(key, ())),
                checks=tuple(checks.get(key, ())),
                is_view=key in views,
            )
            for key, found in tables.items()
        },
    )
