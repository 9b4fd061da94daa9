"""What is asked of a server, for versions 12 to 18. Nothing here takes a lock on a table but `count`, which waits a
second for one at most: sizes are those of the last vacuum or analyze, because asking for the real ones locks.
"""

from __future__ import annotations

FACTS = """
SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), current_setting('max_connections')::int,
  current_setting('superuser_reserved_connections')::int
    + coalesce(current_setting('reserved_connections', true), '0')::int,
  current_setting('data_checksums') = 'on', current_setting('autovacuum_freeze_max_age')::bigint
"""

SIZE = "SELECT pg_database_size(current_database())"

AGE = "SELECT max(age(datfrozenxid)) FROM pg_database"

_SESSIONS = """
SELECT a.pid, coalesce(a.state, ''), a.usename::text, coalesce(a.application_name, ''),
  extract(epoch FROM clock_timestamp() - a.state_change)::float8,
  extract(epoch FROM clock_timestamp() - a.xact_start)::float8,
  extract(epoch FROM clock_timestamp() - a.query_start)::float8,
  a.wait_event_type, left(a.query, 2000),
  CASE WHEN a.wait_event_type = 'Lock' THEN pg_blocking_pids(a.pid) ELSE '{{}}' END,
  {waiting}
FROM pg_stat_activity AS a WHERE a.pid <> pg_backend_pid()
  AND (a.backend_type = 'client backend' OR (a.backend_type IS NULL AND a.datname IS NOT NULL))
"""
_WAITING_14 = """CASE WHEN a.wait_event_type = 'Lock' THEN
  (SELECT extract(epoch FROM clock_timestamp() - min(l.waitstart))::float8
   FROM pg_locks AS l WHERE l.pid = a.pid AND NOT l.granted) END"""
_WAITING_BEFORE = "NULL::float8"


def sessions(version: int) -> str:
    """Every client's session but our own. A role without pg_monitor sees of others that they are there, not what kind
    of process they are. Before version 14 nobody knows since when one waits for its lock."""
    return _SESSIONS.format(waiting=_WAITING_14 if version >= 140_000 else _WAITING_BEFORE)


STATISTICS = "SELECT deadlocks, blks_hit, blks_read, temp_bytes FROM pg_stat_database WHERE datname = current_database()"

CHECKSUM_FAILURES = "SELECT sum(checksum_failures)::bigint FROM pg_stat_database"

TABLES = """
SELECT n.nspname::text, c.relname::text, CASE WHEN c.reltuples >= 0 AND c.relpages > 0 THEN c.reltuples::bigint END,
  CASE WHEN c.relpages > 0 THEN current_setting('block_size')::bigint * (c.relpages
    + coalesce((SELECT sum(i.relpages) FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid WHERE x.indrelid = c.oid), 0)
    + coalesce((SELECT t.relpages FROM pg_class AS t WHERE t.oid = c.reltoastrelid), 0)) END::bigint,
  coalesce(s.n_live_tup, 0), coalesce(s.n_dead_tup, 0),
  extract(epoch FROM now() - greatest(s.last_vacuum, s.last_autovacuum))::float8,
  extract(epoch FROM now() - greatest(s.last_analyze, s.last_autoanalyze))::float8
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_tables AS s ON s.relid = c.oid
WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'
ORDER BY c.relpages DESC, n.nspname, c.relname LIMIT 500
"""

STANDBYS = """
SELECT coalesce(nullif(application_name, ''), client_addr::text, pid::text),
  CASE WHEN replay_lag IS NOT NULL THEN extract(epoch FROM replay_lag)::float8
       WHEN state = 'streaming' AND replay_lsn >= sent_lsn THEN 0 END
FROM pg_stat_replication
"""

OWN_LAG = """
SELECT CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
  ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float8 END
"""

# Without those that our own session sets for itself.
SHOWN_SETTINGS = (
    "shared_buffers", "effective_cache_size", "work_mem", "maintenance_work_mem", "max_wal_size", "wal_buffers",
    "checkpoint_completion_target", "random_page_cost", "effective_io_concurrency",
    "listen_addresses", "autovacuum", "fsync",
)  # fmt: skip
_NAMES = ",".join(SHOWN_SETTINGS)
SETTINGS = f"""
SELECT name, CASE WHEN name = ANY('{{{_NAMES}}}') THEN current_setting(name) END, pending_restart
FROM pg_settings WHERE name = ANY('{{{_NAMES}}}') OR pending_restart ORDER BY name
"""  # noqa: S608 - the names are our own

INVALID_INDEXES = """
SELECT c.relname::text FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE NOT (i.indisvalid AND i.indisready) AND NOT EXISTS
  (SELECT FROM pg_stat_progress_create_index AS p WHERE p.index_relid = i.indexrelid)
ORDER BY 1
"""
