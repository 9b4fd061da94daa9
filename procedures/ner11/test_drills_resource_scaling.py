"""The drill of the page resource-scaling. Its other paths say on the page why no lab can show them."""

from __future__ import annotations

import pytest

from systems.ner11.faults import tools

PAGE = "ner11/resource-scaling"
AVAILABLE_BYTES = 9 * 1024**3


@pytest.mark.drill(runbook=PAGE, path="A", fault="memory-used")
def test_memory_is_there_again_once_its_user_was_stopped(drill):
    """The process that took it ends meanwhile: the lab's host has no memory of its own that a restart could free."""
    drill(meanwhile={1: tools.host(node_memory_MemAvailable_bytes=AVAILABLE_BYTES)})
