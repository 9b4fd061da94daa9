"""What cannot be taken back, each with a near miss that is right."""

from __future__ import annotations

import pytest

from tests.runbooks.lint.shell_pages import RULES
from tests.runbooks.lint.shell_pages import crontab
from tests.runbooks.lint.shell_pages import page
from tests.runbooks.lint.shell_pages import readme
from tests.runbooks.lint.shell_pages import said
from tests.runbooks.lint.shell_pages import script

WRONG = {
    "safety-destructive-without-backup": [
        "docker compose down -v",
        "docker system prune -af --volumes",
        "docker volume rm shop_data",
        "redis-cli FLUSHALL",
        "dropdb shop",
        "psql -d shop -c 'DROP TABLE orders;'",
        "psql -d shop -c 'TRUNCATE orders;'",
        "sqlite3 shop.db 'DELETE FROM orders;'",
        "rm -rf /var/lib/postgresql/data",
        "rm .shadow-atlas/persistence.db",
        "kubectl delete pvc shop-data",
        "pg_dump shop > backups/shop.sql\ndropdb shop",
    ],
    "safety-unresolved-target": ['rm -rf "$DATA_DIR/"*', "dropdb $NAME", "kill -TERM $WORKER"],
    "safety-broad-kill": [
        "pkill -f batch-orchestrator",
        "killall node",
        "kill -9 $(pgrep -f shop)",
        "ps aux | grep shop | awk '{print $2}' | xargs kill",
        "pkill node",
    ],
    "safety-secret": [
        "export PGPASSWORD=hunter2-but-longer",
        "psql postgres://shop:Tr0ub4dor@db.internal/shop",
        "mysql --password=Tr0ub4dor shop",
        "curl -H 'Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlaGVyZQ' x",
        "aws configure set aws_access_key_id AKIAQ7ZP3M5TNBVCXKJD",
    ],
    "safety-live-copy": [
        "cp .shadow-atlas/persistence.db .shadow-atlas/persistence.db.EMERGENCY",
        "pkill -f batch\ncp -p data/shop.db /backups/",
        'DB=data/shop.db\ncp "$DB" "backups/shop.db"',
        "rsync -a data/shop.sqlite3 host:/backups/",
    ],
    "safety-restore-leaves-wal": [
        'cp "backups/shop-20261119.db" data/shop.db',
        'BACKUP=backups/shop.db\ncp "$BACKUP" data/shop.db',
        "gunzip -c backups/shop.db.gz > data/shop.db",
        "mv work/recovered.db data/shop.db",
    ],
    "safety-newest-by-name": [
        "LATEST=$(ls backups/*.sql.gz | tail -1)",
        "LATEST=$(ls -1 backups | sort -r | head -n 1)",
        "ls backups/*.gz | head -n -7 | xargs rm -f",
        "NEWEST=$(find /backups -name '*.dump' | sort | tail -n 1)",
    ],
    "safety-compression-as-proof": [
        "gunzip -t backups/shop.sql.gz && echo verified",
        "tar -tzf backups/models.tar.gz > /dev/null && echo ok",
        "gzip --test dump.sql.gz",
    ],
    "safety-rising-force": [
        "kill -9 4711",
        "# Option 1: hard\nsystemctl stop shop\n# Option 2: soft\nsystemctl reload shop",
    ],
}

RIGHT = {
    "safety-destructive-without-backup": [
        "docker compose down",
        "docker system prune -af",
        "dropdb shop_restore_test",
        "pg_dump -Fc shop > backups/shop.dump\ncreatedb scratch\npg_restore -d scratch backups/shop.dump\ndropdb shop",
        "opsrunbooks run shadow_atlas.emergency_backup --execute\nrm .shadow-atlas/persistence.db",
        "rm -rf node_modules dist",
        "rm -rf /tmp/shop-data",
        "sqlite3 shop.db 'DELETE FROM orders WHERE id = 7;'",
        "redis-cli DBSIZE",
    ],
    "safety-unresolved-target": [
        'rm -rf "${DATA_DIR:?}/"*',
        'DATA_DIR=/srv/shop\nrm -rf "$DATA_DIR/cache"',
        '[ -n "$NAME" ] && dropdb "$NAME"',
        'set -u\nrm -rf "$DATA_DIR/"',
        'rm "$FILE"',
    ],
    "safety-broad-kill": [
        "systemctl stop shop",
        'kill "$(cat /run/shop.pid)"',
        "pkill -F /run/shop.pid",
        "pgrep -af shop",
        "killall -0 shop",
        "docker exec shop pkill -f worker",
    ],
    "safety-secret": [
        "export PGPASSWORD=changeme",
        'export PGPASSWORD="$(cat /run/secrets/pg)"',
        "psql postgres://user:password@localhost/shop",
        "psql postgres://shop:$PGPASSWORD@db/shop",
        "export API_KEY=your-api-key",
        "export AUTH_TOKEN=<your-token>",
        "mysql --password shop",
    ],
    "safety-live-copy": [
        "sqlite3 data/shop.db \".backup 'backups/shop.db'\"",
        "systemctl stop shop\ncp data/shop.db /backups/",
        "cp backups/shop.db /mnt/offsite/",
        "cp data/shop.db data/shop.db-wal /backups/",
        "cp config.yml config.yml.bak",
    ],
    "safety-restore-leaves-wal": [
        "rm -f data/shop.db-wal data/shop.db-shm\ncp backups/shop.db data/shop.db",
        "sqlite3 data/shop.db \".restore 'backups/shop.db'\"",
        "cp backups/shop.db scratch/shop.db",
        "mv data/shop.db data/broken.db",
    ],
    "safety-newest-by-name": [
        "LATEST=$(ls -t backups/*.sql.gz | head -1)",
        "LATEST=$(find /backups -name '*.dump' -printf '%T@ %p\\n' | sort -n | tail -1)",
        "ls backups/ | tail -20",
        "FIRST=$(ls src | head -1)",
    ],
    "safety-compression-as-proof": [
        "gunzip -t backups/shop.sql.gz\ncreatedb scratch\ngunzip -c backups/shop.sql.gz | psql scratch",
        "gzip -t image.gz",
        "tar -tzf backups/models.tar.gz | head",
    ],
    "safety-rising-force": [
        "kill 4711\nsleep 10\nkill -9 4711",
        "# Option 1: soft\nsystemctl reload shop\n# Option 2: hard\nsystemctl restart shop",
        "systemctl stop shop\nops/restore_backup.sh\nsystemctl restart shop",
    ],
}


