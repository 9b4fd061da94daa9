"""`requires`: root causes are judged first whatever the order of files, and what requires them raises nothing
of its own.
"""

from __future__ import annotations

import re

import pytest

from tests.conftest import Suite


def order(output: str) -> list[str]:
    """The tests in the order in which `-v` shows them."""
    return re.findall(r"::(test_\w+(?:\[[^\]]*\])?) ", output)


def test_a_check_is_blocked_by_a_root_cause_in_a_later_file(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.checks(
        "@pytest.mark.requires('test_root')\n@p0\ndef test_symptom(): assert False\n", name="test_a.py"
    )
    suite.checks("@p1\ndef test_root(): assert False\n", name="test_b.py")

    ran = suite.run(*mode)

    assert ran.status == 1, ran.output
    assert ran.verdicts == {"test_symptom": "blocked", "test_root": "failed"}
    assert ran.checks["test_symptom"]["blocked_by"] == "checks/web/test_b.py::test_root"
    assert ran.checks["test_symptom"]["respond_by"] is None


def test_root_causes_are_judged_first(suite: Suite) -> None:
    suite.checks("@pytest.mark.requires('test_b')\n@p2\ndef test_a(): pass\n", name="test_a.py")
    suite.checks("@pytest.mark.requires('test_c')\n@p2\ndef test_b(): pass\n", name="test_b.py")
    suite.checks("@p2\ndef test_c(): pass\n@p2\ndef test_d(): pass\n", name="test_c.py")

    ran = suite.run("-p", "no:xdist", "-v")

    assert order(ran.output) == ["test_c", "test_b", "test_a", "test_d"]


def test_a_chain_names_the_root_and_not_the_link(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.checks(
        """
        @pytest.mark.requires("test_middle")
        @p0
        def test_top(): assert False
        @pytest.mark.requires("test_bottom")
        @p0
        def test_middle(): assert False
        @p3
        def test_bottom(): assert False
        """
    )

    ran = suite.run(*mode)

    assert ran.status == 1, ran.output
    assert {ran.checks[name]["blocked_by"] for name in ("test_top", "test_middle")} == {
        "checks/web/test_web.py::test_bottom"
    }


def test_a_root_cause_that_is_unknown_blocks_too(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.checks(
        "@pytest.mark.requires('test_root')\n@p0\ndef test_it(): assert False\n@p2\ndef test_root(): raise OSError\n"
    )

    ran = suite.run(*mode)

    assert ran.status == 3, ran.output
    assert ran.verdicts == {"test_it": "blocked", "test_root": "unknown"}


def test_a_blocked_check_is_not_run(suite: Suite) -> None:
    suite.checks(
        "import pathlib\n@pytest.mark.requires('test_root')\n@p0\ndef test_it(): pathlib.Path('ran').touch()\n"
        "@p2\ndef test_root(): assert False\n"
    )

    suite.run("-p", "no:xdist")

    assert not (suite.root / "ran").exists()


def test_a_parametrised_root_cause_blocks_its_own_value_only(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.probes("@probe(params=lambda config: ['a', 'b'])\ndef site(param): return param\n")
    suite.checks(
        """
        @pytest.mark.requires("test_it_answers")
        @p1
        def test_it_is_fast(site): pass
        @p0
        def test_it_answers(site): assert site == "a"
        """
    )

    ran = suite.run(*mode)

    assert ran.verdicts == {
        "test_it_answers[a]": "passed",
        "test_it_answers[b]": "failed",
        "test_it_is_fast[a]": "passed",
        "test_it_is_fast[b]": "blocked",
    }


def test_any_failed_value_of_a_root_cause_blocks_what_is_about_the_whole(suite: Suite) -> None:
    suite.probes("@probe(params=lambda config: ['a', 'b'])\ndef site(param): return param\n")
    suite.checks(
        "@pytest.mark.requires('test_it_answers')\n@p1\ndef test_whole(): pass\n"
        "@p0\ndef test_it_answers(site): assert site == 'a'\n"
    )

    assert suite.run("-p", "no:xdist").verdicts["test_whole"] == "blocked"


def test_one_value_of_a_root_cause_can_be_required(suite: Suite) -> None:
    suite.probes("@probe(params=lambda config: ['a', 'b'])\ndef site(param): return param\n")
    suite.checks(
        "@pytest.mark.requires('test_it_answers[a]')\n@p1\ndef test_of_a(): pass\n"
        "@p0\ndef test_it_answers(site): assert site == 'a'\n"
    )

    assert suite.run("-p", "no:xdist").verdicts["test_of_a"] == "passed"


def test_a_misspelt_requirement_is_unknown_and_suggests_the_nearest(
    suite: Suite, mode: tuple[str, ...]
) -> None:
    suite.checks(
        "@pytest.mark.requires('test_databse')\n@p0\ndef test_it(): pass\n@p0\ndef test_database(): pass\n"
    )

    ran = suite.run(*mode)

    assert ran.status == 3, ran.output
    assert ran.verdicts == {"test_it": "unknown", "test_database": "passed"}
    assert "`requires('test_databse')`: there is no such check; did you mean 'test_database'?" in ran.summary(
        "test_it"
    )


def test_a_circle_is_unknown_and_names_its_members(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.checks(
        """
        @pytest.mark.requires("test_b")
        @p0
        def test_a(): pass
        @pytest.mark.requires("test_a")
        @p0
        def test_b(): pass
        @p0
        def test_good(): pass
        """
    )

    ran = suite.run(*mode)

    assert ran.status == 3, ran.output
    assert ran.verdicts == {"test_a": "unknown", "test_b": "unknown", "test_good": "passed"}
    assert "test_a, test_b" in ran.summary("test_a")


def test_a_check_that_requires_itself_is_a_circle(suite: Suite) -> None:
    suite.checks("@pytest.mark.requires('test_a')\n@p0\ndef test_a(): pass\n")

    ran = suite.run("-p", "no:xdist")

    assert ran.status == 3, ran.output
    assert "circle" in ran.summary("test_a")


@pytest.mark.parametrize(
    "arguments",
    [("-m", "p0"), ("-k", "test_it"), ("checks/web/test_a.py",), ("checks/web/test_a.py::test_it",)],
    ids=" ".join,
)
def test_a_requirement_that_is_not_part_of_this_run_is_no_error(
    suite: Suite, arguments: tuple[str, ...]
) -> None:
    suite.checks("@pytest.mark.requires('test_root')\n@p0\ndef test_it(): pass\n", name="test_a.py")
    suite.checks("@p3\ndef test_root(): assert False\n", name="test_b.py")

    ran = suite.run(*arguments)

    assert ran.status == 0, ran.output
    assert ran.verdicts == {"test_it": "passed"}


def test_a_requirement_in_a_file_that_cannot_be_collected_does_not_make_it_healthy(suite: Suite) -> None:
    suite.checks("@pytest.mark.requires('test_root')\n@p0\ndef test_it(): pass\n", name="test_a.py")
    suite.checks("import no_such_module\n@p3\ndef test_root(): assert False\n", name="test_b.py")

    ran = suite.run("-p", "no:xdist")

    assert ran.status == 3, ran.output
    assert ran.verdicts["test_it"] == "passed"


def test_a_requirement_of_the_same_name_is_that_of_the_own_system(suite: Suite) -> None:
    suite.configure('[opsrunbooks]\nrunbooks = ["runbooks"]\n[systems.web]\n[systems.shop]\n')
    symptom = "@pytest.mark.requires('test_root')\n@p0\ndef test_it(): pass\n"
    suite.checks(symptom + "@p0\ndef test_root(): assert False\n", name="test_w.py")
    suite.checks(symptom + "@p0\ndef test_root(): pass\n", name="test_s.py", system="shop")

    ran = suite.run("-p", "no:xdist")

    assert ran.result is not None
    verdicts = {check["id"]: check["verdict"] for check in ran.result["checks"]}
    assert verdicts["checks/web/test_w.py::test_it"] == "blocked"
    assert verdicts["checks/shop/test_s.py::test_it"] == "passed"
