"""Timing two commands against each other in one run: these figures are ratios, because machines are noisy."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Sequence


def seconds(command: Sequence[str], **options) -> float:
    """How long a command takes as a whole process; raises when it does not end with a status that is
    expected.
    """
    expected = options.pop("expected", (0,))
    # As on a user's machine: with the bytecode cache, and none of this shell's pytest options.
    unusual = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTEST_ADDOPTS", "OPSRUNBOOKS_CONFIG")
    options["env"] = {key: value for key, value in os.environ.items() if key not in unusual}
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    took = time.perf_counter() - begun
    if done.returncode not in expected:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return took


def compare(ours: Sequence[str], baseline: Sequence[str], *, rounds: int, **options) -> dict[str, float]:
    """Both in turn, `rounds` times after a warm-up; medians in seconds and the median of the ratios pair by
    pair.
    """
    seconds(ours, **options)
    seconds(baseline, **options)
    pairs = [(seconds(ours, **options), seconds(baseline, **options)) for _ in range(rounds)]
    return {
        "ours_seconds": statistics.median(a for a, _ in pairs),
        "baseline_seconds": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(a / b for a, b in pairs),
    }