def _cases(table):
    return [
        pytest.param(name, text, id=f"{name}-{n}")
        for name, texts in table.items()
        for n, text in enumerate(texts)
    ]


@pytest.mark.parametrize(("name", "text"), _cases(WRONG))
def test_what_cannot_be_taken_back_is_found_in_a_runbook(name, text):
    (finding,) = said(name, page(text))
    assert finding.rule == name
    assert finding.suggestion


@pytest.mark.parametrize(("name", "text"), _cases(RIGHT))
def test_what_is_done_with_care_is_left_alone(name, text):
    assert said(name, page(text)) == ()


def test_every_rule_has_a_case_on_both_sides():
    elsewhere = {"safety-no-verification"}
    assert (
        {name for name in RULES if name.startswith("safety-")}
        == set(WRONG) | elsewhere
        == set(RIGHT) | elsewhere
    )


@pytest.mark.parametrize(
    "name", ["safety-destructive-without-backup", "safety-broad-kill", "safety-live-copy"]
)
def test_markdown_that_is_no_runbook_is_left_alone(name):
    assert said(name, readme(WRONG[name][0])) == ()


def test_a_backup_that_nothing_reads_back_is_told_from_none():
    (none,) = said("safety-destructive-without-backup", script("dropdb shop"))
    (unread,) = said(
        "safety-destructive-without-backup", script("pg_dump shop > backups/shop.sql\ndropdb shop")
    )
    assert "makes a backup" in none.message
    assert "read back" in unread.message


def test_a_backup_that_only_a_comment_speaks_of_is_none():
    assert said("safety-destructive-without-backup", script("# pg_dump shop, pg_restore\ndropdb shop")) != ()


def test_a_secret_is_never_repeated():
    (finding,) = said("safety-secret", page("export PGPASSWORD=hunter2-but-longer"))
    assert "hunter2" not in finding.message + finding.suggestion


def test_a_line_of_a_crontab_is_looked_at():
    assert said("safety-secret", crontab("0 2 * * * PGPASSWORD=hunter2-but-longer pg_dump shop"))[0].line == 1


HARSH_FIRST = """
## Recovery

### Rebuild

```bash
docker compose down -v
```

### Restart

```bash
docker compose restart shop
```
"""


def test_a_destruction_before_a_restart_is_out_of_order():
    (finding,) = said("safety-rising-force", page("true", after=HARSH_FIRST))
    assert "a restart comes after it" in finding.message


def test_a_restart_before_a_destruction_is_in_order():
    gentle_first = (
        HARSH_FIRST.replace("down -v", "SWAP")
        .replace("restart shop", "down -v")
        .replace("SWAP", "restart shop")
    )
    assert said("safety-rising-force", page("true", after=gentle_first)) == ()


CHANGE = "## Fix the order\n\n```bash\npsql shop -c \"UPDATE orders SET state = 'new' WHERE id = 7;\"\n```\n"


def test_a_recovery_that_ends_with_a_change_has_no_verification():
    (finding,) = said("safety-no-verification", page("true", after=CHANGE))
    assert "Fix the order" in finding.message


@pytest.mark.parametrize(
    "look",
    [
        "\nVerify: `test_the_shop_answers`\n",
        "\n```bash\npsql shop -c 'SELECT state FROM orders'\n```\n",
        "\n## Verification\n\nThe shop answers.\n",
        "\nYou should see one row.\n",
    ],
    ids=["verify line", "query", "section", "sentence"],
)
def test_a_look_after_the_last_change_is_enough(look):
    assert said("safety-no-verification", page("true", after=CHANGE + look)) == ()
