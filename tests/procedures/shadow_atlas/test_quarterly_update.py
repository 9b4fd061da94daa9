"""A quarterly update: it stops at every gate, a gate opens on what the data says, and the cut-over goes back."""

from __future__ import annotations

import dataclasses
import datetime

import pytest

from procedures.shadow_atlas import quarterly_update as module
from procedures.shadow_atlas import update_facts
from procedures.shadow_atlas import update_gates
from procedures.shadow_atlas.quarterly_update import quarterly_update
from procedures.shadow_atlas.update_facts import Extracted
from procedures.shadow_atlas.update_facts import Watched
from pytest_opsrunbooks.recover.engine import Outcome
from pytest_opsrunbooks.recover.procedure import Refused
from systems.shadow_atlas import merkle
from systems.shadow_atlas.faults import catalog
from systems.shadow_atlas.faults import tools
from systems.shadow_atlas.lab import adapter
from systems.shadow_atlas.lab.layout import database
from systems.shadow_atlas.lab.layout import read_json
from systems.shadow_atlas.lab.layout import write_json
from tests.procedures.shadow_atlas import miniature
from tests.procedures.shadow_atlas import new_quarter
from tests.procedures.shadow_atlas.new_quarter import HOUR

FAULTS = {fault.name: fault for fault in catalog.FAULTS}
GATES = [step.name for step in quarterly_update.steps if step.gate]
ROOM = {"free_bytes": "1"}


def active(atlas):
    return [row for (row,) in atlas.rows("SELECT id FROM snapshots WHERE deprecated_at IS NULL")]


def state(report, step):
    return {one.name: one.state for one in report.steps}[step]


class Update:
    """A run of the procedure, and the other programs around it."""

    def __init__(self, atlas):
        self.atlas = atlas
        self.before = active(atlas)
        self.report = atlas.execute(quarterly_update, **ROOM)
        self.job = None
        self.new = None

    def resume(self):
        self.report = self.atlas.resume(quarterly_update, self.report)
        return self.report

    def opens(self, gate):
        """Resuming at this gate goes on to the next stop."""
        assert state(self.report, gate) == "stopped"
        self.resume()
        assert state(self.report, gate) == "done", self.report.reason

    def stays_closed(self, gate, said):
        """Resuming changes nothing, and says why."""
        before = miniature.checksums(self.atlas.layout.data)
        self.resume()
        assert self.report.outcome is Outcome.REFUSED
        assert self.report.exit_code == 1
        assert said in self.report.reason
        assert state(self.report, gate) == "stopped"
        assert miniature.checksums(self.atlas.layout.data) == before

    def to(self, gate):
        """As far as this gate, everything being as it should."""
        atlas = self.atlas
        for step in GATES[: GATES.index(gate)]:
            if step == "phase-1-prepare":
                new_quarter.end_running_jobs(atlas)
            elif step == "phase-2-extract":
                self.job = new_quarter.extract(atlas)
            elif step == "phase-4-tree":
                new_quarter.build_tree(atlas, self.job)
            elif step == "phase-5-publish":
                self.new = new_quarter.publish(atlas, self.job)
            self.opens(step)
        return self


@pytest.fixture
def update(served):
    return Update(served)


def later(monkeypatch, hours):
    moment = new_quarter.now() + hours * HOUR
    monkeypatch.setattr(module, "_now", lambda: moment)


