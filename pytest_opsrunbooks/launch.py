"""Starts pytest for a sweep, and nothing that a sweep does not use: the `opsrunbooks` command begins here.

`opsrunbooks sweep` runs every few minutes, so it starts without the command line library that the other
commands use.
"""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

UNKNOWN = 3


def main() -> None:
    """The `opsrunbooks` command."""
    if sys.argv[1:2] == ["sweep"] and "--help" not in sys.argv:
        raise SystemExit(run_sweep(sys.argv[2:]))
    from pytest_opsrunbooks import cli

    cli.main()


def run_sweep(arguments: Sequence[str]) -> int:
    """A sweep in this process; the status is always 0, 1, 2 or 3."""
    import pytest

    seen = _Seen()
    try:
        given = joined(arguments)
        code = int(
            pytest.main(["--ops-sweep", *plugins(given), *given, *shipped_suite(given)], plugins=[seen])
        )
        sys.stdout.flush()  # what fails only when Python ends gives the status 120
    except SystemExit as error:
        # pytest's own --help and --version end this way, and so does a conftest.py that calls sys.exit().
        code = error.code if isinstance(error.code, int) else UNKNOWN
    except KeyboardInterrupt:
        return UNKNOWN
    except BrokenPipeError:
        # As with `| head`. What the reader has not seen it cannot have taken for healthy, so no traceback, and 3.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stderr.write("opsrunbooks: nobody reads the output any more; the sweep was broken off\n")
        return UNKNOWN
    except Exception:  # noqa: BLE001 -- Python would end with the status 1, which says "degraded"
        import traceback

        traceback.print_exc()
        return UNKNOWN
    if seen.finished:
        return code if code in (0, 1, 2, 3) else UNKNOWN
    return 0 if code == 0 and _only_informs(arguments) else UNKNOWN


def joined(arguments: Sequence[str]) -> list[str]:
    """`--ops-config FILE` as `--ops-config=FILE`.

    pytest looks for its rootdir before it knows a plugin's options, and takes the FILE of the first form for
    a path to collect from: the rootdir, and with it testpaths, would be sought beside the configuration
    instead of here.
    """
    together: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument in _OPTIONS_WITH_FILE and (value := next(rest, None)) is not None:
            together.append(f"{argument}={value}")
        else:
            together.append(argument)
    return together


_OPTIONS_WITH_FILE = frozenset(
    {
        "--ops-config",
        "--ops-json",
        "--ops-ledger",
        "--ops-snapshot",
        "--ops-replay",
        "--html",
        "--junit-xml",
        "--junitxml",
        "--css",
    }
)


class _Seen:
    """A plugin that knows whether the session came to its end: without one, no status means anything."""

    finished = False

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        from pytest_opsrunbooks.judge.selection import only_lists

        self.finished = not only_lists(session.config)


_INFORMS = frozenset(
    (
        "-h",
        "--help",
        "-V",
        "--version",
        "--markers",
        "--fixtures",
        "--funcargs",
        "--fixtures-per-test",
        "--collect-only",
        "--co",
    )
)


def _only_informs(arguments: Sequence[str]) -> bool:
    return not _INFORMS.isdisjoint(arguments)


def plugins(arguments: Sequence[str]) -> list[str]:
    """Load what the arguments use, and nothing else that happens to be installed."""
    wanted = ["opsrunbooks"]
    if any(a.startswith(("--html", "--self-contained-html", "--css")) for a in arguments):
        # By their modules: `-p html` would take the name for the standard library's module and warn, which ends
        # a run where warnings are errors.
        wanted += ["pytest_html.plugin", "pytest_metadata.plugin"]
    if any(
        a in ("-n", "--numprocesses", "--dist") or a.startswith(("-n", "--numprocesses=", "--dist=", "--tx"))
        for a in arguments
    ):
        wanted.append("xdist")
    # pytest's own watch for objects that cannot be destroyed collects all garbage several times at the end.
    return [
        *("--disable-plugin-autoload", "-p", "no:unraisableexception"),
        *(part for name in wanted for part in ("-p", name)),
    ]


def shipped_suite(arguments: Sequence[str]) -> list[str]:
    """From outside any suite (a cron job's folder, say), the checks that ship with a checkout of this
    project.

    Only when neither a path was given nor the folder, or one above it, has a suite of its own.
    """
    here = pathlib.Path.cwd()
    if any(
        not a.startswith("-") and pathlib.Path(a.partition("::")[0]).exists() and _is_suite(a)
        for a in arguments
    ):
        return []
    if any((folder / name).exists() for folder in (here, *here.parents) for name in _SUITE_FILES):
        return []
    # Two levels and no deeper: a cron job's folder may be the root of the file system.
    patterns = ["test_*.py", "*/test_*.py", "*/conftest.py"]
    if (here / "opsrunbooks.toml").exists():
        patterns += [
            "*/*/test_*.py",
            "*/*/*/test_*.py",
        ]  # somebody's own folder: `checks/<system>/test_*.py` is usual
    if any(any(here.glob(pattern)) for pattern in patterns):
        return []
    checkout = pathlib.Path(__file__).parents[1]
    probes = checkout / "probes"
    return (
        [f"--rootdir={checkout}", "-c", str(checkout / "pyproject.toml"), str(probes)]
        if probes.is_dir()
        else []
    )


_SUITE_FILES = (
    "pytest.ini",
    ".pytest.ini",
    "pytest.toml",
    "pyproject.toml",
    "tox.ini",
    "setup.cfg",
    "conftest.py",
)


def _is_suite(argument: str) -> bool:
    path = pathlib.Path(argument.partition("::")[0])
    return path.is_dir() or path.suffix == ".py"


if __name__ == "__main__":
    main()
