"""The commands of `opsrunbooks`, a module for each; `cli` loads the one that is called."""

from __future__ import annotations
