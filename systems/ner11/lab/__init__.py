"""The lab of NER11: a real PostgreSQL, an API and a frontend that are processes of their own, models, backups."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from systems.ner11.lab.lab import Ner11Lab

__all__ = ["Ner11Lab"]


def __getattr__(name: str) -> object:
    """Only on demand: each of the lab's processes imports this package, and none of them needs the lab."""
    if name == "Ner11Lab":
        from systems.ner11.lab.lab import Ner11Lab

        return Ner11Lab
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
