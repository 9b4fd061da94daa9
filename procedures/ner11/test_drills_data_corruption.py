"""Drills of the page data-corruption. Its other paths say on the page why no lab can show them."""

from __future__ import annotations

import pytest

from systems.ner11.lab import postgres
from systems.ner11.lab.layout import Layout

PAGE = "ner11/data-corruption"


def clear_the_count(directory):
    """In the old database, which the restore has put aside."""
    layout = Layout(directory)
    with postgres.connection(layout) as session:
        (old,) = session.execute("SELECT datname FROM pg_database WHERE datname ~ '_before_'").fetchone()
    with postgres.connection(layout, old) as session:
        session.execute("SELECT pg_stat_reset()")


@pytest.mark.drill(runbook=PAGE, path="A", fault="page-corrupted")
def test_a_database_with_a_damaged_page_is_replaced(drill):
    """What was written since the backup is in the old database, which is kept."""
    assert 0 < drill(meanwhile={3: clear_the_count}).loss.rows <= 25


@pytest.mark.drill(runbook=PAGE, path="C", fault="rows-lost")
def test_rows_that_were_deleted_are_restored(drill):
    assert 0 < drill().loss.rows <= 25
