"""One table exchanged for another of the same name in another schema, in one transaction: whatever refers to it then
refers to the new one, or nothing has changed.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING
from typing import Any

from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed

if TYPE_CHECKING:
    import psycopg

LOCK_SECONDS = 5.0
"""While the exchange waits for the table, whoever comes after it waits too; so it does not wait long."""

_FOREIGN_KEYS = """
SELECT c.conname, n.nspname, r.relname, pg_get_constraintdef(c.oid)
FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid JOIN pg_namespace n ON n.oid = r.relnamespace
WHERE c.contype = 'f' AND c.confrelid = %(table)s AND c.conrelid <> c.confrelid AND c.conparentid = 0
ORDER BY n.nspname, r.relname, c.conname
"""
_VIEWS = """
SELECT DISTINCT n.nspname, v.relname, v.relkind, pg_get_viewdef(v.oid), v.reloptions
FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid JOIN pg_class v ON v.oid = w.ev_class
JOIN pg_namespace n ON n.oid = v.relnamespace
WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %(table)s
AND v.oid <> %(table)s
ORDER BY n.nspname, v.relname
"""
_OTHERS = """
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid)
FROM pg_class t LEFT JOIN pg_type y ON y.oid = t.reltype, pg_depend d
WHERE t.oid = %(table)s
AND ((d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid)
     OR (d.refclassid = 'pg_type'::regclass AND d.refobjid IN (y.oid, y.typarray)))
AND d.deptype <> 'i'
AND d.classid IN ('pg_proc'::regclass, 'pg_publication_rel'::regclass, 'pg_class'::regclass,
                  'pg_policy'::regclass, 'pg_trigger'::regclass)
AND NOT (d.classid = 'pg_class'::regclass
         AND (EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = d.objid AND i.indrelid = t.oid)
              OR EXISTS (SELECT FROM pg_class s WHERE s.oid = d.objid AND s.relkind IN ('S', 't'))))
AND NOT (d.classid = 'pg_policy'::regclass
         AND EXISTS (SELECT FROM pg_policy p WHERE p.oid = d.objid AND p.polrelid = t.oid))
AND NOT (d.classid = 'pg_trigger'::regclass
         AND EXISTS (SELECT FROM pg_trigger g WHERE g.oid = d.objid AND g.tgrelid = t.oid))
UNION
SELECT 'table ' || inhrelid::regclass || ', which inherits from it' FROM pg_inherits WHERE inhparent = %(table)s
UNION
SELECT 'table ' || inhparent::regclass || ', which it is a part of' FROM pg_inherits WHERE inhrelid = %(table)s
ORDER BY 1
"""
_PARTS = """
SELECT 'column ' || attname || ' ' || format_type(atttypid, atttypmod)
FROM pg_attribute WHERE attrelid = %(table)s AND attnum > 0 AND NOT attisdropped
UNION SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgrelid = %(table)s AND NOT tgisinternal
UNION SELECT 'policy ' || polname FROM pg_policy WHERE polrelid = %(table)s
UNION SELECT 'constraint ' || conname FROM pg_constraint WHERE conrelid = %(table)s
UNION SELECT 'index ' || c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = %(table)s
UNION SELECT 'row level security' FROM pg_class WHERE oid = %(table)s AND relrowsecurity
"""
_RIGHTS = """
SELECT a.privilege_type, held.attname, CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee)::text END, a.is_grantable
FROM (SELECT NULL AS attname, relacl AS acl, relowner FROM pg_class WHERE oid = %(table)s
      UNION ALL
      SELECT attname::text, attacl, relowner FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
      WHERE attrelid = %(table)s AND attnum > 0 AND NOT attisdropped) AS held, aclexplode(held.acl) AS a
WHERE a.grantee <> held.relowner
"""
_COUNTERS = """
SELECT pg_get_serial_sequence(format('%%I.%%I', %(from)s::text, %(table)s::text), f.attname),
       pg_get_serial_sequence(format('%%I.%%I', %(to)s::text, %(table)s::text), t.attname)
