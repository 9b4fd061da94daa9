"""Whether a person with a browser gets NER11, and not only a port."""

from __future__ import annotations

import pytest

from systems.judging import listed
from systems.ner11.observe.frontend import TITLE

PAGE = "ner11/service-control"


@pytest.mark.startup
@pytest.mark.requires("test_the_api_answers", "test_not_every_service_is_down")
@pytest.mark.p1(runbook=PAGE)
@pytest.mark.post_maintenance
def test_the_frontend_answers(frontend_page):
    assert frontend_page.error is None
    assert frontend_page.title == TITLE
    assert frontend_page.has_root, 'the page has no <div id="root"> for the application to appear in'


@pytest.mark.startup
@pytest.mark.requires("test_the_frontend_answers")
@pytest.mark.p1(runbook=PAGE)
def test_the_frontend_serves_its_script(frontend_script):
    assert frontend_script.error is None


@pytest.mark.startup
@pytest.mark.requires(
    "test_the_frontend_answers", "test_the_api_says_healthy", "test_the_contract_is_the_configured_one"
)
@pytest.mark.p1(runbook="ner11/network-connectivity")
@pytest.mark.post_maintenance
def test_the_proxy_reaches_the_api(proxied_health):
    """The same answer as the API's own, through the frontend."""
    assert proxied_health.error is None
    assert proxied_health.reported == "healthy", listed(proxied_health.unwell)
