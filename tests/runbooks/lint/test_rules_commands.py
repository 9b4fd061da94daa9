"""What a page calls, compared with what there is."""

from __future__ import annotations

import pathlib

import pytest

from pytest_opsrunbooks.runbooks.lint.world import CommandSpec
from pytest_opsrunbooks.runbooks.lint.world import Compose
from tests.runbooks.lint.shell_pages import crontab
from tests.runbooks.lint.shell_pages import page
from tests.runbooks.lint.shell_pages import said

SCRIPTS = {
    "health-check.sh": pathlib.Path("ops/scripts/health-check.sh"),
    "db/backup.sh": pathlib.Path("ops/scripts/db/backup.sh"),
}
COMMANDS = {
    "opsrunbooks": CommandSpec(
        options=frozenset(["--version"]),
        commands={
            "run": CommandSpec(
                options=frozenset(["--set", "--execute", "--json"]), options_with_value=frozenset(["--set"])
            ),
            "lab": CommandSpec(commands={"up": CommandSpec(options=frozenset(["--folder", "-f"]))}),
            "sweep": CommandSpec(open_ended=True),
        },
    )
}
PROCEDURES = {"shop.rollback": frozenset(["snapshot_id"]), "shop.enable_wal": frozenset[str]()}
COMPOSE = Compose(services=frozenset(["api", "db"]), containers={"shop-db": "db"})


# -- crontab lines -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        crontab("0 2 * * * pg_dump shop > /backups/shop-$(date +%F).sql"),
        page("0 2 * * * pg_dump shop > /backups/shop-$(date +%F).sql"),
        page("(crontab -l; echo '0 2 * * * date +%F') | crontab -"),
        page("cat > /etc/cron.d/shop <<'EOF'\n0 2 * * * root date +%F\nEOF"),
    ],
    ids=["file", "block", "echo", "here-document"],
)
def test_a_percent_that_cron_would_end_the_command_at_is_found(document):
    (finding,) = said("shell-crontab-percent", document)
    assert r"\%F" in finding.suggestion


@pytest.mark.parametrize(
    "document", [crontab(r"0 2 * * * date +\%F"), page("date +%F"), crontab("# date +%F")]
)
def test_a_percent_that_is_escaped_or_not_cron_s_is_left_alone(document):
    assert said("shell-crontab-percent", document) == ()


def test_two_restricted_day_fields_mean_either():
    (finding,) = said("shell-cron-or", crontab("0 3 1-7 * 0 /opt/shop/first-sunday.sh"))
    assert "either" in finding.message


@pytest.mark.parametrize(
    "line",
    [
        "0 3 * * 0 /opt/x",
        "0 3 1 * * /opt/x",
        "0 3 */2 * 0 /opt/x",
        "@daily /opt/x",
        r"0 3 1-7 * 0 [ $(date +\%u) = 7 ] && /opt/x",
    ],
)
def test_a_line_with_one_restricted_day_field_or_a_test_of_the_date_is_left_alone(line):
    assert said("shell-cron-or", crontab(line)) == ()


# -- scripts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        page("ops/scripts/generate-handoff.sh > x.md"),
        page("bash scripts/health-chek.sh"),
        page('"$ROOT"/scripts/gone.sh'),
        page("sudo ./gone.sh --all"),
        crontab("0 2 * * * /srv/shop/scripts/gone.sh"),
    ],
)
def test_a_script_that_exists_nowhere_is_found(document):
    (finding,) = said("shell-missing-script", document, scripts=SCRIPTS)
    assert "exists nowhere" in finding.message


def test_the_nearest_script_is_proposed():
    (finding,) = said("shell-missing-script", page("scripts/health-chek.sh"), scripts=SCRIPTS)
    assert "health-check.sh" in finding.suggestion


