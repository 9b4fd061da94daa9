"""A check may ask for its system's settings by the system's name, also where every warning is an error."""

from __future__ import annotations

from tests.conftest import Suite


def test_the_settings_of_a_system_cost_no_warning(suite: Suite) -> None:
    suite.configure('[systems.web]\nurl = "http://127.0.0.1:1"\n')
    suite.checks("@p0\ndef test_it(web): assert web.url == 'http://127.0.0.1:1'\n")

    ran = suite.run("-W", "error")

    assert (ran.status, ran.verdicts) == (0, {"test_it": "passed"}), ran.output
