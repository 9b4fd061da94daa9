"""The models of the API, as they were read at its start."""

from __future__ import annotations

import hashlib
import json
import pathlib
import time
from collections.abc import Mapping
from typing import Any


class Models:
    """What each model knows, and which could not be read."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.loaded: dict[str, tuple[str, ...]] = {}
        self.failed: list[str] = []
        began = time.monotonic()
        for name, said in self._manifest(folder).items():
            try:
                content = (folder / name).read_bytes()
                entities = tuple(json.loads(content.partition(b"\n")[0])["entities"])
            except (OSError, ValueError, KeyError) as exc:
                self.failed.append(f"{name}: {exc}")
                continue
            if hashlib.sha256(content).hexdigest() == said["sha256"]:
                self.loaded[name] = entities
            else:
                self.failed.append(f"{name}: its checksum is another one than the manifest's")
        self._load_seconds = time.monotonic() - began

    def _manifest(self, folder: pathlib.Path) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))[
                "files"
            ]
        except (OSError, ValueError, KeyError) as exc:
            self.failed.append(f"manifest.json: {exc}")
            return {}
        return found

    @property
    def all_loaded(self) -> bool:
        return bool(self.loaded) and not self.failed

    def status(self) -> Mapping[str, Any]:
        """What `/api/v1/models/status` says."""
        return {
            "models_loaded": self.all_loaded,
            "available_models": sorted(self.loaded),
            "load_time_seconds": round(self._load_seconds, 3),
            "errors": self.failed,
        }
