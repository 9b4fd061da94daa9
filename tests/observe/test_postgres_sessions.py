"""What is made of a server's rows, without a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.observe import postgres
from pytest_opsrunbooks.observe.postgres_sessions import SHOWN_SESSIONS
from pytest_opsrunbooks.observe.postgres_sessions import sessions_of
from pytest_opsrunbooks.observe.postgres_sessions import without_literals
from tests.thorough import examples


def row(pid, state, age_seconds, *, blocked_by=(), waiting_seconds=None):
    """As `postgres_queries.sessions` answers."""
    ages = (age_seconds, age_seconds, age_seconds)
    return (pid, state, "clerk", "shop", *ages, None, "SELECT 1", list(blocked_by), waiting_seconds)


def test_a_full_pool_of_idle_sessions_hides_neither_the_slow_query_nor_the_one_that_blocks():
    idle = [row(pid, "idle", 9000.0) for pid in range(1000, 1400)]
    others = [
        row(1, "active", 400.0),
        row(2, "idle in transaction", 300.0),
        row(3, "idle", 5.0),
        row(4, "active", 7.0, blocked_by=[3], waiting_seconds=6.0),
    ]

    found = sessions_of([*idle, *others])

    assert len(found["sessions"]) == SHOWN_SESSIONS
    assert {1, 2, 3, 4} <= {session.pid for session in found["sessions"]}
    assert found["connections"] == {"idle": 401, "active": 2, "idle in transaction": 1}
    ages = [session.state_age_seconds for session in found["sessions"]]
    assert ages == sorted(ages, reverse=True)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["active", "idle", "idle in transaction", "idle in transaction (aborted)", ""]),
            st.one_of(st.none(), st.floats(-5, 1e6)),
        ),
        max_size=30,
    )
)
@settings(max_examples=examples(50))
def test_the_oldest_of_each_kind_is_told_whatever_else_there_is(states):
    found = sessions_of([row(pid, state, age) for pid, (state, age) in enumerate(states)])

    def oldest(*names):
        ages = [max(0.0, age) for state, age in states if state in names and age is not None]
        return max(ages, default=None)

    assert found["oldest_active_query_seconds"] == oldest("active")
    assert found["oldest_idle_session_seconds"] == oldest("idle")
    assert found["oldest_idle_in_transaction_seconds"] == oldest(
        "idle in transaction", "idle in transaction (aborted)"
    )


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("""SELECT "it's", 'secret'""", """SELECT "it's", ?"""),
        (r"SELECT E'a\'b secret', 1", "SELECT ?, ?"),
        ("SELECT 'it''s secret' || x", "SELECT ? || x"),
        ("-- don't\nSELECT 'secret'", "SELECT ?"),
        ("/* it's */ SELECT 'secret', 1e10, .5, 0xFF FROM t1", "SELECT ?, ?, ?, ? FROM t1"),
        ("SELECT $$secret$$, $x$ $$secret $x$, $1", "SELECT ?, ?, $1"),
        ("SELECT $$secret that was cut o", "SELECT ?"),
        ("SELECT 'secret that was cut o", "SELECT ?"),
        ("SELECT E'secret that was cut\\", "SELECT ?"),
        ("SELECT 1 /* secret that was cut o", "SELECT ?"),
    ],
)
def test_what_may_be_data_is_hidden_and_the_rest_is_not(statement, shown):
    assert without_literals(statement) == shown


SECRET_TEXTS = st.text(alphabet="ab'\\$ \n\"-/*", max_size=12).map(lambda text: f"{text}SECRET{text}")
PIECES = st.one_of(
    SECRET_TEXTS.map(lambda text: "'" + text.replace("'", "''") + "'"),
    SECRET_TEXTS.map(lambda text: "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"),
    SECRET_TEXTS.map(lambda text: "$tag$" + text + "$tag$"),
    SECRET_TEXTS.map(lambda text: "-- " + text.replace("\n", " ") + "\n"),
    SECRET_TEXTS.map(lambda text: "/* " + text.replace("*/", "").replace("/*", "") + " */"),
    st.sampled_from(['"it\'s"', "$1", "col_1", "||", ",", "(", ")"]),
)


@given(st.lists(PIECES, min_size=1, max_size=6), st.integers(0, 10))
@settings(max_examples=examples(150))
def test_no_literal_is_shown_of_any_statement_also_where_the_server_has_cut_it(pieces, cut):
    statement = "SELECT " + " ".join(pieces)
    assert "SECRET" not in without_literals(statement[: len(statement) - cut])


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("host=db.example.org dbname=shop password=swordfish", "does not begin with postgresql://"),
        ("postgresql://shop:sword/fish@db.example.org/shop", "in a password write %2F for /"),
        ("postgresql://shop:swordfish@db.example.org:port/shop", "has no port where one stands"),
        ("postgresql://[shop:swordfish@db/shop", "has no port where one stands"),
    ],
)
def test_a_url_that_is_none_is_an_observation_that_shows_nothing_of_its_password(url, said):
    seen = postgres.inspect(url)

    assert said in seen.error
    assert seen.error_kind == "other"
    assert "fish" not in repr(seen) + seen.error + seen.server + seen.database
    assert said in postgres.query(url, "SELECT 1").error
    assert said in postgres.readable(url, ()).error
    assert said in postgres.amcheck(url).error


@pytest.mark.parametrize(
    ("rows", "lags"),
    [
        ([], {}),
        ([("walreceiver", 1.0), ("walreceiver", 40.0), ("near", 0)], {"walreceiver": 40.0, "near": 0.0}),
        ([("walreceiver", 1.0), ("walreceiver", None), ("walreceiver", 2.0)], {"walreceiver": None}),
    ],
)
def test_of_standbys_that_share_a_name_the_worst_counts(rows, lags):
    assert postgres.worst_lags(rows) == lags
