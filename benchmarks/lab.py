"""From nothing to a swept lab: `pytest -m p0` without a configuration builds the lab, serves it and sweeps it
(target: under 5 s).
"""

from __future__ import annotations

import json
import pathlib
import statistics
import sys

import pairs

ROOT = pathlib.Path(__file__).parents[1]


def main() -> None:
    python = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--ops-no-ledger"]
    figures = {
        "p0_seconds": statistics.median(
            pairs.seconds([*python, "-m", "p0", "probes"], cwd=ROOT) for _ in range(5)
        ),
        "every_check_seconds": statistics.median(
            pairs.seconds([*python, "probes"], cwd=ROOT) for _ in range(5)
        ),
    }
    if "--json" in sys.argv:
        print(json.dumps(figures))
        return
    print(f"lab up and swept, p0         {figures['p0_seconds']:.2f} s")
    print(f"lab up and swept, all checks {figures['every_check_seconds']:.2f} s  (target: under 5 s)")


if __name__ == "__main__":
    main()
