"""The rules about SQL: what each catches, and what it rightly leaves alone."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.runbooks.lint import rules_sql
from pytest_opsrunbooks.runbooks.lint import schemas_ddl
from pytest_opsrunbooks.runbooks.lint import sql_reading
from systems.shadow_atlas import schema as shadow_atlas
from tests.thorough import examples

from .folders import WORLD
from .folders import lint

DESK = """
CREATE TABLE desks (id serial PRIMARY KEY, name text NOT NULL UNIQUE, state text NOT NULL CHECK (state IN ('open', 'shut')),
    "user" text, opened_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE visits (desk_id integer NOT NULL REFERENCES desks (id), guest text NOT NULL);
"""


def _iso(schema, table, *columns):
    old = schema.tables[table]
    changed = {
        **old.columns,
        **{
            name: dataclasses.replace(old.columns[name], time_formats=frozenset(("iso",))) for name in columns
        },
    }
    return dataclasses.replace(
        schema, tables={**schema.tables, table: dataclasses.replace(old, columns=changed)}
    )


DATABASES = {
    "persistence": _iso(
        schemas_ddl.from_text("persistence", shadow_atlas.PERSISTENCE_DDL, "sqlite"),
        "jobs",
        "created_at",
        "updated_at",
    ),
    "persistence:adapter": schemas_ddl.from_text("persistence:adapter", shadow_atlas.ADAPTER_DDL, "sqlite"),
    "metrics": schemas_ddl.from_text("metrics", shadow_atlas.METRICS_DDL, "sqlite"),
    "desk": schemas_ddl.from_text("desk", DESK, "postgres"),
}
GIVEN = dataclasses.replace(WORLD, databases=DATABASES)


def findings(folder, text, world=GIVEN, name="page.md"):
    return lint(folder, {name: text}, rules_sql.RULES, world).findings


def rules_that_speak(folder, text, world=GIVEN, name="page.md"):
    return {finding.rule for finding in findings(folder, text, world, name)}


def sqlite(sql, database="persistence"):
    return f"# Recovery\n\n```bash\nsqlite3 .shadow-atlas/{database}.db <<'SQL'\n{sql}\nSQL\n```\n"


def psql(sql):
    return f"# Recovery\n\n```bash\npsql -d desk <<'SQL'\n{sql}\nSQL\n```\n"


CAUGHT = [
    ("sql-syntax", sqlite("SELECT count(* FROM jobs;")),
    ("sql-syntax", psql("SELECT name FROM desks WHERE;")),
    ("sql-syntax", "```sql\nSELECT name, FROM desks WHERE (;\n```\n"),
    ("sql-reserved-name", sqlite("SELECT count(*) AS order FROM jobs;")),
    ("sql-reserved-name", psql("CREATE TABLE t (id int, order int);")),
    ("sql-reserved-name", psql("SELECT * FROM user;")),
    ("sql-unknown-table", sqlite("SELECT * FROM job;")),
    ("sql-unknown-table", sqlite("DELETE FROM alerts WHERE id = 1;")),
    ("sql-unknown-table", psql("SELECT count(*) FROM desk;")),
    ("sql-unknown-table", psql("VACUUM ANALYZE desk;")),
    (
        "sql-unknown-column",
        sqlite("SELECT * FROM alerts WHERE status = 'firing' ORDER BY started_at;", "metrics"),
    ),
    ("sql-unknown-column", sqlite("UPDATE snapshots SET updated_at = NULL WHERE id = 'a';")),
    ("sql-unknown-column", sqlite("INSERT INTO snapshot_regions (snapshot, state_code) VALUES ('a', 'b');")),
    (
        "sql-unknown-column",
        sqlite("SELECT j.id, e.identifier FROM jobs j JOIN extractions e ON e.job_id = j.id;"),
    ),
    ("sql-unknown-column", psql("SELECT d.colour FROM desks d;")),
    ("sql-unknown-column", psql("UPDATE desks SET colour = 'red' WHERE id = 1;")),
    ("sql-unknown-column", psql("SELECT name FROM desks WHERE id IN (SELECT desk FROM visits);")),
    ("sql-unknown-column", psql('SELECT name FROM desks WHERE state = "open";')),
    ("sql-unknown-column", "```sql\nSELECT severity FROM alerts;\n```\n"),
    ("sql-unknown-function", sqlite("SELECT * FROM jobs WHERE created_at < NOW();")),
    ("sql-unknown-function", psql("SELECT * FROM desks WHERE opened_at < datetime('now');")),
    ("sql-refused", sqlite("INSERT INTO snapshot_regions VALUES ('a');")),
    (
        "sql-refused",
        sqlite("INSERT INTO snapshot_regions VALUES ('a', 'b') ON CONFLICT (state_code) DO NOTHING;"),
    ),
    ("sql-refused", sqlite("SELECT id FROM jobs j JOIN snapshots s ON s.job_id = j.id;")),
    ("sql-not-null", sqlite("INSERT INTO jobs (id, status) VALUES ('a', 'running');")),
    ("sql-not-null", sqlite("UPDATE jobs SET updated_at = NULL WHERE id = 'a';")),
    ("sql-not-null", psql("INSERT INTO desks (state) VALUES ('open');")),
    ("sql-check-constraint", sqlite("UPDATE jobs SET status = 'stuck' WHERE id = 'a';")),
    ("sql-check-constraint", sqlite("UPDATE failed_downloads SET max_attempts = 0 WHERE id = 'a';")),
    ("sql-check-constraint", sqlite("SELECT id FROM jobs WHERE status IN ('running', 'stuck');")),
    ("sql-check-constraint", psql("INSERT INTO desks (name, state) VALUES ('a', 'closed');")),
    ("sql-unique-constraint", sqlite("INSERT INTO snapshot_regions VALUES ('a', 'US-CA'), ('a', 'US-CA');")),
    ("sql-unique-constraint", sqlite("UPDATE snapshots SET ipfs_cid = 'x' WHERE published_at IS NULL;")),
    (
        "sql-mixed-time-formats",
        sqlite("SELECT id FROM jobs WHERE updated_at < datetime('now', '-12 hours');"),
    ),
    ("sql-mixed-time-formats", sqlite("UPDATE jobs SET updated_at = datetime('now') WHERE id = 'a';")),
    (
        "sql-mixed-time-formats",
        sqlite("SELECT type FROM metrics WHERE recorded_at > '2026-11-20T00:00:00Z';", "metrics"),
    ),
    ("sql-mixed-time-formats", "```sqlite\nSELECT strftime('%s', 'now') > datetime('now');\n```\n"),
]

LEFT_ALONE = [
    ("sql-syntax", sqlite("SELECT count(*) FROM jobs WHERE id = :id OR id = '<job-id>';")),
    ("sql-syntax", psql("SELECT name::text FROM desks WHERE state = ANY (ARRAY['open']) LIMIT :n;")),
    ("sql-syntax", "```sql\nSELECT TOP 5 name FROM dbo.desks;\n```\n"),
    ("sql-syntax", "```sql\nSELECT ... FROM desks WHERE ...;\n```\n"),
    ("sql-syntax", '```bash\nsqlite3 x.db "SELECT * FROM $TABLE $CLAUSE"\n```\n'),
    ("sql-syntax", "```bash\nsqlite3 x.db '.backup copy.db' '.tables'\n```\n"),
    ("sql-syntax", sqlite("CREATE TRIGGER t AFTER INSERT ON jobs BEGIN DELETE FROM jobs; SELECT 1; END;")),
    ("sql-reserved-name", sqlite('SELECT count(*) AS "order", 1 AS count FROM jobs;')),
    ("sql-reserved-name", psql('SELECT "user" FROM desks; SELECT user;')),
    ("sql-unknown-table", sqlite("SELECT name FROM sqlite_master; SELECT * FROM pragma_table_info('jobs');")),
    ("sql-unknown-table", sqlite("CREATE TABLE keep AS SELECT * FROM jobs; SELECT count(*) FROM keep;")),
    ("sql-unknown-table", sqlite("ATTACH 'old.db' AS old; INSERT INTO jobs SELECT * FROM old.jobs;")),
    ("sql-unknown-table", "```bash\nsqlite3 grafana.db 'SELECT * FROM dashboard'\n```\n"),
    ("sql-unknown-table", "```sql\nSELECT a FROM elsewhere;\n```\n"),
    ("sql-unknown-table", psql("SELECT pid FROM pg_stat_activity; SELECT * FROM information_schema.tables;")),
    ("sql-unknown-column", sqlite("WITH l AS (SELECT id AS job FROM jobs) SELECT job FROM l ORDER BY job;")),
    (
        "sql-unknown-column",
        sqlite("SELECT id FROM jobs j WHERE EXISTS (SELECT 1 FROM failures f WHERE f.job_id = j.id);"),
    ),
    ("sql-unknown-column", sqlite("SELECT current_task FROM jobs WHERE job_id = 'a';")),
    ("sql-unknown-column", psql("SELECT count(*) AS n FROM desks GROUP BY state ORDER BY n;")),
    (
        "sql-unknown-column",
        psql(
            "INSERT INTO desks (name, state) VALUES ('a', 'open') ON CONFLICT (name) DO UPDATE SET state = excluded.state;"
        ),
    ),
    (
        "sql-unknown-column",
        psql("SELECT d.ctid, d FROM desks d, generate_series(1, 3) AS g (n) WHERE n > 1;"),
    ),
    (
        "sql-unknown-function",
        sqlite("SELECT sqrt(4), sha3('x'), json_extract(regions, '$[0]') FROM snapshots;"),
    ),
    ("sql-refused", sqlite("INSERT INTO snapshot_regions VALUES ('a', 'b') ON CONFLICT DO NOTHING;")),
    ("sql-not-null", sqlite("INSERT INTO snapshot_regions (snapshot_id, state_code) VALUES ('a', 'b');")),
    ("sql-not-null", sqlite("UPDATE snapshots SET deprecated_at = NULL WHERE id = 'a';")),
    (
        "sql-not-null",
        sqlite("INSERT INTO metrics (type, value, labels_json) VALUES ('a', 1, '{}');", "metrics"),
    ),
    ("sql-check-constraint", sqlite("UPDATE jobs SET status = 'partial' WHERE status = '<status>';")),
    (
        "sql-unique-constraint",
        sqlite("INSERT OR IGNORE INTO snapshot_regions VALUES ('a', 'b'), ('a', 'b');"),
    ),
    ("sql-unique-constraint", sqlite("UPDATE snapshots SET ipfs_cid = 'x' WHERE id = 'a';")),
    (
        "sql-mixed-time-formats",
        sqlite("SELECT id FROM jobs WHERE datetime(updated_at) < datetime('now', '-12 hours');"),
    ),
    ("sql-mixed-time-formats", sqlite("SELECT id FROM jobs WHERE updated_at < date('now');")),
    (
        "sql-mixed-time-formats",
        sqlite("SELECT type FROM metrics WHERE recorded_at > datetime('now', '-1 hour');", "metrics"),
    ),
    ("sql-mixed-time-formats", psql("SELECT name FROM desks WHERE opened_at > now() - interval '1 hour';")),
]


@pytest.mark.parametrize(("rule", "page"), CAUGHT)
def test_it_is_caught(tmp_path, rule, page):
    assert rule in rules_that_speak(tmp_path, page)


@pytest.mark.parametrize(("rule", "page"), LEFT_ALONE)
def test_it_is_left_alone(tmp_path, rule, page):
    del rule  # nothing else may speak of it either
    assert rules_that_speak(tmp_path, page) == set()


def test_each_rule_has_both():
    for rule in rules_sql.RULES:
        if rule.name != "sql-empty-parameter":  # below, with the shell around it
            assert rule.name in {name for name, _ in CAUGHT}, rule.name
            assert rule.name in {name for name, _ in LEFT_ALONE}, rule.name
        assert rule.help, rule.name


def test_a_finding_names_the_line_and_the_nearest_column(tmp_path):
    page = '# On call\n\n```bash\nsqlite3 .shadow-atlas/metrics.db "\nSELECT * FROM alerts\nORDER BY started_at DESC;\n"\n```\n'
    (finding,) = findings(tmp_path, page)
    assert (finding.line, finding.rule) == (6, "sql-unknown-column")
    assert finding.message == "alerts has no column started_at"
    assert "fired_at" in finding.suggestion


def test_every_unknown_column_of_a_statement_is_named(tmp_path):
    said = [finding.message for finding in findings(tmp_path, sqlite("SELECT colour, size FROM jobs;"))]
    assert said == ["jobs has no column colour", "jobs has no column size"]


def test_without_a_schema_only_the_statement_itself_is_judged(tmp_path):
    assert rules_that_speak(tmp_path, sqlite("SELECT a FROM nowhere;"), WORLD) == set()
    assert rules_that_speak(tmp_path, sqlite("SELECT a FROM;"), WORLD) == {"sql-syntax"}


def test_a_page_may_be_for_either_schema_of_one_database(tmp_path):
    assert rules_that_speak(tmp_path, sqlite("SELECT current_task FROM jobs;")) == set()
    alone = dataclasses.replace(WORLD, databases={"persistence": DATABASES["persistence"]})
    assert rules_that_speak(tmp_path, sqlite("SELECT current_task FROM jobs;"), alone) == {
        "sql-unknown-column"
    }


def test_a_database_in_a_variable_is_looked_up(tmp_path):
    script = '#!/bin/bash\nDB="${DB_PATH:-.shadow-atlas/metrics.db}"\nsqlite3 "$DB" "SELECT severity FROM alerts"\n'
    assert rules_that_speak(tmp_path, script, name="check.sh") == {"sql-unknown-column"}


def test_nothing_outside_is_touched(tmp_path):
    target = tmp_path / "made.db"
    findings(tmp_path, sqlite(f"ATTACH '{target}' AS x; CREATE TABLE x.t (a); VACUUM INTO '{target}';"))
    assert not target.exists()


# -- values that may be empty --------------------------------------------------------------------------------


def shell(script):
    return f"# Recovery\n\n```bash\n{script}\n```\n"


UPDATE = "sqlite3 .shadow-atlas/persistence.db \"UPDATE snapshots SET ipfs_cid = '$CID' WHERE id = 'a'\""


@pytest.mark.parametrize(
    "script",
    [
        UPDATE,
        f"CID=$(jq -r .cid answer.json)\n{UPDATE}",
        f"CID=\n{UPDATE}",
        UPDATE.replace("$CID", "$(jq -r .cid answer.json)"),
        f"CID=$1\n{UPDATE}",
        "sqlite3 .shadow-atlas/persistence.db <<SQL\nDELETE FROM jobs WHERE id LIKE '${PREFIX}%';\nSQL",
    ],
)
def test_a_value_that_may_be_empty_is_caught(tmp_path, script):
    assert "sql-empty-parameter" in rules_that_speak(tmp_path, shell(script))


@pytest.mark.parametrize(
    "script",
    [
        f'CID="bafy123"\n{UPDATE}',
        f': "${{CID:?from the upload}}"\n{UPDATE}',
        UPDATE.replace("$CID", "${CID:?from the upload}"),
        f'CID=$(jq -r .cid answer.json)\n[ -n "$CID" ] || exit 1\n{UPDATE}',
        f"for CID in a b; do\n{UPDATE}\ndone",
        f"set -eu\n{UPDATE}",
        f"CID=cid-$(jq -r .cid answer.json)\n{UPDATE}",
        "sqlite3 .shadow-atlas/persistence.db \"SELECT id FROM jobs WHERE id = '$ID'\"",
        "sqlite3 .shadow-atlas/persistence.db <<'SQL'\nDELETE FROM jobs WHERE id = '$ID';\nSQL",
    ],
)
def test_a_value_that_is_there_is_left_alone(tmp_path, script):
    assert rules_that_speak(tmp_path, shell(script)) == set()


def test_an_input_that_the_page_declares_is_there(tmp_path):
    head = "---\nid: x/y\ntitle: X\nseverity: p1\ninputs:\n  cid:\n    find: look\n---\n"
    assert rules_that_speak(tmp_path, head + shell(UPDATE)) == set()


# -- whatever is given ---------------------------------------------------------------------------------------


@settings(max_examples=examples(80), deadline=None)
@given(st.text(alphabet="SELECT ;'\"$-/*\n\\(ab:?{}[]<>%.", max_size=50))
def test_any_text_is_split_into_statements_whose_words_are_all_there(text):
    pieces = list(sql_reading.split(text))
    assert all(text[piece.offset :].startswith(piece.text) for piece in pieces)
    kept = re.sub(r"[\s;]", "", sql_reading.without_comments(text))
    # Put together as they stood apart: `-;-` without its semicolon would begin a comment.
    together = "\n;".join(piece.text for piece in pieces)
    assert re.sub(r"[\s;]", "", sql_reading.without_comments(together)) in (
        kept, re.sub(r"[\s;]", "", "".join(sql_reading.without_comments(piece.text) for piece in pieces)),
    )  # fmt: skip


@settings(max_examples=examples(60), deadline=None)
@given(sql=st.text(alphabet="SELECT FROM jobs WHERE id='$,()\";\n-*<>", max_size=60))
def test_any_text_is_judged_without_an_error(sql, tmp_path_factory):
    result = lint(tmp_path_factory.mktemp("any"), {"page.md": sqlite(sql)}, rules_sql.RULES, GIVEN)
    assert result.problems == ()
