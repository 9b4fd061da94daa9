"""Documents are tested: what exists is documented, what is documented exists, and links lead somewhere."""

from __future__ import annotations

import ast
import pathlib
import re
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "runbooks").rglob("*.md"),
    ]
)
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)


def without_code(text):
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(path):
    found = set()
    for heading in re.findall(
        r"^#+ (.+)$", without_code_fences(path.read_text(encoding="utf-8")), flags=re.MULTILINE
    ):
        slug = re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).strip().replace(" ", "-")
        found.add(slug)
    return found


def without_code_fences(text):
    return re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document):
    text = without_code(document.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        page = (document.parent / file).resolve() if file else document
        assert page.exists(), f"{document.name} links to {target}"
        if anchor and page.suffix == ".md":
            assert anchor in anchors(page), (
                f"{document.name} links to {target}, whose headings are {sorted(anchors(page))}"
            )


def options():
    tree = ast.parse((ROOT / "pytest_opsrunbooks" / "plugin.py").read_text(encoding="utf-8"))
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "addoption":
            hidden = any(
                k.arg == "help" and isinstance(k.value, ast.Attribute) and k.value.attr == "SUPPRESS"
                for k in call.keywords
            )
            if not hidden:
                yield call.args[0].value


@pytest.mark.parametrize("option", list(options()))
def test_every_option_is_documented(option):
    assert option in TEXT


def test_there_are_options_to_document():
    assert len(list(options())) >= 8


def test_every_marker_is_documented():
    from pytest_opsrunbooks.judge.marker_names import OWN_MARKS

    assert {mark for mark in OWN_MARKS if mark not in TEXT} == set()


def test_every_hook_is_documented():
    tree = ast.parse((ROOT / "pytest_opsrunbooks" / "hookspecs.py").read_text(encoding="utf-8"))
    hooks = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert hooks
    assert {hook for hook in hooks if f"`{hook}(" not in TEXT} == set()


def test_every_dependency_is_in_the_table_of_the_readme():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for_users = extras.keys() - {
        "dev",
        "lab",
        "all",
    }  # those only name other extras, or tools of this repository
    listed = [*project["dependencies"], *(name for extra in for_users for name in extras[extra])]
    names = {re.split(r"[<>=\[ ]", requirement)[0].lower() for requirement in listed}
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Dependencies")[2].lower()
    assert {name for name in names if name not in table} == set()


@pytest.mark.parametrize("heading", ["Run it", "Test it"])
def test_the_readme_has_one_command_under_each_heading_that_a_newcomer_runs(heading):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    block = re.search(r"```bash\n(.*?)```", section, flags=re.DOTALL)
    assert block is not None
    assert len(block[1].strip().splitlines()) == 1


def test_every_command_has_help_with_an_example_or_a_sentence():
    import click

    from pytest_opsrunbooks.cli import main

    def commands(group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None, name
            yield command
            if isinstance(command, click.Group):
                yield from commands(command)

    found = list(commands(main))
    assert {c.name for c in found} >= {
        "sweep",
        "init",
        "snapshot",
        "lab",
        "up",
        "down",
        "status",
        "break",
        "mend",
    }
    for command in found:
        assert command.help, command.name
        if not isinstance(command, click.Group) and not command.hidden:
            assert "Exit status" in command.help, command.name


def test_python_examples_of_the_guides_parse():
    for document in (ROOT / "docs").glob("*.md"):
        for block in re.findall(
            r"^```python\n(.*?)^```", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
        ):
            ast.parse(block)
