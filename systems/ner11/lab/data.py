"""The tables of NER11 and some thousand rows of invented vendors, threats and frameworks.

The rows depend on nothing but the time for which the lab is built.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from typing import Any

from systems.ner11.lab import postgres
from systems.ner11.lab.layout import APPLICATION
from systems.ner11.lab.layout import DATABASE
from systems.ner11.lab.layout import Layout

REVISION = "20260914_e12"
TABLES = ("vendor_equipment", "threat_intelligence", "compliance_frameworks")
COUNTS = {"vendor_equipment": 2000, "threat_intelligence": 1500, "compliance_frameworks": 300}
_SCHEMA = f"""
CREATE TABLE compliance_frameworks (
    id serial PRIMARY KEY,
    code text NOT NULL UNIQUE,
    title text NOT NULL,
    clause_count integer NOT NULL CHECK (clause_count > 0),
    created_at timestamptz NOT NULL
);
CREATE TABLE vendor_equipment (
    id bigserial PRIMARY KEY,
    vendor text NOT NULL,
    model text NOT NULL,
    serial_number text NOT NULL UNIQUE,
    framework_id integer NOT NULL REFERENCES compliance_frameworks (id),
    criticality smallint NOT NULL CHECK (criticality BETWEEN 1 AND 5),
    created_at timestamptz NOT NULL
);
CREATE INDEX vendor_equipment_vendor ON vendor_equipment (vendor, model);
CREATE TABLE threat_intelligence (
    id bigserial PRIMARY KEY,
    equipment_id bigint NOT NULL REFERENCES vendor_equipment (id),
    indicator text NOT NULL,
    description text NOT NULL,
    severity numeric(3, 1) NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX threat_intelligence_equipment ON threat_intelligence (equipment_id);
CREATE SEQUENCE report_number START 1000;
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('{REVISION}');
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {APPLICATION};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {APPLICATION};
"""
_VENDORS = ("Nordhaven Controls", "Calder & Quill", "Isotrope", "Meridian Valve", "Tamarack Systems")
_KINDS = ("PLC", "RTU", "Relay", "Historian", "Gateway", "Drive")
_ACTORS = ("GREY HERON", "TIN LANTERN", "COPPER MOTH", "SLOW RIVER")
_DEEDS = ("scans", "sends crafted frames to", "replays captured sessions of", "brute-forces the web page of")
_YEAR_SECONDS = 365 * 24 * 3600
_YOUNGEST_SECONDS = 24 * 3600


def build(layout: Layout, now: datetime.datetime) -> None:
    """Create roles, database, tables and rows, as of `now`."""
    with postgres.connection(layout, "postgres") as admin:
        admin.execute(postgres.create_application(layout))
        admin.execute(f"CREATE DATABASE {DATABASE} STRATEGY FILE_COPY")
    with postgres.connection(layout) as database:
        database.execute(_SCHEMA)
        rows = {
            "compliance_frameworks": ("code, title, clause_count, created_at", _frameworks(now)),
            "vendor_equipment": (
                "vendor, model, serial_number, framework_id, criticality, created_at",
                equipment(now, COUNTS["vendor_equipment"]),
            ),
            "threat_intelligence": (
                "equipment_id, indicator, description, severity, created_at",
                _threats(now),
            ),
        }
        for table, (columns, values) in rows.items():
            with database.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for value in values:
                    copy.write_row(value)
        # Without what a later reader would have to write: no row is new to the server any more.
        database.execute("VACUUM (FREEZE, ANALYZE)")
        database.execute("VACUUM (FREEZE) pg_statistic, pg_class, pg_attribute, pg_depend, pg_index")


def _ages(generator: random.Random, count: int) -> list[float]:
    """Seconds before `now`, the oldest first; the youngest is a day old, so that every backup has it."""
    return sorted(
        (generator.uniform(_YOUNGEST_SECONDS * 1.5, _YEAR_SECONDS) for _ in range(count)), reverse=True
    )


def _frameworks(now: datetime.datetime) -> Iterator[tuple[Any, ...]]:
    generator = random.Random(1)
    for number, age in enumerate(_ages(generator, COUNTS["compliance_frameworks"]), start=1):
        yield (
            f"CF-{number:04d}",
            f"Framework for {generator.choice(_KINDS)} operators, part {number}",
            generator.randint(5, 300),
            now - datetime.timedelta(seconds=age),
        )


def equipment(now: datetime.datetime, count: int, prefix: str = "SN") -> Iterator[tuple[Any, ...]]:
    """Rows of `vendor_equipment` without their keys."""
    generator = random.Random(2)
    for number, age in enumerate(_ages(generator, count), start=1):
        kind = generator.choice(_KINDS)
        yield (
            generator.choice(_VENDORS),
            f"{kind} {generator.randint(100, 999)}",
            f"{prefix}-{number:06d}-{generator.getrandbits(32):08x}",
            generator.randint(1, COUNTS["compliance_frameworks"]),
            generator.randint(1, 5),
            now - datetime.timedelta(seconds=age),
        )


def _threats(now: datetime.datetime) -> Iterator[tuple[Any, ...]]:
    generator = random.Random(3)
    for age in _ages(generator, COUNTS["threat_intelligence"]):
        actor = generator.choice(_ACTORS)
        yield (
            generator.randint(1, COUNTS["vendor_equipment"]),
            f"198.51.100.{generator.randint(1, 254)}",
            f"{actor} {generator.choice(_DEEDS)} a {generator.choice(_KINDS)} of {generator.choice(_VENDORS)}",
            round(generator.uniform(0.1, 10.0), 1),
            now - datetime.timedelta(seconds=age),
        )
