"""The example of docs/write-a-drill.md is complete: its files, as they stand there, are a drill that
recovers.
"""

from __future__ import annotations

import json
import pathlib
import re

from tests.drill.test_command import command

GUIDE = pathlib.Path(__file__).parents[2] / "docs" / "write-a-drill.md"
FILE = re.compile(
    r"^## \d+\. [^\n]*: `(?P<name>[^`]+)`$.*?^(?P<fence>`{3,})\w+\n(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)


def test_the_example_of_the_guide_recovers(tmp_path):
    for found in FILE.finditer(GUIDE.read_text(encoding="utf-8")):
        path = tmp_path / found["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found["text"], encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = probes\n", encoding="utf-8")
    done = command(tmp_path, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (drilled,) = json.loads(done.stdout)["drills"]
    assert (drilled["page"], drilled["path"], drilled["outcome"], drilled["lost_rows"]) == (
        "shop/orders", "A", "recovered", 1,
    )  # fmt: skip


def test_every_outcome_is_explained():
    from pytest_opsrunbooks.drill.outcome import Outcome

    text = GUIDE.read_text(encoding="utf-8")
    assert [outcome for outcome in Outcome if f"| `{outcome}` |" not in text] == []
