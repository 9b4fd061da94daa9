"""The files of NER11: configuration, models with their manifest, the frontend's build, logs."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import pathlib
import random
import shutil
from collections.abc import Collection

from systems.ner11.lab.layout import APPLICATION
from systems.ner11.lab.layout import DATABASE
from systems.ner11.lab.layout import Layout
from systems.ner11.lab.layout import write_json

MODULES = (
    "vendor-equipment",
    "threat-intelligence",
    "compliance",
    "economic-impact",
    "demographics",
    "prioritization",
)
MODELS = ("ner_gold_v3.pkl", "ner_fallback_v2.pkl", "risk_ranker.pkl")
TITLE = "NER11 Gold Model"
SCRIPT = "static/js/main.chunk.js"
_MODEL_BYTES = 48 * 1024
_DAY = datetime.timedelta(days=1)


def build(layout: Layout, now: datetime.datetime) -> None:
    """Write every file as it is in a healthy NER11, also over what is there."""
    build_configuration(layout)
    build_frontend(layout)
    build_models(layout, now)
    uploads = {"notice.txt": b"Uploads of analysts.\n", "sample.csv": b"indicator\n198.51.100.7\n"}
    for name, content in uploads.items():
        put(layout.volume / name, content)
    _only(layout.volume, uploads.keys())
    _remove_what_restores_have_kept(layout)
    layout.logs.mkdir(parents=True, exist_ok=True)
    for folder in (layout.state, layout.offsite, layout.run):
        folder.mkdir(parents=True, exist_ok=True)
    write_json(layout.behaviours, {})
    write_json(layout.host, {})


def build_configuration(layout: Layout) -> None:
    ports = layout.ports()
    config = {
        "PORT": ports["api"],
        "CONTRACT": "documented",
        "DATABASE_HOST": "127.0.0.1",
        "DATABASE_PORT": ports["postgres"],
        "DATABASE_NAME": DATABASE,
        "DATABASE_USER": APPLICATION,
        "POOL_SIZE": 2,
        "MODELS_DIR": str(layout.models),
        "MODULES": MODULES,
    }
    lines = [f"{name} = {value!r}" for name, value in config.items()]
    put(layout.api_config, ('"""Settings of the API."""\n\n' + "\n".join(lines) + "\n").encode())
    package = {"name": "ner11-frontend", "version": "3.3.0", "proxy": f"http://127.0.0.1:{ports['api']}"}
    put(layout.package_json, json.dumps(package, indent=2).encode())
    put(layout.environment, f"POSTGRES_PASSWORD={layout.password(APPLICATION)}\n".encode(), mode=0o600)
    services = "".join(
        f"  {name}:\n    restart: unless-stopped\n" for name in ("postgres", "api", "frontend")
    )
    put(layout.app / "docker-compose.yml", f"services:\n{services}".encode())
    put(
        layout.app / "scripts" / "rollback.sh",
        b"#!/bin/sh\nset -eu\nopsrunbooks run ner11.rollback_maintenance\n",
    )


def build_frontend(layout: Layout) -> None:
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{TITLE}</title></head>'
        f'<body><div id="root"></div><script src="/{SCRIPT}"></script></body></html>\n'
    )
    put(layout.frontend_build / "index.html", page.encode())
    put(
        layout.frontend_build / SCRIPT,
        b'document.getElementById("root").textContent = "NER11 is ready";\n',
    )


def build_models(layout: Layout, now: datetime.datetime) -> None:
    """Each model is a list of names that the API looks for, padded with weights."""
    manifest = {}
    for number, name in enumerate(MODELS):
        words = ("Nordhaven Controls", "Isotrope", "GREY HERON", "COPPER MOTH", "Modbus", "DNP3")
        head = json.dumps({"model": name, "version": 3, "entities": words}).encode() + b"\n"
        content = head + random.Random(number).randbytes(_MODEL_BYTES)
        put(layout.models / name, content)
        moment = (now - 40 * _DAY).timestamp()
        os.utime(layout.models / name, (moment, moment))
        manifest[name] = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    _only(layout.models, {*MODELS, "manifest.json"})
    put(layout.models / "manifest.json", json.dumps({"files": manifest}, indent=1).encode())


def _only(folder: pathlib.Path, wanted: Collection[str]) -> None:
    for stray in folder.iterdir():
        if stray.name not in wanted:
            _remove(stray)


def _remove_what_restores_have_kept(layout: Layout) -> None:
    for path in (layout.models, layout.volume, *layout.config_files):
        for ending in ("before", "new"):
            for kept in path.parent.glob(f"{path.name}.{ending}-*"):
                _remove(kept)
        for record in path.parent.glob(f".{path.name}.restore-*.json"):
            record.unlink()


def _remove(path: pathlib.Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def put(path: pathlib.Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file unless it is so already; beside, then renamed over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and not path.is_symlink() and path.read_bytes() == content:
        path.chmod(mode)
        return
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.chmod(mode)
    beside.replace(path)