def test_the_whole_update_stops_at_every_gate_and_ends_with_the_new_snapshot(update, monkeypatch):
    assert GATES[0] in update.report.reason
    update.to("phase-2-extract")
    update.stays_closed("phase-2-extract", "no job has been started since this update began")
    update.job = new_quarter.extract(update.atlas)
    update.opens("phase-2-extract")
    update.opens("phase-3-validate")
    update.stays_closed("phase-4-tree", "the tree is not built yet")
    new_quarter.build_tree(update.atlas, update.job)
    update.opens("phase-4-tree")
    update.stays_closed("phase-5-publish", "the snapshot is not recorded yet")
    update.new = new_quarter.publish(update.atlas, update.job)
    assert active(update.atlas) == update.before
    update.opens("phase-5-publish")
    assert state(update.report, "cut-over") == "done"
    assert active(update.atlas) == [update.new]
    update.opens("phase-6-cut-over")
    update.stays_closed("phase-7-watch", "it is watched until")
    began = new_quarter.now()
    new_quarter.record_proofs(update.atlas, began + 0.5 * HOUR, succeeded=60)
    new_quarter.record_proofs(update.atlas, began + 5 * HOUR, succeeded=60, failed=1)
    later(monkeypatch, 9.1)
    update.resume()
    assert update.report.outcome is Outcome.DONE, update.report.reason
    assert active(update.atlas) == [update.new]
    assert update.atlas.undo(quarterly_update, update.report).outcome is Outcome.UNDONE
    assert active(update.atlas) == update.before


def test_a_dry_run_changes_nothing(served):
    before = miniature.checksums(served.layout.root)
    report = served.plan(quarterly_update, quarter="2026-Q4")
    assert [step.name for step in report.steps if step.gate] == GATES
    assert len(GATES) == 7
    assert "persistence-pre-q42026.db" in report.steps[1].summary
    assert miniature.checksums(served.layout.root) == before


def test_the_first_gate_looks_at_jobs_backups_room_and_the_database(update):
    update.stays_closed("phase-1-prepare", "jobs are running: job-")
    new_quarter.end_running_jobs(update.atlas)
    FAULTS["backup-corrupt"].inject(update.atlas.layout.root)
    update.stays_closed("phase-1-prepare", "persistence-")
    for path in update.atlas.layout.backups.iterdir():
        path.unlink()
    update.stays_closed("phase-1-prepare", "there is no backup")


def test_the_first_gate_needs_room(served):
    new_quarter.end_running_jobs(served)
    report = served.execute(quarterly_update, free_bytes=str(1 << 62))
    report = served.resume(quarterly_update, report)
    assert "bytes are free" in report.reason


def test_a_backup_of_its_own_is_made_behind_the_first_gate(update):
    update.to("phase-2-extract")
    copy = update.report.values["update_backup"]
    assert "/backups/persistence-pre-q" in copy
    assert miniature.everything(copy) == miniature.everything(update.atlas.layout.persistence)


def test_an_extraction_of_too_few_states_or_tasks_keeps_the_second_gate_closed(update):
    update.to("phase-2-extract")
    new_quarter.extract(update.atlas, states=("WY", "CO", "CA"))
    update.stays_closed("phase-2-extract", "3 states are extracted, not 50")


def test_a_job_whose_file_says_something_else_keeps_the_second_gate_closed(update):
    update.to("phase-2-extract")
    job = new_quarter.extract(update.atlas)
    path = update.atlas.layout.jobs / f"{job.id}.json"
    write_json(path, {**read_json(path), "status": "running"})
    update.stays_closed("phase-2-extract", "its file says running, its row completed")


def test_validations_that_fail_keep_the_third_gate_closed(update):
    update.to("phase-3-validate")
    with database(update.atlas.layout.persistence) as connection:
        connection.execute(
            "UPDATE validation_results SET passed = 0 WHERE extraction_id IN"
            " (SELECT id FROM extractions WHERE job_id = ? AND layer_type = 'state_house')",
            (update.job.id,),
        )
    update.stays_closed("phase-3-validate", "66.7% of 150 validations passed, less than 90 %")


