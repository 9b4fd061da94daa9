"""NER11's pages agree with its checks, limits, policy, procedures and faults."""

from __future__ import annotations

import functools
import importlib
import pathlib
import re

import pytest

from procedures import ner11 as procedures
from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.runbooks import index
from systems.ner11.faults import paths
from systems.ner11.faults.catalog import FAULTS
from systems.ner11.observe import backups
from systems.ner11.policy import POLICY
from systems.ner11.settings import Limits
from systems.ner11.settings import Ner11

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "runbooks" / "ner11"
SECTIONS = ["Detection", "Impact", "Diagnosis", "Resolution", "Verification", "Escalation", "Prevention"]
ASKED_FOR = {
    "startup", "service-control", "api-not-responding", "database-connections", "data-corruption",
    "model-loading", "network-connectivity", "backup-recovery", "monitoring", "disk-space",
    "maintenance-windows", "performance-degradation", "resource-scaling", "capacity-planning",
}  # fmt: skip

if not FOLDER.is_dir():
    pytest.skip("the pages of NER11 are not written", allow_module_level=True)

PAGES = {each.id.removeprefix("ner11/"): each for each in index.read_pages(FOLDER)}

every_page = pytest.mark.parametrize("name", sorted(PAGES))


@functools.cache
def checks():
    """Each check's marks by its name, as the probes declare it."""
    found = {}
    for path in sorted((ROOT / "probes" / "ner11").glob("test_*.py")):
        module = importlib.import_module(f"probes.ner11.{path.stem}")
        for name, value in vars(module).items():
            if name.startswith("test_"):
                found[name] = {mark.name: mark for mark in getattr(value, "pytestmark", ())}
    return found


def levels(name):
    """The severities of a check, each with its limit where it has one."""
    marks = checks()[name]
    if "levels" in marks:
        return {Severity(k): v for k, v in marks["levels"].kwargs.items() if k != "runbook"}
    return {severity: None for severity in Severity if severity.value in marks}


def page_of(name):
    return next((m.kwargs["runbook"] for m in checks()[name].values() if "runbook" in m.kwargs), None)


@functools.cache
def text_of(name):
    return PAGES[name].path.read_text(encoding="utf-8")


def rows_of_detection(name):
    """What the table says of each check: its severities by name, each with the words before it."""
    found: dict[str, dict[str, str]] = {}
    check = ""
    for first, words, severity in re.findall(r"^\|(.*)\|(.*)\| ([A-Z]{4,}) \|$", text_of(name), re.MULTILINE):
        check = named[0] if (named := re.findall(r"test_\w+", first)) else check
        found.setdefault(check, {})[severity] = words.strip()
    return found


def test_every_page_that_the_checks_need_is_there():
    assert set(PAGES) >= ASKED_FOR
    sent = {page_of(check) for check in checks()} - {None}
    assert sent <= {f"ner11/{name}" for name in PAGES}


def test_the_index_is_up_to_date():
    assert index.stale(FOLDER) is None


@every_page
def test_a_page_has_the_seven_sections_and_says_first_what_to_do_first(name):
    assert [each.title for each in PAGES[name].headings if each.level == 2] == SECTIONS
    assert text_of(name).partition("\n---\n")[2].lstrip().startswith("**First: ")


@every_page
def test_a_page_has_an_owner_a_review_and_symptoms_for_the_index(name):
    head = PAGES[name].head
    assert head.owner
    assert head.last_reviewed
    assert head.review_every_days
    assert head.symptoms


@every_page
def test_the_page_detects_what_the_checks_send_to_it_and_is_as_severe_as_the_worst(name):
    sent = {check for check in checks() if page_of(check) == f"ner11/{name}"}
    head = PAGES[name].head
    assert set(head.detects) == sent
    assert head.severity == min(severity for check in sent for severity in levels(check))


@every_page
def test_every_severity_of_a_check_stands_in_the_table_by_the_name_that_the_policy_gives_it(name):
    said = rows_of_detection(name)
    for check in PAGES[name].head.detects:
        assert set(said[check]) == {POLICY.of(severity).name for severity in levels(check)}, check


@pytest.mark.parametrize("check", sorted(name for name in checks() if "levels" in checks()[name]))
def test_every_limit_of_a_check_with_levels_stands_beside_its_severity(check):
    page = page_of(check)
    assert page is not None
    said = rows_of_detection(page.removeprefix("ner11/"))[check]
    for severity, limit in levels(check).items():
        words = said[POLICY.of(severity).name]
        assert f"{limit * 100:g} %" in words, words


