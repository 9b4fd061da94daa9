"""Exit statuses that are swallowed, each with a near miss that is right."""

from __future__ import annotations

import pytest

from tests.runbooks.lint.shell_pages import RULES
from tests.runbooks.lint.shell_pages import page
from tests.runbooks.lint.shell_pages import readme
from tests.runbooks.lint.shell_pages import said
from tests.runbooks.lint.shell_pages import script

INTEGRITY = "sqlite3 a.db 'PRAGMA integrity_check;'"

WRONG = {
    "status-pipe-hides-failure": [
        "pg_dump shop | gzip > shop.sql.gz",
        "ops/check.sh | tee check.log && echo fine",
        "if curl -sf http://localhost/ | head -1; then echo up; fi",
        "ops/check.sh | tee log\nif [ $? -ne 0 ]; then echo bad; fi",
    ],
    "status-loose-integrity": [
        f"{INTEGRITY} | grep -q ok",
        f'state=$({INTEGRITY})\necho "$state" | grep -q "ok" && echo good',
        f'state=$({INTEGRITY})\n[[ "$state" == *ok* ]] && echo good',
    ],
    "status-always-zero": [
        f"{INTEGRITY} && cp a.db b.db",
        f"if {INTEGRITY}; then echo good; fi",
        "ops/check.sh\necho done\nif [ $? -ne 0 ]; then echo bad; fi",
        "f() {\n  local x=$(ops/check.sh)\n  return $?\n}",
        "if ! ops/check.sh; then\n  rc=$?\nfi",
    ],
    "status-curl-without-fail": [
        "if curl -s http://localhost/health; then echo up; fi",
        'curl -s -m 5 http://localhost/health && echo "up"',
        "curl -s http://localhost/health || exit 1",
    ],
    "status-errexit-stops-checks": [
        "set -e\nops/check.sh\nif [ $? -ne 0 ]; then echo bad; fi",
        "set -e\nerrors=0\nif [ -e x ]; then\n  ((errors++))\nfi\nexit $errors",
        (
            "set -euo pipefail\nerrors=0\nstate=$(sqlite3 a.db 'SELECT 1')\n"
            '[ "$state" = 1 ] || errors=$((errors + 1))\nexit $errors'
        ),
    ],
    "status-overwritten": [
        "code=0\nif bad; then code=2; fi\nif worse; then code=1; fi\nexit $code",
        "code=0\nfor h in a b; do\n  if check $h; then code=0; else code=1; fi\ndone\nexit $code",
        "first\nrc=$?\nsecond\nrc=$?\nexit $rc",
    ],
    "status-failure-exits-zero": [
        'if ! check; then\n  echo "FAILED: no answer"\n  exit 0\nfi',
        'if check; then echo fine; else echo "✗ no answer"; fi',
    ],
    "status-substring-health": [
        "docker inspect shop | grep -q healthy && echo up",
        'if [[ "$state" == *healthy* ]]; then echo up; fi',
        "systemctl status shop | grep -q active",
        "curl -sf http://localhost/ | jq -e '.status | contains(\"healthy\")'",
        "case $state in\n  *healthy*) echo up ;;\nesac",
    ],
}

RIGHT = {
    "status-pipe-hides-failure": [
        "set -o pipefail\npg_dump shop | gzip > shop.sql.gz",
        "ops/check.sh | tee check.log",
        "pg_dump shop > shop.sql && gzip shop.sql",
        "if docker ps | grep -q shop; then echo up; fi",
        "pg_dump shop | gzip > x\necho ${PIPESTATUS[0]}",
    ],
    "status-loose-integrity": [
        f"{INTEGRITY} | grep -qx ok",
        f'[ "$({INTEGRITY})" = ok ] && echo good',
        "curl -sf http://localhost/ | grep -q ok",
    ],
    "status-always-zero": [
        f'[ "$({INTEGRITY})" = ok ] && cp a.db b.db',
        "ops/check.sh\nrc=$?\necho done\nexit $rc",
        "f() {\n  local x\n  x=$(ops/check.sh)\n  return $?\n}",
        "sqlite3 a.db 'SELECT 1' && echo opens",
        "if ops/check.sh; then echo good; else rc=$?; fi",
    ],
    "status-curl-without-fail": [
        "if curl -sf http://localhost/health; then echo up; fi",
        "curl --fail -s http://localhost/health || exit 1",
        "curl -s http://localhost/health",
        "curl -s -o /dev/null -w '%{http_code}' http://localhost/ || echo none",
    ],
    "status-errexit-stops-checks": [
        "ops/check.sh\nif [ $? -ne 0 ]; then echo bad; fi",
        "set -e\nerrors=0\nerrors=$((errors + 1))\nexit $errors",
        "set -e\nrc=0\nops/check.sh || rc=$?\nexit $rc",
        "set -e\nerrors=0\nstate=$(sqlite3 a.db 'SELECT 1') || state=\nerrors=$((errors + 1))\nexit $errors",
    ],
    "status-overwritten": [
        "code=0\nif bad; then code=1; fi\nif worse; then code=2; fi\nexit $code",
        "if bad; then code=2; elif mild; then code=1; else code=0; fi\nexit $code",
        'code=0\nif bad; then code=2; fi\nif mild; then\n  [ "$code" -ge 1 ] || code=1\nfi\nexit $code',
        "first\nrc=$?\n[ $rc -eq 0 ] || exit $rc\nsecond\nrc=$?\nexit $rc",
        "n=5\nif bad; then n=3; fi\necho $n",
    ],
    "status-failure-exits-zero": [
        'if ! check; then\n  echo "FAILED: no answer"\n  exit 1\nfi',
        'code=0\nif check; then echo fine; else echo "✗ no answer"; code=1; fi\nexit $code',
        'echo "ERRORS today: none"\nexit 0',
    ],
    "status-substring-health": [
        "docker inspect shop | grep -qw healthy && echo up",
        "docker ps | grep -q '(healthy)' && echo up",
        '[ "$state" = healthy ] && echo up',
        "docker ps | grep healthy",
        "case $state in\n  *unhealthy*) echo down ;;\n  *healthy*) echo up ;;\nesac",
        "docker ps | grep -q unhealthy && echo down",
    ],
}


def _cases(table):
    return [
        pytest.param(name, text, id=f"{name}-{n}")
        for name, texts in table.items()
        for n, text in enumerate(texts)
    ]


@pytest.mark.parametrize(("name", "text"), _cases(WRONG))
def test_a_swallowed_status_is_found_in_a_script(name, text):
    (finding,) = said(name, script(text))
    assert finding.rule == name
    assert finding.suggestion


@pytest.mark.parametrize(("name", "text"), _cases(RIGHT))
def test_what_keeps_its_status_is_left_alone(name, text):
    assert said(name, script(text)) == ()


def test_every_rule_has_a_case_on_both_sides():
    names = {name for name in RULES if name.startswith("status-")}
    assert names == set(WRONG) == set(RIGHT)


def test_a_finding_names_the_line_of_the_page():
    (finding,) = said("status-pipe-hides-failure", page("echo begin\npg_dump shop | gzip > shop.sql.gz"))
    assert (finding.file, finding.line) == ("runbooks/page.md", 6)


def test_a_block_that_a_person_reads_may_say_that_something_failed():
    assert said("status-failure-exits-zero", page('curl -sf http://localhost/ || echo "✗ DOWN"')) == ()


def test_curl_in_markdown_that_is_no_runbook_is_left_alone():
    assert said("status-curl-without-fail", readme("curl -s http://localhost/ || exit 1")) == ()