FROM pg_attribute f JOIN pg_attribute t USING (attname)
WHERE f.attrelid = format('%%I.%%I', %(from)s::text, %(table)s::text)::regclass AND f.attnum > 0 AND NOT f.attisdropped
AND t.attrelid = format('%%I.%%I', %(to)s::text, %(table)s::text)::regclass AND t.attnum > 0 AND NOT t.attisdropped
"""
_WHOLE_NAMES = "SET search_path TO ''"
"""So that the server names everything with its schema, whatever the session's own path is."""
_CONTENT = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM {} AS t"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Content:
    """How many rows a table has, and a sum over all of them that does not depend on their order."""

    rows: int
    checksum: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Referrers:
    """What refers to a table and can be made to refer to another."""

    foreign_keys: tuple[tuple[str, str, str, str], ...] = ()
    """Constraint, schema, table, definition."""
    views: tuple[tuple[str, str, str, tuple[str, ...]], ...] = ()
    """Schema, view, definition, options."""


def content(session: psycopg.Connection[Any], schema: str, table: str) -> Content:
    """Reads the whole table, as text that no setting of the session changes."""
    session.execute("SET TimeZone TO 'UTC'")
    session.execute("SET DateStyle TO 'ISO, YMD'")
    found = session.execute(_sql(_CONTENT, (schema, table))).fetchone()
    assert found is not None, "an aggregate always gives a row"
    return Content(rows=found[0], checksum=found[1])


def number(session: psycopg.Connection[Any], schema: str, table: str) -> int | None:
    """The table's own number in the database, which stays when it is renamed or moved; None where there is none."""
    found = session.execute(
        "SELECT c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')",
        (schema, table),
    ).fetchone()
    return None if found is None else int(found[0])


def referrers(session: psycopg.Connection[Any], schema: str, table: str) -> Referrers:
    """What has to be carried over. Raises Refused with the name of what cannot be, and what to do about it."""
    oid = number(session, schema, table)
    if oid is None:
        return Referrers()
    session.execute(_WHOLE_NAMES)
    given = {"table": oid}
    views = session.execute(_VIEWS, given).fetchall()
    kinds = {"m": "materialized view"}
    in_the_way = [f"{kinds.get(k, 'a rule of table')} {n}.{v}" for n, v, k, _, _ in views if k != "v"]
    in_the_way += [name for (name,) in session.execute(_OTHERS, given).fetchall()]
    if in_the_way:
        raise Refused(
            f"{schema}.{table} cannot be exchanged, because this refers to it: {', '.join(in_the_way[:3])}; drop that"
            " first and make it again afterwards, or restore the whole database"
        )
    keys = session.execute(_FOREIGN_KEYS, given).fetchall()
    return Referrers(
        foreign_keys=tuple((c, n, t, d) for c, n, t, d in keys),
        views=tuple((n, v, d, tuple(o or ())) for n, v, _, d, o in views),
    )


def parts(session: psycopg.Connection[Any], schema: str, table: str) -> frozenset[str]:
    """What belongs to the table, by kind and name: columns with their types, triggers, constraints and so on."""
    session.execute(_WHOLE_NAMES)
    found = session.execute(_PARTS, {"table": number(session, schema, table)}).fetchall()
    return frozenset(name for (name,) in found)


