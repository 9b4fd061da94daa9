"""What has to be so at each gate of a quarterly update: pure judgements, the reasons in words."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from procedures.shadow_atlas.update_facts import Extracted
from procedures.shadow_atlas.update_facts import Watched
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe.backups import Backups
from systems.shadow_atlas.observe.jobs import Jobs

STATES = 50
LAYERS = 3
CONGRESSIONAL = 435
"""Districts of the House, over all states."""
ENDED = ("completed", "partial")
BACKUP_DAYS = 2.0
ROLLBACK_PROOFS = 0.90
ROLLBACK_RETRIEVAL = 0.95


def prepare(
    jobs: Jobs, backups: Backups, free_bytes: int, wanted_bytes: int, now: datetime.datetime
) -> list[str]:
    """Phase 1: backups open and are recent, nothing runs, there is room."""
    problems = [text for text in (jobs.error, backups.error) if text is not None]
    if backups.newest is None:
        problems.append("there is no backup of persistence.db")
    elif (age := backups.age_days(now)) is not None and age > BACKUP_DAYS:
        problems.append(f"the newest backup, {backups.newest.name}, is {age:.1f} days old")
    problems += backups.newest_problems
    if jobs.running:
        problems.append(f"jobs are running: {', '.join(jobs.running[:5])}")
    problems += [f"the job file {file} cannot be read" for file in jobs.unreadable_files]
    if free_bytes < wanted_bytes:
        problems.append(f"{free_bytes} bytes are free, {wanted_bytes} are needed")
    return problems


def extract(found: Extracted | None, file_status: str | None) -> list[str]:
    """Phase 2: the job has ended, in both stores; 50 states, more than 90 % done, more than 95 % valid."""
    if found is None:
        return ["no job has been started since this update began; when it has another id: --set job_id=…"]
    problems: list[str] = []
    if found.status not in ENDED:
        problems.append(f"{found.job_id} is {found.status}")
    if file_status is not None and file_status != found.status:
        problems.append(f"its file says {file_status}, its row {found.status}")
    if found.states < STATES:
        problems.append(f"{found.states} states are extracted, not {STATES}")
    if found.layers < LAYERS:
        problems.append(f"{found.layers} layers are extracted, not {LAYERS}")
    problems += _above("tasks done", found.success_rate, 0.90)
    problems += _above("extractions valid", found.pass_rate, 0.95)
    return problems


def validate(found: Extracted) -> list[str]:
    """Phase 3: at least 90 % of the validations passed, and the House has all its districts."""
    problems: list[str] = []
    if not found.validated:
        problems.append(f"nothing of {found.job_id} has been validated")
    elif found.validation_rate < 0.90:
        problems.append(
            f"{found.validation_rate:.1%} of {found.validated} validations passed, less than 90 %"
        )
    if found.congressional != CONGRESSIONAL:
        problems.append(f"{found.congressional} congressional districts are extracted, not {CONGRESSIONAL}")
    return problems


def watch(seen: Watched, began: datetime.datetime, now: datetime.datetime, hours: float) -> list[str]:
    """Phase 7: proofs above 98 % in the first hour and 95 % after, retrieval above 98 %, no new alert."""
    problems: list[str] = []
    end = began + datetime.timedelta(hours=hours)
    if now < end:
        problems.append(f"it is watched until {timestamps.iso(end)}")
    if seen.error:
        problems.append(f"metrics.db cannot be read: {seen.error}")
    for words, rate, limit in (
        ("proofs of the first hour succeeded", seen.first_hour, 0.98),
        ("proofs after the first hour succeeded", seen.after, 0.95),
        ("retrievals succeeded", seen.retrieval, 0.98),
    ):
        problems += [f"nothing says how many {words}"] if rate is None else _above(words, rate, limit)
    problems += [f"a new alert fires: {alert}" for alert in seen.new_alerts]
    return problems


def rollback_triggers(seen: Watched, corrupt: Sequence[str]) -> list[str]:
    """What sends the update back at once: proofs below 90 %, more than 5 % of retrievals failing, damage."""
    problems = list(corrupt)
    for words, rate in (("first hour", seen.first_hour), ("hours after", seen.after)):
        if rate is not None and rate < ROLLBACK_PROOFS:
            problems.append(f"{rate:.1%} of the proofs of the {words} succeeded, less than 90 %")
    if seen.retrieval is not None and seen.retrieval < ROLLBACK_RETRIEVAL:
        problems.append(f"{1 - seen.retrieval:.1%} of retrievals fail, more than 5 %")
    return problems


def _above(words: str, rate: float, limit: float) -> list[str]:
    return [] if rate > limit else [f"{words}: {rate:.1%}, and more than {limit:.0%} is needed"]