def test_a_sample_proof_that_does_not_fold_keeps_the_fourth_gate_closed(update):
    update.to("phase-4-tree")
    new_quarter.build_tree(update.atlas, update.job)
    snapshot = read_json(next(update.atlas.layout.snapshots.glob("snapshot-v3-*")))
    path = update.atlas.layout.proofs / f"proofs-{snapshot['id']}.json"
    document = read_json(path)
    template = document["templates"]["US-TX-15"]
    template["siblings"][0] = merkle.unpadded_hex(7)
    write_json(path, document)
    update.stays_closed("phase-4-tree", "TX-15: folds to 0x")
    del document["templates"]["US-WY-01"]
    write_json(path, document)
    update.stays_closed("phase-4-tree", "has no proof for leaf")


def test_a_snapshot_that_cannot_be_fetched_keeps_the_fifth_gate_closed(update):
    update.to("phase-5-publish")
    new_quarter.publish(update.atlas, update.job)
    tools.misbehave({"gateway-2": {"kind": "wrong-bytes"}})(update.atlas.layout.root)
    update.stays_closed("phase-5-publish", "1 of 2 gateways serve")
    assert active(update.atlas) == update.before


def test_a_snapshot_without_a_cid_keeps_the_fifth_gate_closed(update):
    update.to("phase-5-publish")
    new_quarter.publish(update.atlas, update.job, cid="")
    update.stays_closed("phase-5-publish", "retry_ipfs_upload")


def test_smoke_tests_that_fail_take_the_cut_over_back(update):
    update.to("phase-5-publish")
    new_quarter.publish(update.atlas, update.job)
    tools.statements("DELETE FROM snapshot_regions WHERE state_code = 'US-WY'")(update.atlas.layout.root)
    report = update.resume()
    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert "snapshot_regions and regions differ in WY" in report.reason
    assert active(update.atlas) == update.before


def test_the_sixth_gate_rolls_back_what_is_not_sound_any_more(update):
    update.to("phase-6-cut-over")
    tools.misbehave({"serving": {"kind": "health", "status": "unhealthy"}})(update.atlas.layout.root)
    report = update.resume()
    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert "unhealthy" in report.reason
    assert active(update.atlas) == update.before


def test_proofs_that_fail_roll_the_update_back(update):
    update.to("phase-7-watch")
    new_quarter.record_proofs(update.atlas, new_quarter.now() + 0.1 * HOUR, succeeded=8, failed=2)
    report = update.resume()
    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert "80.0% of the proofs of the first hour succeeded" in report.reason
    assert active(update.atlas) == update.before


def test_a_new_alert_keeps_the_last_gate_closed(update, monkeypatch):
    update.to("phase-7-watch")
    began = new_quarter.now()
    for hours in (0.5, 5):
        new_quarter.record_proofs(update.atlas, began + hours * HOUR, succeeded=60)
    with database(update.atlas.layout.metrics) as connection:
        connection.execute(
            "INSERT INTO alerts (name, status, fired_at) VALUES ('ServiceDown', 'firing', ?)",
            ((began + HOUR).isoformat(),),
        )
    later(monkeypatch, 9.1)
    update.stays_closed("phase-7-watch", "a new alert fires: ServiceDown")


def test_retrievals_that_fail_roll_the_update_back(update):
    update.to("phase-7-watch")
    monkey = {"kind": "status", "status": 504}
    tools.misbehave({"gateway-1": monkey, "gateway-2": monkey})(update.atlas.layout.root)
    report = update.resume()
    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert "100.0% of retrievals fail" in report.reason
    assert active(update.atlas) == update.before


def test_a_stopped_update_can_be_taken_back(update):
    update.to("phase-4-tree")
    before = miniature.everything(update.atlas.layout.persistence)
    assert update.atlas.undo(quarterly_update, update.report).outcome is Outcome.UNDONE
    assert miniature.everything(update.atlas.layout.persistence) == before