def exchange(url: str, table: str, *, schema: str, coming_from: str, going_to: str) -> None:
    """The table of `schema` goes to the schema `going_to`, which is made, and that of `coming_from` takes its place, with
    whatever refers to it, and with the owner and the rights of the one that was there.

    Raises StepFailed where somebody holds the table, or where a foreign key of another table has no row to refer to any
    more; then nothing has changed.
    """
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=10, application_name="opsrunbooks") as session:
            session.execute(f"SET LOCAL lock_timeout = '{int(LOCK_SECONDS * 1000)}ms'")
            there = number(session, schema, table) is not None
            if there:
                session.execute(_sql("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", (schema, table)))
            carried = referrers(session, schema, table)
            for name, namespace, owner, _ in carried.foreign_keys:
                session.execute(_sql("ALTER TABLE {} DROP CONSTRAINT {}", (namespace, owner), name))
            if there:
                session.execute(_sql("CREATE SCHEMA IF NOT EXISTS {}", going_to))
                session.execute(_sql("ALTER TABLE {} SET SCHEMA {}", (schema, table), going_to))
            session.execute(_sql("ALTER TABLE {} SET SCHEMA {}", (coming_from, table), schema))
            session.execute(_sql("DROP SCHEMA {}", coming_from))
            if there:
                _same_rights(session, table, of=going_to, to=schema)
                _count_on(session, table, of=going_to, to=schema)
            _refer_again(session, carried)
    except psycopg.errors.LockNotAvailable as error:
        raise StepFailed(
            f"somebody has held {schema}.{table} for {LOCK_SECONDS:g} s; see who, and begin again when it is free"
        ) from error
    except psycopg.errors.ForeignKeyViolation as error:
        raise StepFailed(
            f"{error.diag.message_primary}: {error.diag.message_detail} It was written since the backup; take a newer"
            " backup, remove what refers to it, or restore the whole database"
        ) from error
    except psycopg.Error as error:
        raise StepFailed(" ".join(str(error.diag.message_primary or error).split())) from error


def _refer_again(session: psycopg.Connection[Any], carried: Referrers) -> None:
    from psycopg import sql

    for name, namespace, owner, definition in carried.foreign_keys:
        made = _sql("ALTER TABLE {} ADD CONSTRAINT {} ", (namespace, owner), name)
        session.execute(made + sql.SQL(definition))
    for namespace, view, definition, options in carried.views:
        kept = f" WITH ({', '.join(options)})" if options else ""
        session.execute(
            _sql(f"CREATE OR REPLACE VIEW {{}}{kept} AS ", (namespace, view)) + sql.SQL(definition)
        )


def _same_rights(session: psycopg.Connection[Any], table: str, *, of: str, to: str) -> None:
    """A right that was withdrawn since the backup does not come back with it."""
    found = session.execute(
        "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = %s", (number(session, of, table),)
    ).fetchone()
    assert found is not None, "it was moved there"
    session.execute(_sql("ALTER TABLE {} OWNER TO {}", (to, table), found[0]))
    for grantee in {grantee for _, _, grantee, _ in _rights(session, to, table)}:
        text = f"REVOKE ALL ON {{}} FROM {'PUBLIC' if grantee is None else '{}'} CASCADE"
        session.execute(_sql(text, (to, table), *_named(grantee)))
    for privilege, column, grantee, grantable in _rights(session, of, table):
        what = privilege if column is None else f"{privilege} ({{}})"
        passed_on = " WITH GRANT OPTION" if grantable else ""
        text = f"GRANT {what} ON {{}} TO {'PUBLIC' if grantee is None else '{}'}{passed_on}"
        session.execute(_sql(text, *_named(column), (to, table), *_named(grantee)))


def _named(name: str | None) -> tuple[str, ...]:
    return () if name is None else (name,)


def _count_on(session: psycopg.Connection[Any], table: str, *, of: str, to: str) -> None:
    """A number that was given since the backup is not given again: the rows that have it may have to be merged."""
    from psycopg import sql

    pairs = session.execute(_COUNTERS, {"from": of, "to": to, "table": table}).fetchall()
    for old, new in pairs:
        if old is not None and new is not None:
            session.execute(
                sql.SQL(
                    "SELECT setval(%s::regclass, o.last_value) FROM {} o, {} n"
                    " WHERE o.is_called AND o.last_value > n.last_value"
                ).format(sql.SQL(old), sql.SQL(new)),  # quoted by the server
                (new,),
            )


def _rights(
    session: psycopg.Connection[Any], schema: str, table: str
) -> list[tuple[str, str | None, str | None, bool]]:
    """Privilege, column (None is the whole table), role (None is everybody), and whether it may be passed on."""
    found = session.execute(_RIGHTS, {"table": number(session, schema, table)}).fetchall()
    return [(privilege, column, grantee, grantable) for privilege, column, grantee, grantable in found]


def _sql(text: str, *names: str | tuple[str, str]) -> Any:
    from psycopg import sql

    parts = [sql.Identifier(*((name,) if isinstance(name, str) else name)) for name in names]
    return sql.SQL(text).format(*parts)
