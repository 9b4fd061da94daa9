"""Procedures: what changes a system. Journaled steps, a dry run unless told to execute, and safe SQLite
primitives.
"""

from __future__ import annotations
