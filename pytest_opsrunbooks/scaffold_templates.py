"""The files that `opsrunbooks init` writes. `$name` is the system, `$setting` its line in the
configuration.
"""

from __future__ import annotations

from collections.abc import Mapping

COMMON: Mapping[str, str] = {
    "opsrunbooks.toml": """\
# Where the systems are that a sweep looks at. Relative paths are relative to this file.
# A secret never stands here: write  token = { env = "NAME" }  or  token = { file = "path" }.

[opsrunbooks]
environment = "production"      # shown in every report; each environment has a history of its own
runbooks = ["runbooks"]         # folders with the pages that checks lead to
# runbook_base_url = "https://ops.example.org/runbooks/"   # makes links open your site instead of the file
# deadline_seconds = 60         # what is not judged by then is unknown, and the report is still written

# A probe that has an argument `$name` is given an object that has these keys as attributes.
[systems.$name]
$setting
protected = true                # procedures ask for the name to be typed before they change it
""",
    "pytest.ini": """\
[pytest]
# A bare `pytest`, and `opsrunbooks sweep`, run the checks in here.
testpaths = checks
# A misspelt marker is an error, so that no check loses its severity unnoticed.
addopts = --strict-markers
""",
}

URL: Mapping[str, str] = {
    "checks/$name/conftest.py": '''\
"""Probes of $name: they read it and never change it.

Each runs once a sweep, all at the same time.
"""

from __future__ import annotations

from pytest_opsrunbooks import probe
from pytest_opsrunbooks.generic import GenericSettings
from pytest_opsrunbooks.observe.http import HttpObservation
from pytest_opsrunbooks.observe.http import HttpProber


# Arguments are given by their names: `http` makes requests, the other one is the system's table in
# opsrunbooks.toml. A site that is down is an observation with an `error`, never an exception; it is asked
# three times before that is believed.
@probe(attempts=3, timeout=10)
async def answer(http: HttpProber, $name: GenericSettings) -> HttpObservation:
    """What the address answers: status, headers, the beginning of the body, timings, the certificate."""
    return await http.get($name.url)
''',
    "checks/$name/test_$name.py": '''\
"""Checks of $name: ordinary tests that judge what the probes in conftest.py saw."""

from __future__ import annotations

import pytest
from pytest_opsrunbooks.observe.http import HttpObservation


# p0 is critical: somebody gets up for it. The page is runbooks/$name/unreachable.md.
@pytest.mark.p0(runbook="$name/unreachable")
def test_the_address_answers(answer: HttpObservation) -> None:
    assert answer.ok


# One judgement at two severities; `limit` is 5.0 and 2.0. While the address does not answer at all this is
# blocked, so that one cause raises one alarm.
@pytest.mark.requires("test_the_address_answers")
@pytest.mark.levels(p1=5.0, p2=2.0, runbook="$name/unreachable")
def test_seconds_to_answer_are_below(answer: HttpObservation, limit: float) -> None:
    assert answer.duration_seconds < limit
''',
    "runbooks/$name/unreachable.md": """\
---
id: $name/unreachable
title: $name does not answer
severity: p0
owner: on-call
last_reviewed: $today
review_every: 90d
detects: [test_the_address_answers, test_seconds_to_answer_are_below]
---

## Detection

`test_the_address_answers` has failed: `$target` gave no answer, or one that is not 2xx.
See it yourself:

```bash
opsrunbooks sweep -m p0
```

## Impact

Say here what people cannot do while it is down, and whom to tell.

## Diagnosis

- `test_the_address_answers` passes → [A: down for a moment](#a-down-for-a-moment)
- otherwise → [B: bring it back](#b-bring-it-back)

## Resolution

### A: down for a moment

Note when it happened, and watch the next sweeps.

### B: bring it back

Write here, step by step, what you do: which logs to read, what to restart, how to go back a version.

## Verification

`test_the_address_answers`

## Escalation

Say here who helps after 15 minutes, and how to reach them.

## Prevention

Say here what would have kept this from happening.
""",
}

SQLITE: Mapping[str, str] = {
    "checks/$name/conftest.py": '''\
"""Probes of $name: they read it and never change it.

Each runs once a sweep, all at the same time.
"""

from __future__ import annotations

from pytest_opsrunbooks import probe
from pytest_opsrunbooks.generic import GenericSettings
from pytest_opsrunbooks.observe import sqlite
from pytest_opsrunbooks.observe.sqlite import SqliteObservation


# The argument is given by its name: it is the system's table in opsrunbooks.toml. A file that is missing or
# damaged is an observation with an `error`, never an exception. Reading never blocks who writes.
@probe(timeout=60)
def contents($name: GenericSettings) -> SqliteObservation:
    """The database: whether it is intact, its tables, sizes and journal mode."""
    return sqlite.inspect($name.database, timeout_seconds=50)
''',
    "checks/$name/test_$name.py": '''\
"""Checks of $name: ordinary tests that judge what the probes in conftest.py saw."""

from __future__ import annotations

import pytest
from pytest_opsrunbooks.observe.sqlite import SqliteObservation


# p0 is critical: somebody gets up for it. The page is runbooks/$name/damaged.md.
@pytest.mark.p0(runbook="$name/damaged")
def test_the_database_is_intact(contents: SqliteObservation) -> None:
    assert contents.error is None
    assert contents.integrity == ("ok",)


# While the database is damaged this is blocked, so that one cause raises one alarm.
@pytest.mark.requires("test_the_database_is_intact")
@pytest.mark.p2(runbook="$name/damaged")
def test_foreign_keys_are_clean(contents: SqliteObservation) -> None:
    assert contents.foreign_key_violation_count == 0
''',
    "runbooks/$name/damaged.md": """\
---
id: $name/damaged
title: The database $name is damaged or missing
severity: p0
owner: on-call
last_reviewed: $today
review_every: 90d
detects: [test_the_database_is_intact, test_foreign_keys_are_clean]
---

## Detection

`test_the_database_is_intact` has failed: `$target` is missing, cannot be opened, or has damage.
See it yourself:

```bash
opsrunbooks sweep -m p0
```

## Impact

Say here what people cannot do while it is damaged, and whom to tell.

## Diagnosis

- `test_the_database_is_intact` passes → [A: false alarm](#a-false-alarm)
- otherwise → [B: restore from backup](#b-restore-from-backup)

## Resolution

### A: false alarm

Note when it happened, and watch the next sweeps.

### B: restore from backup

Stop what writes to the database first; restoring under a running writer loses what it writes. Keep the
damaged file together with its `-wal`: they may hold what the backup does not.
Write here, step by step, where the backups are and how one is put back.

## Verification

`test_the_database_is_intact`

## Escalation

Say here who helps after 15 minutes, and how to reach them.

## Prevention

Say here what would have kept this from happening.
""",
}
