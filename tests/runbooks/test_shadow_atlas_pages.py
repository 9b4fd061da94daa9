"""The pages of Shadow Atlas say what is so: every check, path, procedure and number in them is the real one."""

from __future__ import annotations

import functools
import importlib
import pathlib
import re

import pytest

from procedures import shadow_atlas as procedures
from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.runbooks import index
from pytest_opsrunbooks.runbooks import page
from pytest_opsrunbooks.runbooks import policy_table
from systems.shadow_atlas.alerts import SEVERITIES
from systems.shadow_atlas.faults.catalog import FAULTS
from systems.shadow_atlas.policy import POLICY
from systems.shadow_atlas.settings import Commands
from systems.shadow_atlas.settings import Provider
from systems.shadow_atlas.settings import ShadowAtlas

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "runbooks" / "shadow-atlas"
PAGES = {each.id: each for each in index.read_pages(FOLDER)}
RUNBOOKS = {name: each for name, each in PAGES.items() if each.diagnosis is not None}
SECTIONS = ["Detection", "Impact", "Diagnosis", "Resolution", "Verification", "Escalation", "Prevention"]
ASKED_FOR = {
    "incident-response", "on-call-guide", "operations-guide", "data-corruption", "merkle-root-mismatch",
    "high-latency", "upstream-failure", "ipfs-unavailable", "error-rate", "memory-exhaustion", "stuck-jobs",
    "merkle-tree-rebuild", "cache-invalidation", "backup-restore", "scaling", "dashboard-guide", "alert-triage",
    "metrics-reference", "quarterly-update", "shift-handoff",
}  # fmt: skip

every_page = pytest.mark.parametrize("name", sorted(PAGES))
every_runbook = pytest.mark.parametrize("name", sorted(RUNBOOKS))


@functools.cache
def checks():
    """Each check's function by its name, as the probes declare it."""
    found = {}
    for path in sorted((ROOT / "probes" / "shadow_atlas").glob("test_*.py")):
        module = importlib.import_module(f"probes.shadow_atlas.{path.stem}")
        found |= {name: value for name, value in vars(module).items() if name.startswith("test_")}
    return found


def marks(name):
    """A check's marks by their name."""
    return {mark.name: mark for mark in getattr(checks()[name], "pytestmark", ())}


def levels(name):
    """The severities of a check, each with its limit where it has one."""
    found = marks(name)
    if "levels" in found:
        return {key: value for key, value in found["levels"].kwargs.items() if key != "runbook"}
    return {severity: None for severity in Severity if severity.value in found}


def runbook_of(name):
    return next((mark.kwargs["runbook"] for mark in marks(name).values() if "runbook" in mark.kwargs), None)


def text_of(name):
    return PAGES[name].path.read_text()


def plain(name):
    """A page's text with its line breaks taken out of sentences."""
    return " ".join(text_of(name).split())


def test_every_page_that_operators_need_is_there():
    assert {name.removeprefix("shadow-atlas/") for name in PAGES} == ASKED_FOR


def test_the_index_is_up_to_date():
    assert index.stale(FOLDER) is None


@every_runbook
def test_a_runbook_has_the_seven_sections_in_order(name):
    assert [each.title for each in PAGES[name].headings if each.level == 2] == SECTIONS


@every_page
def test_a_page_says_first_what_to_do_first(name):
    body = text_of(name).partition("\n---\n")[2].lstrip()
    assert body.startswith("**"), body[:60]


@every_page
def test_a_page_has_an_owner_a_review_and_symptoms_for_the_index(name):
    head = PAGES[name].head
    assert head.owner
    assert head.last_reviewed
    assert head.review_every_days
    assert head.symptoms or name.endswith("index")


@every_page
def test_every_check_that_a_page_names_exists(name):
    named = set(re.findall(r"\btest_\w+", text_of(name)))
    # What `-k` is given may be the beginning of several names.
    unknown = {each for each in named if not any(known.startswith(each) for known in checks())}
    assert unknown == set()


@every_runbook
def test_conditions_and_verifications_name_whole_checks(name):
    runbook = RUNBOOKS[name]
    named = {*runbook.diagnosis.checks(), *(c for path in runbook.paths.values() for c in path.checks())}
    assert {each.partition("[")[0] for each in named} - checks().keys() == set()


