"""The model files against their manifest."""

from __future__ import annotations

import dataclasses
import pathlib

from pytest_opsrunbooks.observe import files

MANIFEST = "manifest.json"
HASHED_BYTES = 256 * 1024 * 1024
"""More than this together is hashed only at night; other sweeps look at names and sizes."""


def compare(models_dir: pathlib.Path, *, every_checksum: bool) -> files.ManifestComparison:
    """Every listed file's size, and its checksum where all of them are small or `every_checksum`."""
    manifest = files.manifest(models_dir / MANIFEST)
    total = sum(entry.size_bytes or 0 for entry in manifest.entries)
    if not every_checksum and total > HASHED_BYTES:
        lighter = [
            e if e.size_bytes is None else dataclasses.replace(e, sha256=None) for e in manifest.entries
        ]
        manifest = dataclasses.replace(manifest, entries=tuple(lighter))
    return files.against_manifest(models_dir, manifest, timeout=110.0)


def wrong(seen: files.ManifestComparison) -> str | None:
    """What is the matter with the models, the first of it; None where every one is as listed."""
    if seen.error is not None:
        return seen.error
    if seen.ok:
        return None
    return next((f"{name} {why}" for name, why in seen.reasons.items()), repr(seen))
