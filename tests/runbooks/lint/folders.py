"""A folder of files to lint, written from a mapping of paths to texts."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import textwrap
from collections.abc import Mapping
from collections.abc import Sequence

from pytest_opsrunbooks.runbooks.lint import documents
from pytest_opsrunbooks.runbooks.lint import engine
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.findings import LintResult
from pytest_opsrunbooks.runbooks.lint.registry import Rule
from pytest_opsrunbooks.runbooks.lint.world import World

TODAY = datetime.date(2026, 11, 20)
WORLD = World(today=TODAY)

HEAD = """\
---
id: shop/down
title: The shop does not answer
severity: p0
detects: [test_the_shop_answers]
---
"""

SECTIONS = """
## Detection

| check | fails when | |
| --- | --- | --- |
| `test_the_shop_answers` | no answer within 5 s | P0 |

## Impact

Nobody can order.

## Diagnosis

- `test_the_disk_has_room` fails → [A: make room](#a-make-room)
- otherwise → [B: restart](#b-restart)

## Resolution

### A: make room

```bash
echo one
```

Verify: `test_the_shop_answers`

### B: restart

Verify: `test_the_shop_answers`

## Verification

Look.

## Escalation

- P0: acknowledge in 5 minutes, be at work in 15, update every 30 minutes.

## Prevention

Look more often.
"""

PAGE = HEAD + SECTIONS


def write(folder: pathlib.Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")


def lint(
    folder: pathlib.Path, files: Mapping[str, str], rules: Sequence[Rule], world: World = WORLD
) -> LintResult:
    """Lint the whole folder, with the files written into it. Pages have the ids of their places in it."""
    write(folder, files)
    if not world.runbook_folders:
        world = dataclasses.replace(world, runbook_folders=(folder,))
    return engine.lint([folder], world, rules)


def document(text: str, folder: pathlib.Path, name: str = "page.md") -> documents.Document:
    write(folder, {name: text})
    return documents.read(folder / name, base=folder)


def said(findings: Sequence[Finding]) -> list[tuple[str, int, str]]:
    """Each finding in short: its file, line and rule."""
    return [(finding.file, finding.line, finding.rule) for finding in findings]