def test_what_cannot_be_updated_is_refused(served):
    with pytest.raises(Refused, match="it must match"):
        served.execute(quarterly_update, quarter="2026-Q5")
    FAULTS["snapshot-two-active"].inject(served.layout.root)
    with pytest.raises(Refused, match=r"2 snapshots are active.*restore_active_snapshot"):
        served.execute(quarterly_update)
    adapter.rewrite(served.layout)
    with pytest.raises(Refused, match="have no deprecated_at"):
        served.execute(quarterly_update)


# -- the judgements ------------------------------------------------------------------------------------------

GOOD = Extracted(
    job_id="job-1", status="completed", total=150, not_configured=1, extracted=149, passed=149, validated=149,
    validated_passed=149, states=50, layers=3, congressional=435, boundaries=7818,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"status": "partial", "extracted": 135, "passed": 135}, []),
        ({"status": "running"}, ["job-1 is running"]),
        ({"extracted": 134, "passed": 134}, ["tasks done: 89.9%"]),
        # Exactly the limit is not more than it.
        ({"total": 101, "extracted": 90, "passed": 90}, ["tasks done: 90.0%"]),
        ({"passed": 141}, ["extractions valid: 94.6%"]),
        ({"states": 49}, ["49 states"]),
        ({"layers": 2}, ["2 layers"]),
        ({"total": 0, "not_configured": 0, "extracted": 0, "passed": 0}, ["tasks done: 0.0%", "valid: 0.0%"]),
    ],
)
def test_the_extraction_is_judged_by_its_figures(changes, said):
    problems = update_gates.extract(dataclasses.replace(GOOD, **changes), None)
    assert len(problems) == len(said)
    assert all(text in problem for text, problem in zip(said, problems, strict=True))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"validated_passed": 135, "validated": 150}, []),
        ({"validated_passed": 134, "validated": 150}, ["89.3% of 150"]),
        ({"validated": 0}, ["nothing of job-1"]),
        ({"congressional": 434}, ["434 congressional"]),
    ],
)
def test_validation_is_judged_by_its_figures(changes, said):
    problems = update_gates.validate(dataclasses.replace(GOOD, **changes))
    assert len(problems) == len(said)
    assert all(text in problem for text, problem in zip(said, problems, strict=True))


BEGAN = datetime.datetime(2026, 11, 20, 14, tzinfo=datetime.UTC)
FINE = Watched(first_hour=0.99, after=0.96, retrieval=1.0, new_alerts=())


@pytest.mark.parametrize(
    ("seen", "closed", "rolled_back"),
    [
        (FINE, False, False),
        (dataclasses.replace(FINE, first_hour=0.98), True, False),
        (dataclasses.replace(FINE, after=0.95), True, False),
        (dataclasses.replace(FINE, after=0.89), True, True),
        (dataclasses.replace(FINE, first_hour=None), True, False),
        (dataclasses.replace(FINE, retrieval=None), True, False),
        (dataclasses.replace(FINE, retrieval=0.95), True, False),
        (dataclasses.replace(FINE, retrieval=0.94), True, True),
        (dataclasses.replace(FINE, new_alerts=("x",)), True, False),
        (dataclasses.replace(FINE, error="locked"), True, False),
    ],
)
def test_watching_is_judged_by_its_figures(seen, closed, rolled_back):
    assert bool(update_gates.watch(seen, BEGAN, BEGAN + 10 * HOUR, 9.0)) is closed
    assert bool(update_gates.rollback_triggers(seen, ())) is rolled_back
    assert update_gates.watch(seen, BEGAN, BEGAN + 8 * HOUR, 9.0) != []
    assert update_gates.rollback_triggers(seen, ("persistence.db: malformed",)) != []


def test_the_job_of_an_update_is_the_largest_since_it_began(served):
    began = new_quarter.now()
    small = new_quarter.extract(served, states=("WY",))
    assert update_facts.newest_job(served.settings, began) == small.id
    large = new_quarter.extract(served)
    assert update_facts.newest_job(served.settings, began) == large.id
    assert update_facts.newest_job(served.settings, began + HOUR) is None
