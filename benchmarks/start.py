"""A P0 sweep of a configured Shadow Atlas data directory (no lab) against pytest running one empty test.

All run in the same environment. `opsrunbooks sweep` is what cron runs, and loads only the plugins that a sweep
uses; bare `pytest` loads all that are installed, as the baseline does.
"""

from __future__ import annotations

import datetime
import json
import pathlib
import sys
import tempfile

import pairs

ROOT = pathlib.Path(__file__).parents[1]


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from systems.shadow_atlas.lab import ShadowAtlasLab

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        ShadowAtlasLab().build(folder, datetime.datetime.now(datetime.UTC))
        config = folder / "opsrunbooks.toml"
        config.write_text(f'[systems.shadow_atlas]\ndata_dir = "{folder / "data"}"\n')
        empty = folder / "empty"
        empty.mkdir()
        (empty / "pytest.ini").write_text(
            "[pytest]\naddopts = -p no:anyio -p no:hypothesispytest -p no:cacheprovider\n"
        )
        (empty / "test_empty.py").write_text("def test_nothing():\n    pass\n")
        python = [sys.executable, "-m", "pytest", "-q"]
        ours = [*python, "-p", "no:cacheprovider", "-m", "p0", "probes", "--ops-config", str(config)]
        baseline = [*python, "--rootdir", str(empty), "-c", str(empty / "pytest.ini"), str(empty)]
        figures = pairs.compare(ours, baseline, rounds=9, cwd=ROOT)
        command = [
            sys.executable,
            "-m",
            "pytest_opsrunbooks.launch",
            "sweep",
            *ours[3:-2],
            f"--ops-config={config}",
        ]
        swept = pairs.compare(command, baseline, rounds=9, cwd=ROOT)
        figures |= {"sweep_command_seconds": swept["ours_seconds"], "sweep_command_ratio": swept["ratio"]}
    if "--json" in sys.argv:
        print(json.dumps(figures))
        return
    print(f"P0 sweep of a data directory  {figures['ours_seconds']:.2f} s")
    print(f"pytest with one empty test    {figures['baseline_seconds']:.2f} s")
    print(f"ratio                         {figures['ratio']:.2f}")
    print(f"opsrunbooks sweep             {figures['sweep_command_seconds']:.2f} s")
    print(f"its ratio                     {figures['sweep_command_ratio']:.2f}  (target: at most 1.5)")


if __name__ == "__main__":
    main()
