"""Scripts and blocks as text, each fault with a near miss that is right."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.runbooks.lint import shell
from pytest_opsrunbooks.runbooks.lint import shellcheck
from tests.runbooks.lint.shell_pages import page
from tests.runbooks.lint.shell_pages import readme
from tests.runbooks.lint.shell_pages import said
from tests.runbooks.lint.shell_pages import script
from tests.thorough import examples

WRONG = {
    "shell-syntax": ["if true; then echo yes", 'echo "open', "for x in a b; echo $x; done"],
    "shell-check": ["[ $x -gt 5 && $y = 1 ]\nx=1", "local x=1"],
    "shell-quoted-glob": [
        'rm "/tmp/shop/*.log"',
        "find . -name *.log",
        'for f in "logs/*.gz"; do echo "$f"; done',
    ],
    "shell-unquoted-ampersand": ["curl http://localhost/x?a=1&b=2"],
    "shell-platform-flag": [
        "date -v-1d +%Y%m%d",
        "open https://ops.example.org/",
        "sed -i '' s/a/b/ x",
        "stat -f %z shop.db",
        "vm_stat",
    ],
    "shell-unset-variable": ["sqlite3 a.db \"SELECT * FROM jobs WHERE id = '$JOB_ID'\"", "echo ${CID}"],
}

RIGHT = {
    "shell-syntax": ["pd ack <incident_id>", "cat <<'EOF'\nif ( this is text\nEOF", "echo 'it is fine'"],
    "shell-check": ["x=1\n[ $x -gt 5 ] && echo", "echo $UNQUOTED"],
    "shell-quoted-glob": [
        "rm /tmp/shop/*.log",
        "find . -name '*.log'",
        'for f in logs/*.gz; do echo "$f"; done',
        'ls -l "$DIR"/*.gz',
        "cat 'x y.txt'",
    ],
    "shell-unquoted-ampersand": [
        "curl 'http://localhost/x?a=1&b=2'",
        "curl http://localhost/x?a=1 & wait",
        "curl http://localhost/x &",
    ],
    "shell-platform-flag": [
        "date -d '1 day ago' +%Y%m%d",
        "# on macOS\ndate -v-1d +%Y%m%d",
        "date -d yesterday +%F 2>/dev/null || date -v-1d +%F",
        'if [ "$(uname)" = Darwin ]; then stat -f %z x; else stat -c %s x; fi',
    ],
    "shell-unset-variable": [
        "JOB_ID=job_1\nsqlite3 a.db \"SELECT * FROM jobs WHERE id = '$JOB_ID'\"",
        'echo "${CID:?the content id}"',
        'echo "$HOME"',
        'for table in a b; do echo "$table"; done',
        "read -r NAME\necho $NAME",
    ],
}


def _cases(table):
    return [
        pytest.param(name, text, id=f"{name}-{n}")
        for name, texts in table.items()
        for n, text in enumerate(texts)
    ]


@pytest.mark.parametrize(("name", "text"), _cases(WRONG))
def test_a_fault_of_a_block_is_found_in_a_runbook(name, text):
    (finding,) = said(name, page(text))
    assert finding.rule == name
    assert finding.suggestion


@pytest.mark.parametrize(("name", "text"), _cases(RIGHT))
def test_a_block_that_is_right_is_left_alone(name, text):
    assert said(name, page(text)) == ()


FRONT_MATTER = """\
---
id: shop/down
severity: p0
inputs:
  job_id: {{from: the alert}}
---
# Shop

