"""The drill of losing the host: everything comes back from the folder of backups, with a clock."""

from __future__ import annotations

import pytest


@pytest.mark.drill(runbook="ner11/startup", path="F", fault="host-lost")
def test_a_lost_host_is_recovered_from_nothing_but_its_backups(drill):
    """What was written since the backup is lost: the server that had it is gone. Nothing else is."""
    measured = drill()
    assert 0 < measured.loss.rows <= 25
    assert measured.recover_seconds < 1800  # the RTO of the page
