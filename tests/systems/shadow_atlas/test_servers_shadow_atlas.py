"""The lab's servers over real sockets: what they answer, and that each misbehaviour is what it says."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import socket
import threading
import time
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from pytest_opsrunbooks.observe import cid
from systems.shadow_atlas.faults import tools as fault_tools
from systems.shadow_atlas.lab import ShadowAtlasLab
from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.lab.layout import write_json
from systems.shadow_atlas.providers import STATES

NOW = datetime.datetime(2026, 11, 20, 3, 45, tzinfo=datetime.UTC)


class Served:
    """A lab that is up."""

    def __init__(self, directory):
        self.lab = ShadowAtlasLab()
        self.directory = directory
        self.layout = Layout(directory)
        self.lab.build(directory, NOW)
        self.settings = self.lab.serve(directory)

    @property
    def gateway(self):
        return self.settings["ipfs_gateways"][0]

    @property
    def serving(self):
        return self.settings["serving_url"]

    def provider(self, name):
        return next(provider for provider in self.settings["providers"] if provider["name"] == name)


@pytest.fixture(scope="module")
def lab_up(tmp_path_factory):
    served = Served(tmp_path_factory.mktemp("lab"))
    yield served
    served.lab.stop()


@pytest.fixture
def served(lab_up):
    write_json(lab_up.layout.behaviours, {})
    return lab_up


def get(url, *, method="GET", headers=None, timeout=5.0):
    """Status, headers (lower case), body; one request, no redirect followed."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)) as connection:
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        connection.request(method, target, headers=headers or {})
        response = connection.getresponse()
        return (
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(),
        )


def test_health_has_the_envelope_of_the_api(served):
    status, _, body = get(f"{served.serving}/v1/health")
    envelope = json.loads(body)
    assert status == 200
    assert set(envelope) == {"success", "data", "meta"}
    assert set(envelope["meta"]) == {"requestId", "cached", "version"}
    assert envelope["data"]["status"] == "healthy"
    assert set(envelope["data"]) == {"status", "uptime", "services", "queries", "errors", "timestamp"}


@pytest.mark.parametrize("said", ["degraded", "unhealthy"])
def test_it_says_that_it_is_ill_with_status_200(served, said):
    fault_tools.behave(serving={"kind": "health", "status": said})(served.directory)
    status, _, body = get(f"{served.serving}/v1/health")
    assert (status, json.loads(body)["data"]["status"]) == (200, said)


def test_a_path_without_version_is_of_the_first(served):
    for path in ("/health", "/v1/health"):
        assert json.loads(get(served.serving + path)[2])["success"] is True


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/health", 400, "UNSUPPORTED_VERSION"),
        ("/v1/health/live", 404, "NOT_FOUND"),
        ("/nothing", 404, "NOT_FOUND"),
    ],
)
def test_errors_have_the_envelope_too(served, path, status, code):
    answered, _, body = get(served.serving + path)
    envelope = json.loads(body)
    assert (answered, envelope["success"], envelope["error"]["code"]) == (status, False, code)


def test_the_snapshot_is_the_published_one(served):
    snapshot = json.loads(get(f"{served.serving}/v1/snapshot")[2])["data"]
    assert (served.layout.blocks / snapshot["cid"]).is_file()
    assert snapshot["merkleRoot"] == 0
    assert json.loads(get(f"{served.serving}/v1/snapshots")[2])["data"] == [snapshot]


def test_the_metrics_are_prometheus_text(served):
    _, headers, body = get(f"{served.serving}/v1/metrics")
    assert headers["content-type"].startswith("text/plain")
    assert b"shadow_atlas_health 2\n" in body


def test_every_provider_answers_as_its_settings_say(served):
    assert len(served.settings["providers"]) == 5 + len(STATES)
    for provider in served.settings["providers"]:
        status, headers, body = get(provider["url"])
        assert status == 200, provider
        assert headers["content-type"].startswith("application/json" if provider["json"] else "text/html")
        assert "error" not in (json.loads(body) if provider["json"] else {})


def test_an_unknown_provider_is_not_found(served):
    url = served.provider("colorado")["url"].replace("colorado", "atlantis")
    assert get(url)[0] == 404


def root_of(served):
    return json.loads(served.layout.serving.read_text())["cid"]


def test_a_gateway_serves_blocks_that_hash_to_their_name(served):
    root = root_of(served)
    url, accept = f"{served.gateway}/ipfs/{root}", {"Accept": "application/vnd.ipld.raw"}
    for ask in ({"url": f"{url}?format=raw"}, {"url": url, "headers": accept}):
        status, headers, body = get(**ask)
        assert (status, headers["content-type"]) == (200, "application/vnd.ipld.raw")
        assert "immutable" in headers["cache-control"]
        assert headers["x-content-type-options"] == "nosniff"
        assert cid.verify(root, body)


def test_a_gateway_serves_the_whole_file_to_those_who_trust_it(served):
    status, _, body = get(f"{served.gateway}/ipfs/{root_of(served)}")
    assert status == 200
    assert body == (served.layout.artefacts / "shadow-atlas-tree.json").read_bytes()


