"""Drills of the page scaling. Paths B, C and D say on the page why no lab can show them."""

from __future__ import annotations

import pytest

from systems.shadow_atlas.faults import tools
from systems.shadow_atlas.lab import host

PAGE = "shadow-atlas/scaling"


@pytest.mark.drill(runbook=PAGE, path="A", fault="disk-nearly-full")
def test_room_is_made_on_the_disk(drill):
    """Whoever owns the host makes it bigger while the page is followed."""
    drill(meanwhile={1: tools.on_layout(host.mend)})