@every_runbook
def test_the_page_detects_what_the_checks_send_to_it(name):
    sent = {check for check in checks() if runbook_of(check) == name}
    assert set(RUNBOOKS[name].head.detects) == sent


@every_runbook
def test_the_page_is_as_severe_as_its_worst_check(name):
    sent = [severity for check in RUNBOOKS[name].head.detects for severity in levels(check)]
    if sent:
        assert RUNBOOKS[name].head.severity == min(sent)


@every_runbook
def test_every_severity_of_a_check_stands_in_the_table_of_detection(name):
    rows = re.findall(r"^\|(.*)\|(.*)\| (P\d) \|$", text_of(name), re.MULTILINE)
    said: dict[str, set[str]] = {}
    check = ""
    for first, _, severity in rows:
        check = found[0] if (found := re.findall(r"test_\w+", first)) else check
        said.setdefault(check, set()).add(severity.lower())
    for detected in RUNBOOKS[name].head.detects:
        assert said.get(detected) == {str(severity) for severity in levels(detected)}, detected


def spelled(limit):
    """How a limit may be written."""
    if limit >= 1_000_000_000:
        return {f"{limit / 1e9:g} GB"}
    if isinstance(limit, float) and 0 < limit <= 1:
        return {f"{limit * 100:g} %"}
    if limit == 0:
        return {"any"}
    return {f"{limit:g} s", f"{limit:g} d", f"{limit:g} jobs", f"more than {limit:g}", f"{limit:g} days"}


@pytest.mark.parametrize("name", sorted(name for name in checks() if "levels" in marks(name)))
def test_every_limit_stands_on_its_page_and_in_the_metrics_reference(name):
    pages = {runbook_of(name), "shadow-atlas/metrics-reference"}
    for page_id in pages:
        lines = text_of(page_id).split("\n")
        at = next((n for n, line in enumerate(lines) if line.startswith(f"| `{name}` |")), None)
        if at is None and name == "test_pinning_quota_used_is_below":
            continue  # the reference is of what metrics say, and of the host
        assert at is not None, f"{page_id} has no line for {name}"
        rows = [lines[at]]
        rows += [line for line in lines[at + 1 : at + 3] if line.startswith("| |")]
        told = " ".join(rows)
        for severity, limit in levels(name).items():
            assert any(form in told for form in spelled(limit)), (page_id, severity, limit, told)


def seconds_of(figure, unit):
    """`15` alone is minutes."""
    size = {"minute": 60, "min": 60, "hour": 3600, "h": 3600}
    return float(figure) * size[unit.rstrip("s") or "min"]


_TIME = r"(\d+)(?: (minutes?|min|hours?|h)\b)?"
_ROLES = {"Tech Lead": "tech lead", "secondary": "secondary on-call", "CTO": "CTO"}


def promises(name):
    """Each item of Escalation with the severity that it is about: its own, else that of the item before."""
    section = text_of(name).partition("## Escalation")[2].partition("## Prevention")[0]
    severity = RUNBOOKS[name].head.severity
    for item in re.split(r"^- ", section, flags=re.MULTILINE)[1:]:
        said = " ".join(item.split())
        own = re.match(r"P(\d)\b", said)
        severity = Severity(f"p{own[1]}") if own else severity
        yield severity, said


@every_runbook
def test_escalation_agrees_with_the_policy(name):
    """Acknowledging, being at work, updating, bringing in; a page may be stricter, and never slacker."""
    judged = 0
    for severity, said in promises(name):
        wanted = POLICY.of(severity)
        limits = [
            (rf"acknowledge in {_TIME}", wanted.acknowledge_seconds),
            (rf"at work in {_TIME}", wanted.respond_seconds),
            (rf"[Uu]pdate every {_TIME}", wanted.update_seconds),
        ]
        for escalation in wanted.escalations:
            role = next((role for role, to in _ROLES.items() if to == escalation.to), None)
            if role is not None:
                limits.append((rf"{role}[\w :-]*? (?:at|after) {_TIME}", escalation.after_seconds))
        for words, limit in limits:
            for figure, unit in re.findall(words, said):
                judged += 1
                assert seconds_of(figure, unit) <= limit, said
    if RUNBOOKS[name].head.detects and name != "shadow-atlas/alert-triage":
        assert judged or RUNBOOKS[name].head.severity >= Severity.P2, "it promises nothing"