def test_a_gateway_does_not_know_every_cid(served):
    assert get(f"{served.gateway}/ipfs/{cid.cid_of(b'something else')}?format=raw")[0] == 404
    assert get(f"{served.gateway}/ipfs/../../etc/passwd")[0] == 400


def test_head_has_the_headers_and_no_body(served):
    url = f"{served.gateway}/ipfs/{root_of(served)}?format=raw"
    _, headers, _ = get(url)
    status, of_head, body = get(url, method="HEAD")
    assert (status, body) == (200, b"")
    assert of_head["content-length"] == headers["content-length"]


def test_other_methods_are_refused(served):
    assert get(f"{served.serving}/v1/health", method="DELETE")[0] == 405


@pytest.mark.parametrize("spare_root", [False, True])
def test_wrong_bytes_come_with_status_200(served, spare_root):
    behaviour = {"kind": "wrong-bytes", "spare_root": spare_root}
    fault_tools.behave(gateway_1=behaviour)(served.directory)
    root = root_of(served)
    leaf = next(block.name for block in served.layout.blocks.iterdir() if block.name != root)
    for name, wrong in ((root, not spare_root), (leaf, True)):
        status, _, body = get(f"{served.gateway}/ipfs/{name}?format=raw")
        assert (status, cid.verify(name, body)) == (200, not wrong)


@pytest.mark.parametrize("status", [404, 429, 503])
def test_a_status_is_answered_by_the_role_alone(served, status):
    fault_tools.behave(colorado={"kind": "status", "status": status})(served.directory)
    answered, headers, _ = get(served.provider("colorado")["url"])
    assert answered == status
    assert ("retry-after" in headers) == (status in {429, 503})
    assert get(served.provider("utah")["url"])[0] == 200


def test_an_arcgis_error_has_status_200(served):
    fault_tools.behave(colorado={"kind": "arcgis-error"})(served.directory)
    status, _, body = get(served.provider("colorado")["url"])
    assert (status, json.loads(body)["error"]["code"]) == (200, 500)


def test_a_redirect_leads_back_to_itself(served):
    fault_tools.behave(colorado={"kind": "redirect-loop"})(served.directory)
    url = served.provider("colorado")["url"]
    status, headers, _ = get(url)
    assert status == 302
    assert url.endswith(headers["location"])


def test_a_reset_is_a_reset(served):
    fault_tools.behave(serving={"kind": "reset"})(served.directory)
    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
        get(f"{served.serving}/v1/health")


def test_a_truncated_answer_is_short(served):
    fault_tools.behave(serving={"kind": "truncated"})(served.directory)
    with pytest.raises(http.client.IncompleteRead):
        get(f"{served.serving}/v1/health")


def test_a_hanging_role_never_answers_and_holds_up_nobody_else(served):
    fault_tools.behave(serving={"kind": "hang"})(served.directory)
    with pytest.raises(TimeoutError):
        get(f"{served.serving}/v1/health", timeout=0.3)
    assert get(served.provider("colorado")["url"])[0] == 200


def test_a_misbehaviour_may_concern_one_path(served):
    fault_tools.behave(serving={"kind": "status", "status": 503, "path": "/v1/snapshot"})(served.directory)
    assert get(f"{served.serving}/v1/snapshot?fresh=1")[0] == 503
    assert get(f"{served.serving}/v1/health")[0] == 200


def test_a_slow_role_answers_right_and_late(served):
    fault_tools.behave(serving={"kind": "slow", "seconds": 0.3})(served.directory)
    begun = time.monotonic()
    assert get(f"{served.serving}/v1/health")[0] == 200
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize(
    "said", [b"", b"\r\n\r\n", b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"x" * 70_000]
)
def test_nonsense_is_hung_up_on(served, said):
    parts = urlsplit(served.serving)
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as client:
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        # What the server left unread makes the kernel reset the connection instead of closing it.
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(10) == b""
    assert get(f"{served.serving}/v1/health")[0] == 200


def test_a_behaviours_file_that_is_no_json_changes_nothing(served):
    served.layout.behaviours.write_text("{", encoding="utf-8")
    assert get(f"{served.serving}/v1/health")[0] == 200


def test_stopping_ends_what_hangs_at_once_and_can_be_repeated(tmp_path):
    served = Served(tmp_path)
    fault_tools.behave(serving={"kind": "hang"})(tmp_path)
    outcome = []

    def ask():
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            get(f"{served.serving}/v1/health", timeout=30)
        outcome.append("hung up")

    client = threading.Thread(target=ask)
    client.start()
    while not any(task for task in served.lab._servers._tasks):
        threading.Event().wait(0.005)
    begun = time.monotonic()
    served.lab.stop()
    client.join(10)
    served.lab.stop()
    assert outcome == ["hung up"]
    assert time.monotonic() - begun < 3


def test_building_and_serving_take_less_than_two_seconds(tmp_path):
    begun = time.monotonic()
    served = Served(tmp_path)
    took = time.monotonic() - begun
    served.lab.stop()
    assert took < 2


def test_a_stopped_lab_can_serve_again(tmp_path):
    served = Served(tmp_path)
    served.lab.stop()
    settings = served.lab.serve(tmp_path)
    assert get(f"{settings['serving_url']}/v1/health")[0] == 200
    served.lab.stop()
