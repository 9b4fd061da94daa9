"""How the package's own modules are imported while pytest runs.

pytest rewrites the `assert`s of every module of an installed plugin, so that they explain themselves. Nobody reads
ours, they state what the type checker cannot know, and going through the rewriter takes a tenth of a sweep's
start. Checks, and a user's own modules, are rewritten as ever.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

_OURS = f"{__package__}."


class _AsTheyAre(importlib.abc.MetaPathFinder):
    """Finds the package's own modules as Python does."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(_OURS):
            return None
        return importlib.machinery.PathFinder.find_spec(fullname, path, target)


def import_as_they_are() -> None:
    """Have the modules that this package still imports skip pytest's rewriter; once a process."""
    if not any(isinstance(finder, _AsTheyAre) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AsTheyAre())
