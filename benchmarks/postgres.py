"""What an inspection every second costs a PostgreSQL under load: pgbench's latency with and without it, in one run.

python benchmarks/postgres.py [--json] [--seconds 120] [--rate 0] [--url postgresql://…]

One pgbench with 4 clients, that read a row and change one, runs all the time. In windows of two seconds, by turns, the
server is inspected once a second and is not; so whatever else the machine does meets both. The latency of a window is
compared with that of its neighbours without an inspection. How far such neighbours differ among themselves is told
too: what is smaller than that is noise. Afterwards, still under load, the locks of inspections are looked at. Without
`--url` a server of its own is made; with it, pgbench's tables are made in that database.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from pytest_opsrunbooks import postgres_tools
from pytest_opsrunbooks.observe import postgres

CLIENTS = 4
SCALE = 5
WINDOW_SECONDS = 2
TABLES = ("pgbench_branches", "pgbench_tellers")
WATCH_SECONDS = 6
LOCKS = """
SELECT l.mode, l.locktype, l.granted
FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) WHERE a.application_name = 'opsrunbooks'
"""
# Of these `RowExclusiveLock on a object` is the database's own entry: whoever connects has it until he is in.
BLOCKED_BY_US = """
SELECT count(*) FROM pg_stat_activity AS a WHERE a.wait_event_type = 'Lock' AND EXISTS
  (SELECT FROM unnest(pg_blocking_pids(a.pid)) AS b(pid) JOIN pg_stat_activity AS o USING (pid)
   WHERE o.application_name = 'opsrunbooks')
"""


@contextlib.contextmanager
def server_url(given: str | None) -> Iterator[str]:
    if given is not None:
        yield given
        return
    from tests.observe.postgres_server import Server

    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        home.chmod(0o755)
        with Server(home) as server:
            yield server.url()


def pgbench(url: str, *arguments: object, **more: Any) -> subprocess.Popen[str]:
    command = [str(postgres_tools.find("pgbench")), *map(str, arguments)]
    environment = postgres_tools.environment(url) | {"PGAPPNAME": "pgbench"}
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **more
    )


def ended(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=600)
    if process.returncode:
        sys.exit(f"pgbench ended with {process.returncode}: {errors.strip()}")


def inspected(second: int) -> bool:
    """Whether the server is inspected in that second of the clock."""
    return second // WINDOW_SECONDS % 2 == 1


def inspect_by_turns(url: str, until: float) -> list[float]:
    """How long each inspection took."""
    took = []
    while (now := time.time()) < until:
        if inspected(int(now)):
            begun = time.perf_counter()
            seen = postgres.inspect(url, tables=TABLES)
            took.append(time.perf_counter() - begun)
            if seen.error is not None or seen.not_seen:
                sys.exit(f"an inspection went wrong: {seen.error or seen.not_seen}")
        time.sleep(max(0.0, int(now) + 1 - time.time()))
    return took


def latencies(folder: pathlib.Path, first: int, last: int) -> dict[int, float]:
    """Milliseconds of the mean transaction of each whole window, by the window's number."""
    counts: dict[int, list[float]] = {}
    for file in folder.glob("load.*"):
        for line in file.read_text().splitlines():
            second, transactions, microseconds, *_ = line.split()
            if first <= int(second) < last:
                window = counts.setdefault(int(second) // WINDOW_SECONDS, [0, 0])
                window[0] += int(transactions)
                window[1] += float(microseconds)
    return {window: total / number / 1000 for window, (number, total) in counts.items() if number}


def compare(windows: dict[int, float]) -> dict[str, Any]:
    """The ratio of each inspected window to the mean of the two beside it, and the same of windows that were not
    inspected, to those nearest on both sides.
    """

    def ratios(numbers: list[int], distance: int) -> list[float]:
        return [
            windows[number] * 2 / (windows[number - distance] + windows[number + distance])
            for number in numbers
            if number - distance in windows and number + distance in windows
        ]

    on = ratios([number for number in windows if number % 2], 1)
    off = ratios([number for number in windows if not number % 2], 2)
    return {
        "latency_milliseconds": statistics.median(windows[number] for number in windows if not number % 2),
        "ratio": statistics.median(on),
        "ratio_standard_error": 1.2533 * statistics.stdev(on) / len(on) ** 0.5,
        "noise_ratio": statistics.median(off),
        "windows": len(on),
    }


def watch_locks(url: str) -> dict[str, Any]:
    """Every lock that an inspection was seen with, and how often it made somebody wait."""
    import psycopg

    stop = threading.Event()

    def keep_inspecting() -> None:
        while not stop.is_set():
            postgres.inspect(url, tables=TABLES)

    thread = threading.Thread(target=keep_inspecting)
    thread.start()
    modes: set[str] = set()
    blocked = samples = waited = 0
    try:
        with contextlib.closing(psycopg.connect(url, autocommit=True)) as watcher:
            end = time.monotonic() + WATCH_SECONDS
            while time.monotonic() < end:
                for mode, what, granted in watcher.execute(LOCKS).fetchall():
                    modes.add(f"{mode} on a {what}")
                    waited += not granted
                blocked += watcher.execute(BLOCKED_BY_US).fetchone()[0]
                samples += 1
    finally:
        stop.set()
        thread.join()
    return {
        "samples": samples,
        "lock_modes": sorted(modes),
        "times_waited": waited,
        "others_blocked": blocked,
    }


def measure(url: str, seconds: int, rate: int) -> dict[str, Any]:
    ended(pgbench(url, "-i", "-q", "-s", SCALE))
    load = ("-n", "-c", CLIENTS, "-b", "select-only@1", "-b", "simple-update@1")
    limit = [f"--rate={rate}"] if rate else []
    with tempfile.TemporaryDirectory() as folder:
        log = ("-l", "--aggregate-interval=1", "--log-prefix=load")
        running = pgbench(url, *load, *limit, *log, "-T", seconds + 2, cwd=folder)
        first = int(time.time()) + 2
        took = inspect_by_turns(url, first + seconds)
        ended(running)
        found = compare(latencies(pathlib.Path(folder), first, first + seconds))
    running = pgbench(url, *load, *limit, "-T", WATCH_SECONDS + 2)
    locks = watch_locks(url)
    ended(running)
    return {**found, "inspections": len(took), "inspection_seconds": statistics.median(took), "locks": locks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--rate", type=int, default=0, help="transactions a second; 0: as many as it can")
    parser.add_argument(
        "--url", help="a server that is there; pgbench's tables in its database are made anew"
    )
    arguments = parser.parse_args()
    with server_url(arguments.url) as url:
        found = measure(url, arguments.seconds, arguments.rate)
    if arguments.json:
        print(json.dumps(found))
        return
    load = f"{arguments.rate} transactions a second" if arguments.rate else "as fast as it can"
    print(
        f"pgbench with {CLIENTS} clients, {load}: {found['latency_milliseconds']:.3f} ms a transaction (median)"
    )
    print(
        f"  inspected every second it takes {found['ratio']:.3f} times as long"
        f" (standard error {found['ratio_standard_error']:.3f}, {found['windows']} windows);"
        f" uninspected windows among themselves {found['noise_ratio']:.3f}"
    )
    print(
        f"  an inspection takes {found['inspection_seconds'] * 1000:.0f} ms ({found['inspections']} of them)"
    )
    locks = found["locks"]
    print(
        f"  locks in {locks['samples']} looks: {', '.join(locks['lock_modes']) or 'none'};"
        f" waited for {locks['times_waited']}, others blocked {locks['others_blocked']}"
    )


if __name__ == "__main__":
    main()
