"""A migration begins with a proven backup; a release goes back only to a revision that there is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.report import Outcome
from systems.ner11.lab import postgres
from systems.ner11.settings import Commands

CREATES = """
import sys, psycopg
with psycopg.connect(open(sys.argv[1]).read().strip(), autocommit=True) as session:
    session.execute("CREATE TABLE IF NOT EXISTS threat_intelligence (id bigint PRIMARY KEY)")
"""


def migrating(serving, *command):
    return serving.with_settings(commands=Commands(migrate=command))


def dumps(serving):
    return set((serving.settings.backup_dir / "database").glob("*.sql.gz"))


def test_a_migration_brings_missing_tables_after_a_backup_was_proven(serving):
    serving.break_by("table-dropped")
    before = dumps(serving)

    url_file = str(serving.layout.database_url_file)
    report = migrating(serving, sys.executable, "-c", CREATES, url_file).execute("migrate")

    assert report.outcome is Outcome.DONE, report.reason
    assert len(dumps(serving) - before) == 1
    assert serving.one("SELECT to_regclass('threat_intelligence') IS NOT NULL") == (True,)


def test_a_migration_that_does_not_bring_them_fails_and_names_the_backup_to_go_back_to(serving):
    serving.break_by("table-dropped")

    before = dumps(serving)
    report = migrating(serving, "true").execute("migrate")

    assert report.outcome is Outcome.NOT_UNDONE
    (new,) = dumps(serving) - before
    assert str(new) in report.what_to_do + report.reason
    assert "these tables are not there: threat_intelligence" in report.reason
    assert "ner11.restore_database --set backup=" in report.what_to_do + report.reason


def test_where_no_table_is_there_yet_nothing_is_backed_up(serving):
    with postgres.connection(serving.layout) as session:
        session.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    plan = migrating(serving, "true").plan("migrate")
    assert plan.values["file"] is None
    assert set(plan.values["missing"]) == set(serving.settings.tables)


def test_without_a_command_it_is_said_which_is_missing(serving):
    with pytest.raises(Refused, match="migrate is not set; add to"):
        serving.plan("migrate")
    with pytest.raises(Refused, match="roll_back_code is not set; add to"):
        serving.plan("roll_back_code", revision="v1")


@pytest.fixture
def released(serving, tmp_path):
    """The code in a repository with two releases, the second of which is in place."""
    folder = tmp_path / "code"
    folder.mkdir()

    def git(*arguments):
        identity = ("-c", "user.name=A Test", "-c", "user.email=test@example.org")
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "--quiet")
    for release in ("v1", "v2"):
        (folder / "docker-compose.yml").write_text(f"# {release}\n")
        git("add", ".")
        git("commit", "--quiet", "--message", release)
        git("tag", release)
    command = ("git", "-C", str(folder), "checkout", "--quiet", "{revision}")
    changed = serving.with_settings(
        config_files=(folder / "docker-compose.yml",), commands=Commands(roll_back_code=command)
    )
    return changed, folder, git


def test_the_release_before_is_put_in_place_and_back(released):
    serving, folder, git = released

    report = serving.execute("roll_back_code", revision="v1")

    assert report.outcome is Outcome.DONE, report.reason
    assert (folder / "docker-compose.yml").read_text() == "# v1\n"
    assert serving.undo("roll_back_code", report).outcome is Outcome.UNDONE
    assert git("rev-parse", "HEAD") == git("rev-parse", "v2")


def test_a_command_that_puts_another_revision_in_place_is_no_rollback(released):
    serving, _, git = released

    report = serving.with_settings(commands=Commands(roll_back_code=("true", "{revision}"))).execute(
        "roll_back_code", revision="v1"
    )

    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert "not at v1" in report.reason
    assert git("rev-parse", "HEAD") == git("rev-parse", "v2")


@pytest.mark.parametrize("revision", ["--force", "v1..v2", "../up", "v1; rm -r .", "no-such-tag"])
def test_what_is_no_revision_is_refused(released, revision):
    serving, _, _ = released
    with pytest.raises(Refused, match=r"is no commit, tag or branch|has no revision"):
        serving.plan("roll_back_code", revision=revision)


def test_without_an_engine_there_is_no_network_to_reconnect(serving):
    with pytest.raises(Refused, match="container_host is not set"):
        serving.plan("reconnect_network")
