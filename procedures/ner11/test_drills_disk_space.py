"""The drill of the page disk-space. Its other paths say on the page why no lab can show them."""

from __future__ import annotations

import pytest

from systems.ner11.faults import tools
from systems.ner11.lab import monitors

PAGE = "ner11/disk-space"


@pytest.mark.drill(runbook=PAGE, path="B", fault="disk-full")
def test_room_is_made_on_the_disk(drill):
    """Whoever owns the host makes it bigger while the page is followed."""
    drill(meanwhile={1: tools.on_layout(monitors.unmount)})


@pytest.mark.drill(runbook=PAGE, path="A", fault="log-large")
def test_a_log_that_has_grown_is_put_away(drill):
    assert drill().loss.rows == 0
