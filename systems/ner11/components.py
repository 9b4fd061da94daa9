"""What belongs to each component that is backed up, and by which names it is in the component's archive."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterable

from systems.ner11.settings import Ner11

NAMES = ("models", "config", "volumes")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Component:
    """Files and folders of one component. Their names in the archive are their paths below `root`."""

    name: str
    root: pathlib.Path
    include: tuple[str, ...]

    @property
    def paths(self) -> tuple[pathlib.Path, ...]:
        return tuple(self.root / name for name in self.include)


def component(settings: Ner11, name: str) -> Component | None:
    """One of NAMES; None where the settings have nothing of it."""
    if name == "models":
        folder = settings.models_dir
        return None if folder is None else Component(name=name, root=folder, include=(".",))
    paths = settings.config_files if name == "config" else settings.volumes
    if not paths:
        return None
    root = above(paths if name == "volumes" else (*paths, *settings.secret_files))
    return Component(name=name, root=root, include=tuple(path.relative_to(root).as_posix() for path in paths))


def above(paths: Iterable[pathlib.Path]) -> pathlib.Path:
    """The nearest folder that all of them are below."""
    return pathlib.Path(os.path.commonpath([path.parent for path in paths]))
