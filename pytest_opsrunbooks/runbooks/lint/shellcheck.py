"""What ShellCheck and `bash -n` say of scripts, for many at once: one start of a process costs more than ten
scripts.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from pytest_opsrunbooks.runbooks.lint.findings import CannotTell

TIMEOUT_SECONDS = 60.0
_BATCH = 150


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comment:
    """One thing that ShellCheck says, at error level. `code` is a number: 1000 to 1999 are about parsing."""

    code: int
    line: int
    end_line: int
    message: str

    @property
    def about_parsing(self) -> bool:
        return self.code < 2000


@dataclasses.dataclass(frozen=True, kw_only=True)
class SyntaxProblem:
    """What `bash -n` refuses."""

    line: int
    message: str


def executable() -> str:
    """ShellCheck: the one that the extra `lint` brings, else the one on the PATH. Raises CannotTell without
    either.
    """
    bundled = pathlib.Path(sys.executable).parent / "shellcheck"
    found = str(bundled) if bundled.is_file() else shutil.which("shellcheck")
    if found is None:
        raise CannotTell(
            "ShellCheck is not installed, so shell blocks were not checked; pip install 'pytest-opsrunbooks[lint]'"
        )
    return found


def comments(scripts: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], tuple[Comment, ...]]:
    """What ShellCheck says of each script, given as (dialect `bash` or `sh`, text). Raises CannotTell."""
    unique = list(dict.fromkeys(scripts))
    if not unique:
        return {}
    program = executable()
    found: dict[tuple[str, str], tuple[Comment, ...]] = {}
    batches = [unique[at : at + _BATCH] for at in range(0, len(unique), _BATCH)]
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for result in pool.map(lambda batch: _run(program, batch), batches):
            found.update(result)
    return found


def _run(program: str, batch: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], tuple[Comment, ...]]:
    with tempfile.TemporaryDirectory(prefix="opsrunbooks-lint-") as folder:
        names: dict[str, tuple[str, str]] = {}
        for index, (dialect, text) in enumerate(batch):
            path = pathlib.Path(folder, f"{index}.{dialect}")
            # Its own head line, so that one call serves both dialects; the lines are counted back below. What
            # a script reads in from elsewhere and what a page's block leaves to the one before it are no
            # errors.
            path.write_text(f"# shellcheck shell={dialect}\n{text}", encoding="utf-8", errors="replace")
            names[str(path)] = (dialect, text)
        command = [
            program,
            "--norc",
            "--severity=error",
            "--format=json1",
            "--extended-analysis=false",
            *names,
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=TIMEOUT_SECONDS, check=False, stdin=subprocess.DEVNULL
            )
            said = json.loads(done.stdout)["comments"]
        except (OSError, subprocess.TimeoutExpired, ValueError, KeyError) as exc:
            raise CannotTell(f"ShellCheck failed, so shell blocks were not checked: {exc}") from exc
    found: dict[tuple[str, str], list[Comment]] = {key: [] for key in names.values()}
    for each in said:
        found[names[each["file"]]].append(
            Comment(
                code=each["code"],
                line=max(1, each["line"] - 1),
                end_line=max(1, each["endLine"] - 1),
                message=each["message"],
            )
        )
    return {key: tuple(value) for key, value in found.items()}


def syntax_problem(text: str) -> SyntaxProblem | None:
    """What `bash -n` refuses in the script; it runs nothing. None also where there is no bash."""
    program = shutil.which("bash")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "--norc", "--noprofile", "-O", "extglob", "-n"],
            input=text.encode("utf-8", "replace"),
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
            env={"LC_ALL": "C.UTF-8", "PATH": os.environ.get("PATH", "")},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = done.stderr.decode("utf-8", "replace")
    if done.returncode == 0 and "here-document" not in said:
        return None
    match = re.search(r"line (\d+): (?:warning: )?(.*)", said)
    if match is None:
        return None
    last = text.rstrip("\n").count("\n") + 1
    # bash notices an open quote or block only at the end of the text.
    return SyntaxProblem(line=min(int(match.group(1)), last), message=match.group(2).replace("`", "'"))