```bash {info}
{block}
```
"""


def _our_page(block, info=""):
    document = page("")
    object.__setattr__(document, "text", FRONT_MATTER.format(block=block, info=info))
    return document


def test_a_placeholder_in_a_block_that_drills_execute_is_found_with_the_input_to_declare():
    (finding,) = said("shell-placeholder", _our_page("resume <job-id>"))
    assert '"$JOB_ID"' in finding.suggestion


def test_a_placeholder_in_a_block_marked_manual_or_in_a_page_of_another_format_is_left_alone():
    assert said("shell-placeholder", _our_page("resume <job-id>", "manual")) == ()
    assert said("shell-placeholder", page("resume <job-id>")) == ()


def test_a_declared_input_counts_as_set():
    assert said("shell-unset-variable", _our_page('resume "$JOB_ID"')) == ()
    assert said("shell-unset-variable", _our_page('resume "$OTHER_ID"')) != ()


def test_a_block_of_a_page_may_use_what_a_block_above_it_sets():
    after = '\n```bash\necho "$SNAPSHOT"\n```\n'
    assert said("shell-unset-variable", page("SNAPSHOT=s1", after=after)) == ()


def test_a_script_may_use_capitals_of_its_environment_and_not_small_letters_that_nothing_sets():
    assert said("shell-unset-variable", script('echo "$SHOP_URL"')) == ()
    assert said("shell-unset-variable", script('echo "$shop_url"')) != ()


def test_a_synopsis_in_markdown_that_is_no_runbook_is_left_alone():
    assert said("shell-syntax", readme("usage: frob [-h] (one | two)")) == ()


def test_a_console_session_is_read_without_its_output():
    assert said("shell-syntax", page("$ ls (\nfile one (1)\n$ true", info="console")) != ()
    assert said("shell-syntax", page("$ ls\nfile one (1)\n$ true", info="console")) == ()


def test_many_scripts_are_asked_about_in_one_process(monkeypatch):
    started = []
    real = shellcheck.subprocess.run
    monkeypatch.setattr(shellcheck.subprocess, "run", lambda *a, **k: started.append(a) or real(*a, **k))
    found = shellcheck.comments([("bash", f"[ $x{n} -gt 5 && y ]") for n in range(40)])
    assert len(started) == 1
    assert all(found.values())


# -- reading -------------------------------------------------------------------------------------------------


def test_a_command_is_seen_through_what_only_runs_it():
    (command,) = shell.parse("sudo -u shop timeout 5 docker exec -it db psql -c 'SELECT 1'").commands
    assert command.program == "psql"
    assert [word.text for word in command.effective] == ["psql", "-c", "SELECT 1"]


def test_a_status_is_known_to_decide():
    first, second, third, fourth = shell.parse("if a; then b; fi\nc && d").commands
    assert (first.condition, second.condition) == (True, False)
    assert (third.followed_by, fourth.preceded_by) == ("&&", "&&")


def test_a_word_that_only_the_running_shell_knows_has_no_value():
    command, _date = shell.parse('echo plain "a b" "$X" $(date)').commands
    assert [word.value for word in command.args][:3] == ["plain", "a b", None]
    assert command.args[2].expansions == ("X",)
    assert command.args[3].substitutes


def test_what_set_turns_on_is_known():
    assert shell.parse("set -euo pipefail").options == {"e", "u", "pipefail"}
    assert shell.parse("#!/bin/bash -e\ntrue").options == {"e"}


def test_a_here_document_is_text():
    (command,) = shell.parse("sqlite3 a.db <<'EOF'\nSELECT 1;\nEOF").commands
    (text,) = command.heredocs
    assert (text.text.strip(), text.line, text.expands) == ("SELECT 1;", 2, False)


@settings(max_examples=examples(60), deadline=None)
@given(st.text(alphabet="ab $\"'`(){}[]|&;<>\n\\#=é-", max_size=60))
def test_nothing_that_can_be_written_breaks_the_reader(text):
    script_read = shell.parse(text)
    lines = text.count("\n") + 1
    assert all(1 <= command.line <= lines for command in script_read.commands)
    assert list(script_read.commands) == sorted(script_read.commands, key=lambda c: c.offset)


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.text(alphabet="abc .-'", min_size=1, max_size=8), min_size=1, max_size=4))
def test_quoted_words_are_read_as_the_shell_reads_them(words):
    (command,) = shell.parse(shlex.join(["run", *words])).commands
    assert [word.value for word in command.args] == words or any("'" in word for word in words)
