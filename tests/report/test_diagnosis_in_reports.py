"""What a page's decision tree said, in each report."""

from __future__ import annotations

import dataclasses

import jsonschema
import pytest

from pytest_opsrunbooks.report import html_page
from pytest_opsrunbooks.report import jsonfile
from pytest_opsrunbooks.report import terminal
from tests.report import example
from tests.report.parsing import parse


def told(result, *, width=80, verbosity=0):
    lines = terminal.lines(result, width=width, verbosity=verbosity, now=example.NOW)
    return [line.text for line in lines]


def section(diagnosis):
    return parse(html_page.incident_html(example.diagnosed(diagnosis))).one(css_class="ops-diagnosis")


def test_the_terminal_tells_path_reason_and_first_command():
    lines = told(example.diagnosed())
    at = lines.index("  path C: restore from backup")
    assert lines[at + 1 : at + 6] == [
        "    why: `test_persistence_database_is_intact` fails, and",
        "      `test_a_backup_is_restorable` passes",
        "    Stop the writers first; restoring under a running job loses its writes.",
        "    first: opsrunbooks run shadow_atlas.restore_backup --execute",
        "  blocks 6: test_persistence_database_has_a_known_schema,",
    ]


def test_the_terminal_asks_what_no_check_can_answer():
    lines = told(example.diagnosed(example.ASKING))
    at = lines.index("  path not known yet: B (recover in place) or C (restore from backup)")
    assert lines[at + 1 : at + 4] == [
        "    ask: Do most tables answer?  yes → B, no → C",
        "    not told: test_a_backup_is_restorable: it is unknown: the probe `backups`",
        "      was given up after 30 s",
    ]


def test_the_terminal_never_shows_a_part_of_a_block_to_paste():
    first, block = example.RESTORE.steps
    path = dataclasses.replace(example.RESTORE, steps=(block, first))
    lines = told(example.diagnosed(dataclasses.replace(example.CHOSEN, paths=(path,))))
    assert "    first, by hand: the 3 lines at runbooks/shadow-atlas/data-corruption.md:99" in lines
    assert not any("grep" in line for line in lines)


def test_the_terminal_says_of_a_block_on_a_page_without_a_file_that_it_is_on_the_page():
    _, block = example.RESTORE.steps
    path = dataclasses.replace(example.RESTORE, steps=(block,))
    lines = told(example.diagnosed(dataclasses.replace(example.CHOSEN, paths=(path,), file="")))
    assert "    first, by hand: the 3 lines on the page" in lines


def test_the_terminal_shows_a_command_of_two_lines_whole():
    first, _ = example.RESTORE.steps
    two = dataclasses.replace(first, code="opsrunbooks run shop.restore --execute ||\n  echo 'read why'\n")
    path = dataclasses.replace(example.RESTORE, steps=(two,))
    lines = told(example.diagnosed(dataclasses.replace(example.CHOSEN, paths=(path,))))
    at = lines.index("    first:")
    assert lines[at + 1 : at + 3] == [
        "      opsrunbooks run shop.restore --execute ||",
        "        echo 'read why'",
    ]


def test_a_page_without_a_path_is_named_with_the_reason():
    diagnosis = dataclasses.replace(
        example.CHOSEN, path=None, why="the page cannot be read as a program: 12: no", paths=(), tree=()
    )
    lines = told(example.diagnosed(diagnosis))
    at = lines.index("  no path")
    assert lines[at + 1] == "    why: the page cannot be read as a program: 12: no"
    assert section(diagnosis).one("h4").text == "No path"


def test_the_diagnosis_stands_once_with_the_worst_finding_of_its_page():
    again = dataclasses.replace(example.PERSISTENCE, id=f"{example.FOLDER}/test_z.py::test_z")
    result = example.diagnosed()
    result = dataclasses.replace(result, checks=(*result.checks, again))
    assert sum(line == "  path C: restore from backup" for line in told(result)) == 1
    page = parse(html_page.incident_html(result))
    with_tree = [card for card in page.all("article") if card.all(css_class="ops-tree")]
    assert [card.attributes["data-check-id"] for card in with_tree] == [example.PERSISTENCE.id]


def test_json_tells_everything_and_is_valid():
    value = jsonfile.to_json(example.diagnosed(example.ASKING))
    jsonschema.Draft202012Validator(jsonfile.schema()).validate(value)
    (diagnosis,) = value["diagnoses"]
    assert diagnosis["runbook"] == "shadow-atlas/data-corruption"
    assert diagnosis["path"] is None
    assert diagnosis["questions"] == [{"text": "Do most tables answer?", "if_yes": "B", "if_no": "C"}]
    assert [path["path"] for path in diagnosis["paths"]] == ["B", "C"]
    assert diagnosis["paths"][1]["steps"][0]["code"] == example.RESTORE.steps[0].code
    assert [line["outcome"] for line in diagnosis["tree"]] == ["true", "open", "open"]


def test_the_page_draws_the_tree_and_marks_the_way_that_was_taken():
    tree = section(example.CHOSEN).one(css_class="ops-tree")
    taken = [line.all("div")[0].text for line in tree.all("li", css_class="ops-taken")]
    assert taken == [
        "yes test_persistence_database_is_intact fails Tree 4 page 7: btreeInitPage() returns error code 11",
        "yes test_a_backup_is_restorable passes → C: restore from backup this path",
    ]
    assert [line.one(css_class="ops-mark").text for line in tree.all("li", css_class="ops-passed")] == ["no"]
    assert len(tree.all("li")) == len(example.TREE)
    assert len(tree.all("ul")) == 1, "the lines under a condition are a list in its line"


def test_the_page_has_each_step_as_a_block_of_its_own_to_copy():
    chosen = section(example.CHOSEN)
    blocks = [block.one("pre").text for block in chosen.all(css_class="ops-code")]
    first, second = example.RESTORE.steps
    assert blocks == [first.code, first.undo, second.code]
    assert "By hand: no drill has run this." in chosen.text
    assert "open" in chosen.one("details").attributes


def test_the_page_shows_open_questions_with_links_to_each_answer():
    asking = section(example.ASKING)
    assert "Do most tables answer?" in asking.one(css_class="ops-ask").text
    links = {link.text: link.attributes["href"] for link in asking.one(css_class="ops-answers").all("a")}
    assert links == {"B: recover in place": "#ops-path-0-0", "C: restore from backup": "#ops-path-0-1"}
    assert {f"#{box.attributes['id']}" for box in asking.all("div") if "id" in box.attributes} == set(
        links.values()
    )
    assert "the probe `backups` was given up" in asking.one(css_class="ops-not-told").text


def test_the_box_at_the_top_names_the_path_before_anything_else_is_read():
    page = parse(html_page.incident_html(example.diagnosed()))
    assert page.one(css_class="ops-now").one(css_class="ops-choice").text == "Path C: restore from backup"


@pytest.mark.parametrize("result", [example.healthy(), example.critical()], ids=["healthy", "no diagnosis"])
def test_a_report_without_steps_has_no_script(result):
    assert "<script" not in html_page.incident_html(result)
