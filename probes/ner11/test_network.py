"""The TCP edge of each service. No severity: a port that is refused is said by the service's own check, which
asks more; a diagnosis asks whether it was already the port.
"""

from __future__ import annotations

import pytest


@pytest.mark.diagnostic
def test_port_is_open(port):
    assert port.open, port.error
