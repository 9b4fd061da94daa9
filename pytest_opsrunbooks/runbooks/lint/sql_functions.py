"""Functions and tables that one SQL program has and another lacks."""

from __future__ import annotations

OF_THE_CLIENT = frozenset(
    [
        "readfile", "writefile", "edit", "lsmode", "fsdir", "sha1", "sha3", "sha3_query", "regexp",
        "regexpi", "decimal", "ieee754", "generate_series", "uuid", "uint", "percentile", "median",
        "stddev", "sqrt", "power", "pow", "ceil", "ceiling", "floor", "ln", "log", "log2", "log10", "exp",
        "mod", "pi", "acos", "asin", "atan", "cos", "sin", "tan", "degrees", "radians", "trunc", "sign",
        "unixepoch", "octet_length", "string_agg", "concat", "concat_ws", "timediff", "jsonb", "unhex",
        "if", "sha256", "load_extension", "base64", "base85", "strtod", "shell_escape", "zipfile", "usleep",
        "highlight", "bm25", "snippet", "json_pretty", "fts5", "soundex", "rtreecheck",
    ]
)  # fmt: skip
"""What the sqlite3 command, its extensions or a newer SQLite have beside the functions of this one."""

TABLES_OF_THE_CLIENT = frozenset(
    ("generate_series", "dbstat", "sqlite_dbpage", "fsdir", "sqlite_stat1", "sqlite_stat4")
)

POSTGRES_LACKS = frozenset(
    [
        "datetime", "strftime", "julianday", "unixepoch", "ifnull", "group_concat", "json_extract", "instr",
        "total_changes", "hex", "randomblob", "zeroblob", "typeof", "iif", "last_insert_rowid", "date_sub",
        "sysdate", "getdate", "nvl", "curdate", "unix_timestamp", "from_unixtime", "datediff",
    ]
)  # fmt: skip

IN_SQLITE = {
    "now": "use datetime('now')",
    "curdate": "use date('now')",
    "getdate": "use datetime('now')",
    "date_trunc": "use strftime('%Y-%m-%d', …)",
    "to_char": "use strftime(…)",
}
"""What to write in SQLite in the place of another database's function."""

IN_POSTGRES = {
    "datetime": "use now() - interval '1 hour'",
    "strftime": "use to_char(…)",
    "ifnull": "use coalesce(…)",
    "group_concat": "use string_agg(…, ',')",
    "getdate": "use now()",
    "curdate": "use current_date",
    "json_extract": "use ->> or jsonb_path_query(…)",
}
"""The same for PostgreSQL."""