LIMITS = Limits()
FIGURES = {
    "test_the_newest_backup_is_recent": f"{LIMITS.backup_hours:g} hours",
    "test_the_newest_backup_is_whole": f"{Ner11().backup_minimum_bytes / 2**20:g} MiB",
    "test_no_log_is_large": f"{LIMITS.log_bytes / 2**20:g} MiB",
    "test_no_maintenance_is_left_open": f"{LIMITS.maintenance_hours:g} hours",
    "test_dead_rows_are_few": f"{LIMITS.dead_ratio:.0%}".replace("%", " %"),
    "test_api_median_is_below_200_ms": f"{1000 * LIMITS.api_median_seconds:g} ms",
    "test_api_p95_is_below_500_ms": f"{1000 * LIMITS.api_p95_seconds:g} ms",
    "test_api_errors_are_few": f"{100 * LIMITS.api_error_ratio:g} %",
    "test_the_inference_queue_is_short": f"{LIMITS.inference_queue} requests",
    "test_inference_p95_is_below_500_ms": f"{1000 * LIMITS.inference_p95_seconds:g} ms",
    "test_load_is_low": f"above {LIMITS.load_1_minute:.1f} over 1 minute, or above {LIMITS.load_5_minutes:g}",
    "test_cache_hit_ratio_is_high": f"{LIMITS.cache_hit_ratio:.0%}".replace("%", " %"),
    "test_no_session_waits_for_a_lock": f"{LIMITS.lock_wait_seconds:g} s",
    "test_replication_keeps_up": f"{LIMITS.replication_lag_seconds:g} s",
}


@pytest.mark.parametrize(("check", "figure"), FIGURES.items(), ids=FIGURES)
def test_the_documented_limit_of_a_check_stands_beside_it(check, figure):
    said = rows_of_detection(str(page_of(check)).removeprefix("ner11/"))[check]
    assert any(figure in words for words in said.values()), said


def test_the_ages_of_archives_are_those_that_the_check_goes_by():
    text = " ".join(text_of("backup-recovery").split())
    ages = backups.MAX_AGE_HOURS
    assert f"volumes {ages['volumes']:g} hours" in text
    assert f"full system {ages['full_system'] / 24:g} days" in text
    assert ages["models"] == ages["config"]
    assert f"models and configuration {ages['models'] / 24:g} days" in text


@every_page
def test_conditions_and_verifications_name_whole_checks(name):
    page = PAGES[name]
    named = {*page.diagnosis.checks(), *(check for path in page.paths.values() for check in path.checks())}
    assert {each.partition("[")[0] for each in named} <= checks().keys()
    assert set(page.paths) == set(page.diagnosis.letters())


@every_page
def test_every_path_says_what_must_hold_after_it_and_one_without_commands_why_it_has_no_drill(name):
    for letter, path in PAGES[name].paths.items():
        assert path.checks(), letter
        assert path.no_drill or any(step.executable for step in path.steps), letter


@every_page
def test_every_procedure_that_a_page_names_exists_with_its_inputs(name):
    known = {each.full_name: each for each in procedures.collect()}
    called = re.findall(r"(ner11\.[a-z]\w+)((?: --set \S+)*)", text_of(name))
    # A table of the settings is written like a procedure.
    named = [(full, given) for full, given in called if full != "ner11.limits"]
    for full_name, given in named:
        assert full_name in known
        assert set(re.findall(r"--set (\w+)=", given)) <= known[full_name].inputs.keys()


_MINUTES = {"minute": 1.0, "hour": 60.0}


@every_page
def test_the_times_of_escalation_are_those_of_the_policy(name):
    section = text_of(name).partition("## Escalation")[2].partition("## Prevention")[0]
    items = [" ".join(item.split()) for item in re.split(r"^- ", section, flags=re.MULTILINE)[1:]]
    promised = 0
    for severity in Severity:
        of = POLICY.of(severity)
        for item in (item for item in items if item.startswith(f"{of.name}:")):
            at_work = re.search(r"(?:at work in |: )(\d+) (minute|hour)", item)
            if of.respond_seconds is not None:
                assert at_work is not None, item
                assert float(at_work[1]) * _MINUTES[at_work[2]] * 60 == of.respond_seconds, item
                promised += 1
            for escalation in of.escalations:
                found = re.search(rf"{escalation.to} after (\d+) (minute|hour)", item)
                if found is not None:
                    assert float(found[1]) * _MINUTES[found[2]] * 60 == escalation.after_seconds, item
    worst = PAGES[name].head.severity
    assert promised or POLICY.of(worst).respond_seconds is None


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: each.name)
def test_a_fault_names_a_path_that_its_page_has(fault: Fault):
    name = fault.runbook.removeprefix("ner11/")
    assert fault.check.partition("[")[0] in PAGES[name].head.detects
    assert fault.path is None or fault.path in PAGES[name].paths


def test_every_answer_is_to_a_fault_of_that_page():
    known = {(fault.runbook, fault.name) for fault in FAULTS}
    assert paths.PATHS.keys() <= known


def test_a_fault_without_a_path_is_one_of_which_the_page_asks_a_person():
    asked = {fault.name for fault in FAULTS if fault.path is None}
    assert asked == {"rows-differ-after-maintenance"}
