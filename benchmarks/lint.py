"""`opsrunbooks lint` over 200 pages with every rule, as a whole process (target: under 5 s).

The pages are the project's own, copied until there are 200, each under an id of its own and with a line that no
other has in each block, so that nothing is linted once for many. A suite beside them is asked for its checks.
"""

from __future__ import annotations

import itertools
import json
import pathlib
import re
import statistics
import sys
import tempfile

import pairs

ROOT = pathlib.Path(__file__).parents[1]
PAGES = 200


def write_pages(folder: pathlib.Path) -> None:
    """200 pages below `folder/runbooks`, with links that lead somewhere."""
    sources = sorted((ROOT / "runbooks/shadow-atlas").glob("*.md"))
    for number, source in zip(range(PAGES), itertools.cycle(sources), strict=False):
        system = f"copy-{number // len(sources)}"
        text = source.read_text(encoding="utf-8").replace("id: shadow-atlas/", f"id: {system}/", 1)
        text = re.sub(
            r"^(```(?:bash|sh|sql)\n)", rf"\g<1>{{comment}} page {number}\n", text, flags=re.MULTILINE
        )
        text = re.sub(r"(```sql\n)\{comment\}", r"\g<1>--", text).replace("{comment}", "#")
        page = folder / "runbooks" / system / source.name
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_pages(folder)
        (folder / "conftest.py").write_text("")
        command = [sys.executable, "-m", "pytest_opsrunbooks.cli", "lint", "runbooks", "--json"]
        took = [pairs.seconds(command, cwd=folder, expected=(0, 1, 3)) for _ in range(4)][1:]
    figures = {"lint_200_pages_seconds": statistics.median(took)}
    if "--json" in sys.argv:
        print(json.dumps(figures))
        return
    print(f"200 pages linted  {figures['lint_200_pages_seconds']:.2f} s  (target: under 5 s)")


if __name__ == "__main__":
    main()
