"""A run of pytest that has nothing to do with operations pays for nothing and keeps pytest's own exit
status.
"""

from __future__ import annotations

import pytest

from tests.conftest import Suite

HEAVY = (
    "aiohttp", "asyncio", "hypothesis", "httpx", "jinja2", "jsonschema", "msgspec", "multiformats", "psutil",
    "pytest_html", "sqlite3", "sqlite_utils", "tomllib", "yaml", "click", "ssl",
)  # fmt: skip

LOOK = """
import pytest, sys

HEAVY = {heavy!r}

def test_nothing(pytestconfig, request):
    assert not [name for name in HEAVY if name in sys.modules]
    ours = [
        name for name, plugin in pytestconfig.pluginmanager.list_name_plugin()
        if "opsrunbooks" in str(name) or "opsrunbooks" in type(plugin).__module__
    ]
    assert sorted(ours) == ["opsrunbooks", "opsrunbooks-listener"]
    loaded = sorted(name for name in sys.modules if name.startswith("pytest_opsrunbooks"))
    assert set(loaded) <= set({modules!r})
"""

MODULES = [
    "pytest_opsrunbooks",
    "pytest_opsrunbooks.hookspecs",
    "pytest_opsrunbooks.judge",
    "pytest_opsrunbooks.judge.marker_names",
    "pytest_opsrunbooks.plugin",
    "pytest_opsrunbooks.stash",
]

NOTHING_ELSE = (
    "--disable-plugin-autoload",
    "-p",
    "opsrunbooks",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:junitxml",
)


@pytest.fixture
def plain(suite: Suite) -> Suite:
    """A folder that knows nothing of operations."""
    for file in ("opsrunbooks.toml", "pytest.ini", "runbooks/web/down.md"):
        (suite.root / file).unlink()
    return suite


def plain_run(suite: Suite, *arguments: str):
    return suite._finish(suite.start_anew("pytest", [*NOTHING_ELSE, *arguments], with_json=False), 30)


def test_nothing_heavy_is_imported_and_nothing_is_registered(plain: Suite) -> None:
    plain.write("test_look.py", LOOK.format(heavy=HEAVY, modules=MODULES))

    ran = plain_run(plain)

    assert ran.status == 0, ran.output


@pytest.mark.parametrize(
    ("test", "status"),
    [
        ("def test_it(): pass", 0),
        ("def test_it(): assert False", 1),
        ("def test_it(): raise KeyboardInterrupt", 2),
        ("this is no python", 2),
        ("import pytest\ndef test_it(): pytest.exit('x', returncode=7)", 7),
        ("", 5),
    ],
)
def test_the_exit_status_is_that_of_pytest(plain: Suite, test: str, status: int) -> None:
    plain.write("test_it.py", test)

    ran = plain_run(plain)

    assert ran.status == status, ran.output
    assert "sweep" not in ran.output


def test_the_exit_status_is_that_of_pytest_also_with_workers(plain: Suite) -> None:
    plain.write("test_it.py", "def test_good(): pass\ndef test_bad(): assert False\n")

    ran = plain_run(plain, "-p", "xdist", "-n2")

    assert ran.status == 1, ran.output
    assert "sweep" not in ran.output


def test_plain_tests_beside_a_configuration_keep_the_exit_status_of_pytest(suite: Suite) -> None:
    suite.write("unit/test_it.py", "def test_it(): assert False\n")

    ran = suite.run("unit")

    assert ran.status == 1, ran.output
    assert ran.result is None
    assert not (suite.root / ".opsrunbooks").exists()


@pytest.mark.parametrize("option", ["--collect-only", "--fixtures-per-test", "--fixtures"])
def test_a_listing_is_no_sweep_and_leaves_no_history(suite: Suite, option: str) -> None:
    suite.checks("@p0\ndef test_it(): pass\n")

    ran = suite.run(option)

    assert ran.status == 0, ran.output
    assert ran.result is None
    assert not (suite.root / ".opsrunbooks").exists()


def test_the_package_and_its_names_are_light(plain: Suite) -> None:
    ran = plain.python(
        f"""
        import sys
        import pytest_opsrunbooks
        from pytest_opsrunbooks import Observation, Severity, System, probe
        assert not [name for name in {HEAVY!r} if name in sys.modules]
        assert set(pytest_opsrunbooks.__all__) <= {{*dir(pytest_opsrunbooks), *pytest_opsrunbooks.__all__}}
        for name in pytest_opsrunbooks.__all__:
            getattr(pytest_opsrunbooks, name)
        try:
            pytest_opsrunbooks.no_such_name
        except AttributeError as error:
            assert "no_such_name" in str(error)
        else:
            raise SystemExit("it exists")
        """
    )

    assert ran.status == 0, ran.output
