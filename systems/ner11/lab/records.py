"""What procedures have recorded of a healthy NER11: how large it was each day, and how fast at the last baseline."""

from __future__ import annotations

import datetime
import json
import random

from systems.ner11.lab.files import put
from systems.ner11.lab.layout import Layout

SAMPLES = "samples.jsonl"
BASELINE = "baseline.json"
MAINTENANCE = "maintenance.json"
DAYS = 40
DISK_BYTES = 100 * 1024**3
_USED_BYTES = 38 * 1024**3
_DATABASE_BYTES = 12 * 1024**2
_DAY = datetime.timedelta(days=1)
_REQUESTS = 100


def build(layout: Layout, now: datetime.datetime) -> None:
    """A disk and a database that grow slowly, and a baseline of a few weeks ago."""
    write_samples(layout, now, disk_per_day=20 * 1024**2, database_per_day=32 * 1024)
    generator = random.Random(4)
    seconds = [round(generator.uniform(0.035, 0.070), 4) for _ in range(_REQUESTS)]
    baseline = {
        "recorded_at": (now - 20 * _DAY).isoformat(),
        "url": f"http://127.0.0.1:{layout.ports()['api']}/api/v1/vendor-equipment/",
        "request_seconds": seconds,
    }
    put(layout.state / BASELINE, json.dumps(baseline, indent=1).encode())


def write_samples(
    layout: Layout, now: datetime.datetime, *, disk_per_day: float, database_per_day: float
) -> None:
    """A sample of the disk and of the database for each of the last days, with some noise."""
    generator = random.Random(5)
    lines = []
    for day in range(DAYS):
        at = (now - (DAYS - day) * _DAY).isoformat()
        noise = generator.uniform(-0.4, 0.4)
        used, size = (
            int(start + (day + noise) * growth)
            for start, growth in ((_USED_BYTES, disk_per_day), (_DATABASE_BYTES, database_per_day))
        )
        disk = {"at": at, "path": str(layout.disk), "used_bytes": used, "total_bytes": DISK_BYTES}
        lines += [json.dumps(disk), json.dumps({"at": at, "database_bytes": size})]
    put(layout.state / SAMPLES, ("\n".join(lines) + "\n").encode())