def test_tables_of_the_policy_are_made_from_it():
    marked = [path for path in (ROOT / "runbooks").rglob("*.md") if policy_table.BEGIN in path.read_text()]
    assert len(marked) >= 4
    for path in marked:
        text = path.read_text()
        assert text == policy_table.filled(text, POLICY), f"in {path} belongs:\n{policy_table.table(POLICY)}"


def test_the_triage_table_gives_each_rule_its_severity():
    rows = re.findall(r"^\| (`.*?`) \| (P\d) \| (.*) \|$", text_of("shadow-atlas/alert-triage"), re.MULTILINE)
    said = {
        rule: (Severity(severity.lower()), target)
        for rules, severity, target in rows
        for rule in re.findall(r"`(\w+)`", rules)
        if not rule.startswith("test_")
    }
    assert {rule: severity for rule, (severity, _) in said.items()} == dict(SEVERITIES)


# -- procedures ----------------------------------------------------------------------------------------------


def known_procedures():
    return {each.full_name: each for each in procedures.collect()}


@every_page
def test_every_procedure_that_a_page_runs_exists_with_its_inputs(name):
    known = known_procedures()
    for line in text_of(name).split("\n"):
        for called in re.findall(r"opsrunbooks run (shadow_atlas\.\w+)((?: --set \S+| --execute)*)", line):
            assert called[0] in known, line
            inputs = set(re.findall(r"--set (\w+)=", called[1]))
            assert inputs <= known[called[0]].inputs.keys(), line
    assert set(re.findall(r"\bshadow_atlas\.[a-z_]+", text_of(name))) <= known.keys()


def test_every_setting_that_a_page_names_exists():
    settings = {name for of in (ShadowAtlas, Provider, Commands) for name in of.__dataclass_fields__}
    for name in PAGES:
        for setting in re.findall(r"`(\w+)`(?: and `\w+`)? (?:of|in) `opsrunbooks\.toml`", plain(name)):
            assert setting in {*settings, "commands"}, (name, setting)


# -- paths ---------------------------------------------------------------------------------------------------


@every_runbook
def test_every_path_is_reached_by_the_diagnosis(name):
    runbook = RUNBOOKS[name]
    assert set(runbook.paths) == set(runbook.diagnosis.letters())


@every_runbook
def test_every_path_says_what_must_hold_after_it(name):
    for letter, path in RUNBOOKS[name].paths.items():
        assert path.checks(), letter


@every_runbook
def test_a_path_without_commands_says_why_it_has_no_drill(name):
    for letter, path in RUNBOOKS[name].paths.items():
        if not any(step.executable for step in path.steps):
            assert path.no_drill, letter


@every_runbook
def test_a_backup_comes_before_what_replaces_data(name):
    """Within a path: nothing that replaces a database or files before a copy of what is there."""
    replacing = (
        "recover_in_place",
        "restore_backup",
        "rebuild_from_ipfs",
        "replace_metrics",
        "rebuild_merkle",
    )
    for letter, path in RUNBOOKS[name].paths.items():
        steps = [step for step in path.steps if step.executable]
        first = next((n for n, s in enumerate(steps) if any(r in s.code for r in replacing)), None)
        if first is not None:
            assert any("emergency_backup" in step.code for step in steps[: first + 1]), letter


@every_runbook
def test_every_variable_of_a_step_is_an_input_of_the_page_or_set_in_its_block(name):
    inputs = {each.variable for each in RUNBOOKS[name].head.inputs}
    for path in RUNBOOKS[name].paths.values():
        for step in path.steps:
            used = set(re.findall(r"\$\{?([A-Z_]{2,})\b", step.code))
            given = set(re.findall(r"^\s*([A-Z_]+)=", step.code, re.MULTILINE))
            assert used - given <= inputs | {"METRICS_AUTH_TOKEN"}, (path.letter, step.line)


@pytest.mark.parametrize("fault", [each for each in FAULTS if each.path], ids=lambda each: each.name)
def test_a_fault_names_a_path_that_its_page_has(fault: Fault):
    assert fault.path in page.read(ROOT / "runbooks" / f"{fault.runbook}.md").paths
