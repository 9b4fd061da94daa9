"""The drills need no more than `pip install "pytest-opsrunbooks[lab]"`; the random sequences need hypothesis."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("hypothesis") else ["*/test_random_sequences*.py"]
