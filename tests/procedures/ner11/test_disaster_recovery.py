"""Everything comes back from the folder of backups, and nothing is touched unless every archive is readable."""

from __future__ import annotations

import pytest

from procedures.ner11 import disaster_recovery
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.report import Outcome
from systems.ner11.lab import backups
from systems.ner11.lab import data
from tests import thorough
from tests.procedures.ner11 import killing
from tests.thorough import at_night

NAMED = {"models": "models", "config": "config", "volumes": "volumes", "database": "db"}
COUNT_ALL = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in data.TABLES)


def test_a_lost_host_is_recovered_with_equal_rows_models_volumes_and_configuration(serving):
    layout = serving.layout
    kept = [*layout.models.iterdir(), *layout.volume.iterdir(), *layout.config_files]
    wanted = {path: path.read_bytes() for path in kept}
    serving.break_by("host-lost")

    report = serving.execute("disaster_recovery")

    assert report.outcome is Outcome.DONE, report.reason
    assert serving.one(COUNT_ALL) == tuple(data.COUNTS[table] for table in data.TABLES)
    assert {path: path.read_bytes() for path in wanted} == wanted
    assert serving.one("SELECT has_table_privilege('ner11_app', 'vendor_equipment', 'INSERT')") == (True,)


def there(serving):
    """Every file and folder, but for what the server, the services and the procedures write themselves."""
    own = {"postgres", "journals", "logs"}
    return {path for path in serving.layout.root.rglob("*") if not own & set(path.parts)}


@pytest.mark.parametrize("what", thorough.first_of_each(NAMED, lambda what: what == "database"))
def test_one_archive_that_is_no_good_refuses_before_anything_is_touched(serving, what):
    folder = serving.settings.backup_dir / what
    for file in folder.glob("*.gz"):
        file.write_bytes(file.read_bytes()[:-30])
    serving.break_by("api-stopped")
    before = there(serving)

    with pytest.raises(Refused, match=rf"not everything can be restored: .*ner11_{NAMED[what]}"):
        serving.execute("disaster_recovery")

    assert there(serving) == before


def test_every_archive_that_is_no_good_is_named_at_once(serving):
    for what in ("models", "volumes"):
        for file in (serving.settings.backup_dir / what).glob("*.gz"):
            backups.sidecar_of(file).unlink()
    with pytest.raises(Refused, match=r"no backup of models .* no backup of volumes"):
        serving.plan("disaster_recovery")


@at_night
def test_on_a_host_that_was_not_lost_what_is_there_is_put_aside(serving):
    (serving.layout.models / "newer.pkl").write_bytes(b"trained since")
    before = there(serving)

    report = serving.execute("disaster_recovery")

    assert report.outcome is Outcome.DONE, report.reason
    (old,) = serving.layout.root.glob("models.before-*")
    assert (old / "newer.pkl").read_bytes() == b"trained since"
    assert serving.one("SELECT count(*) FROM pg_database WHERE datname ~ '^ner11_db_before_'") == (1,)

    undone = serving.undo("disaster_recovery", report)

    assert undone.outcome is Outcome.UNDONE, undone.reason
    assert there(serving) == before
    assert (serving.layout.models / "newer.pkl").read_bytes() == b"trained since"
    assert serving.one("SELECT count(*) FROM pg_database WHERE datname ~ '^ner11_db'") == (1,)


@thorough.at_night
def test_a_recovery_that_is_killed_is_resumed_to_its_end(serving):
    serving.break_by("host-lost")
    recovery = killing.after(disaster_recovery.disaster_recovery, "restore-beside")
    cut = killing.killed(serving, recovery)

    report = serving.resume("disaster_recovery", cut)

    assert report.outcome is Outcome.DONE, report.reason
    assert serving.one(COUNT_ALL) == tuple(data.COUNTS[table] for table in data.TABLES)


def test_a_system_without_models_and_volumes_is_recovered_without_them(serving):
    plan = serving.with_settings(models_dir=None, volumes=()).plan("disaster_recovery")
    assert plan.values["models_backup"] is None
    assert plan.values["config_backup"] is not None
