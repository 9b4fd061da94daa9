"""Whether anything of NER11 is there at all."""

from __future__ import annotations

import pytest

from systems.judging import CannotTell
from systems.judging import listed


@pytest.mark.startup
@pytest.mark.p0(runbook="ner11/startup")
def test_not_every_service_is_down(services):
    """One that answers is enough: what is the matter with the others is said by their own checks."""
    if not services.up and not services.down:
        raise CannotTell("[systems.ner11] names no database_url, no api_url and no frontend_url")
    assert services.up != (), f"no service answers: {listed(services.down)}"