@pytest.mark.parametrize(
    "text",
    [
        "ops/scripts/health-check.sh",
        "bash scripts/db/backup.sh",
        "cd ops/scripts && ./health-check.sh",
        "/usr/local/bin/their.sh",
        "curl -fsSLO https://example.org/install.sh\nsh install.sh",
        "cat > fix.sh <<'EOF'\ntrue\nEOF\nbash fix.sh",
        "cat gone.sh",
        "docker exec shop ./inside.sh",
    ],
)
def test_a_script_that_is_there_or_made_or_elsewhere_is_left_alone(text):
    assert said("shell-missing-script", page(text), scripts=SCRIPTS) == ()


def test_without_the_scripts_nothing_is_said():
    assert said("shell-missing-script", page("ops/gone.sh")) == ()


# -- commands, procedures, services --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("opsrunbooks lab upp", "no command 'upp'"),
        ("opsrunbooks swep -m p0", "no command 'swep'"),
        ("opsrunbooks run shop.rollback --exec", "no option --exec"),
        ("opsrunbooks --json lab up", "no option --json"),
    ],
)
def test_a_call_that_the_command_refuses_is_found(text, problem):
    (finding,) = said("shell-unknown-command", page(text), commands=COMMANDS)
    assert problem in finding.message


def test_a_call_in_a_sentence_is_looked_at():
    (finding,) = said(
        "shell-unknown-command", page("true", before="Type `opsrunbooks lab upp`."), commands=COMMANDS
    )
    assert finding.line == 3


@pytest.mark.parametrize(
    "text",
    [
        "opsrunbooks run shop.rollback --set a=b --execute",
        "opsrunbooks lab up -f x",
        "opsrunbooks sweep -m p0 --anything",
        "opsrunbooks lab --help",
        'opsrunbooks "$COMMAND" --any',
        "other lab upp",
    ],
)
def test_a_call_that_the_command_takes_is_left_alone(text):
    assert said("shell-unknown-command", page(text), commands=COMMANDS) == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("opsrunbooks run shop.rolback --execute", "no procedure 'shop.rolback'"),
        ("opsrunbooks run shop.rollback --set snapshot=s1", "no input 'snapshot'"),
        ("opsrunbooks run --set=job=1 shop.enable_wal", "no input 'job'"),
    ],
)
def test_a_procedure_or_an_input_that_does_not_exist_is_found(text, problem):
    (finding,) = said("shell-unknown-procedure", page(text), procedures=PROCEDURES)
    assert problem in finding.message


@pytest.mark.parametrize(
    "text",
    [
        'opsrunbooks run shop.rollback --set snapshot_id="$SNAPSHOT_ID" --execute',
        "opsrunbooks run NAME",
        "opsrunbooks run --undo",
        'opsrunbooks run "$NAME" --set x=1',
        "opsrunbooks run --resume --execute",
    ],
)
def test_a_procedure_that_exists_or_is_not_known_yet_is_left_alone(text):
    assert said("shell-unknown-procedure", page(text), procedures=PROCEDURES) == ()


@pytest.mark.parametrize(
    "text",
    [
        "docker compose restart apii",
        "docker-compose -f x.yml logs --tail 50 apii",
        "docker compose exec -T apii sh",
    ],
)
def test_a_service_that_the_compose_file_lacks_is_found(text):
    (finding,) = said("shell-unknown-service", page(text), compose=COMPOSE)
    assert "'apii'" in finding.message


def test_the_name_of_a_container_is_told_from_its_service():
    (finding,) = said("shell-unknown-service", page("docker compose restart shop-db"), compose=COMPOSE)
    assert finding.suggestion == "that is the container of the service db"


@pytest.mark.parametrize(
    "text",
    [
        "docker compose restart api db",
        "docker compose logs -f api",
        "docker compose exec db psql -c x",
        "docker compose ps",
        "docker restart apii",
    ],
)
def test_a_service_of_the_compose_file_is_left_alone(text):
    assert said("shell-unknown-service", page(text), compose=COMPOSE) == ()
