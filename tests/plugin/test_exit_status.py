"""What the checks say decides the exit status, in every way of running; only "all passed" is 0."""

from __future__ import annotations

import pytest

from tests.conftest import MODES
from tests.conftest import Suite
from tests.thorough import at_night

HEALTHY, DEGRADED, CRITICAL, UNKNOWN = 0, 1, 2, 3

ROWS = {
    "everything passed": ("@p0\ndef test_a(): pass\n@p3\ndef test_b(): pass", HEALTHY),
    "a p0 failed": ("@p0\ndef test_a(): assert False\n@p1\ndef test_b(): pass", CRITICAL),
    "a p1 failed": ("@p1\ndef test_a(): assert False\n@p0\ndef test_b(): pass", DEGRADED),
    "a p2 failed": ("@p2\ndef test_a(): assert False\n@p0\ndef test_b(): pass", DEGRADED),
    "a p3 failed": ("@p3\ndef test_a(): assert False\n@p0\ndef test_b(): pass", DEGRADED),
    "pytest.fail is a failure": ("@p0\ndef test_a(): pytest.fail('down')", CRITICAL),
    "a p0 raised": ("@p0\ndef test_a(): raise OSError('no')", UNKNOWN),
    "a p0 raised and a p1 failed": (
        "@p0\ndef test_a(): raise OSError('no')\n@p1\ndef test_b(): assert False",
        UNKNOWN,
    ),
    "a p1 raised and a p2 failed": (
        "@p1\ndef test_a(): raise OSError('no')\n@p2\ndef test_b(): assert False",
        UNKNOWN,
    ),
    "a p0 raised and a p0 failed": (
        "@p0\ndef test_a(): raise OSError('no')\n@p0\ndef test_b(): assert False",
        CRITICAL,
    ),
    "a p3 raised and a p2 failed": (
        "@p3\ndef test_a(): raise OSError('no')\n@p2\ndef test_b(): assert False",
        DEGRADED,
    ),
    "a p3 raised": ("@p3\ndef test_a(): raise OSError('no')\n@p0\ndef test_b(): pass", UNKNOWN),
    "a p0 was skipped by a mark": (
        "@pytest.mark.skip\n@p0\ndef test_a(): pass\n@p0\ndef test_b(): pass",
        UNKNOWN,
    ),
    "a p0 skipped itself": ("@p0\ndef test_a(): pytest.skip('later')\n@p0\ndef test_b(): pass", UNKNOWN),
    "a p0 was expected to fail": ("@pytest.mark.xfail\n@p0\ndef test_a(): assert False", UNKNOWN),
    "a p0 was expected to fail strictly and passed": (
        "@pytest.mark.xfail(strict=True)\n@p0\ndef test_a(): pass",
        UNKNOWN,
    ),
    "a p0 was expected to fail and passed": ("@pytest.mark.xfail\n@p0\ndef test_a(): pass", HEALTHY),
    "a p0 expects no running": ("@pytest.mark.xfail(run=False)\n@p0\ndef test_a(): pass", UNKNOWN),
    "a teardown failed": (
        "@pytest.fixture\ndef f():\n    yield\n    assert False\n@p0\ndef test_a(f): pass",
        UNKNOWN,
    ),
    "a setup failed": ("@pytest.fixture\ndef f():\n    assert False\n@p0\ndef test_a(f): pass", UNKNOWN),
    "a session fixture failed": (
        (
            "@pytest.fixture(scope='session', autouse=True)\ndef f():\n    raise OSError('no')\n"
            "@p2\ndef test_a(): pass\n@p0\ndef test_b(): pass"
        ),
        UNKNOWN,
    ),
    "a fixture is missing": ("@p0\ndef test_a(nothing_of_that_name): pass", UNKNOWN),
    "a plain test failed": ("def test_plain(): assert False\n@p0\ndef test_b(): pass", UNKNOWN),
    "a plain test failed beside a p0": (
        "def test_plain(): assert False\n@p0\ndef test_b(): assert False",
        CRITICAL,
    ),
    "a check exits the interpreter": (
        "import sys\n@p0\ndef test_a(): sys.exit(0)\n@p0\ndef test_b(): pass",
        UNKNOWN,
    ),
    "a group lost its quorum": (
        (
            "@pytest.mark.group('g', critical_at=2)\n@pytest.mark.parametrize('n', [1, 2, 3])\n@p2\n"
            "def test_a(n): assert n == 1"
        ),
        CRITICAL,
    ),
}


BY_WORKERS = (
    *("everything passed", "a p0 failed", "a p1 failed", "a p0 raised", "a p0 skipped itself"),
    *("a session fixture failed", "a check exits the interpreter", "a group lost its quorum"),
)
"""The rows that workers could tell otherwise; the others are tried with workers at night."""


def cases():
    for row, (checks, status) in ROWS.items():
        for name, mode in MODES.items():
            now = name == "without-xdist" or (name == "n2" and row in BY_WORKERS)
            marks = () if now else (at_night,)
            yield pytest.param(mode, checks, status, id=f"{row}-{name}", marks=marks)


@pytest.mark.parametrize(("mode", "checks", "status"), tuple(cases()))
def test_the_status_follows_from_the_checks(
    suite: Suite, mode: tuple[str, ...], checks: str, status: int
) -> None:
    suite.checks(checks)

    ran = suite.run(*mode)

    assert ran.status == status, ran.output
    assert ran.result is not None
