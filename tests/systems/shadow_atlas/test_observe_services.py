"""Serving API, providers, gateways, quota and capacity: what is an answer and what only looks like one."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import pathlib
from typing import Any

import pytest

from pytest_opsrunbooks.observe.command import CommandObservation
from pytest_opsrunbooks.observe.http import HttpObservation
from pytest_opsrunbooks.observe.ipfs import IpfsObservation
from systems.judging import CannotTell
from systems.shadow_atlas.observe import capacity as observe_capacity
from systems.shadow_atlas.observe import files as observe_files
from systems.shadow_atlas.observe import gateways as observe_gateways
from systems.shadow_atlas.observe import providers as observe_providers
from systems.shadow_atlas.observe import serving as observe_serving
from systems.shadow_atlas.observe.gateways import GatewayCopy
from systems.shadow_atlas.observe.gateways import SnapshotCid
from systems.shadow_atlas.settings import Provider
from systems.shadow_atlas.settings import ShadowAtlas


def answer(body: Any, status: int = 200, **changes: Any) -> HttpObservation:
    text = body if isinstance(body, str) else json.dumps(body)
    return HttpObservation(
        url="http://h/v1/health", status=status, body=text, duration_seconds=0.1, **changes
    )


def envelope(**data: Any) -> dict[str, Any]:
    return {"success": True, "data": data, "meta": {"requestId": "r", "cached": False, "version": "v1"}}


# -- the serving API -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["healthy", "degraded", "unhealthy"])
def test_the_serving_api_is_what_its_body_says(status):
    seen = observe_serving.understand(
        answer(
            envelope(
                status=status, services={"signer": False, "officials": True}, errors={"last5m": 3}, uptime=9
            )
        )
    )
    assert (seen.error, seen.status, seen.errors_last_5m, seen.services_down) == (
        None,
        status,
        3,
        ("signer",),
    )


@pytest.mark.parametrize(
    "seen",
    [
        HttpObservation(url="u", error="refused"),
        answer("<html>healthy</html>"),
        answer(""),
        answer("[]"),
        answer('{"status": "healthy"}'),
        answer({"success": "true", "data": {"status": "healthy"}, "meta": {}}),
        answer({"success": True, "data": {"status": "healthy"}}),
        answer({"success": True, "data": "healthy", "meta": {}}),
        answer(envelope(status="not unhealthy")),
        answer(envelope(status="HEALTHY")),
        answer(envelope(status=["healthy"])),
        answer(envelope()),
        answer(envelope(status="healthy"), status=503),
        answer({"success": False, "error": {"code": "UNSUPPORTED_VERSION"}, "meta": {}}, status=400),
        answer({"success": False, "error": None}),
    ],
    ids=lambda seen: seen.body[:40] or str(seen.error),
)
def test_anything_else_is_no_answer_of_the_serving_api(seen):
    found = observe_serving.understand(seen)
    assert found.error
    assert len(repr(found)) < 200
    with pytest.raises(CannotTell):
        _ = found.status


def test_a_rate_limit_is_an_answer_that_does_not_tell_the_health():
    limited = {"success": False, "error": {"code": "RATE_LIMIT_EXCEEDED", "message": "slow down"}, "meta": {}}
    seen = observe_serving.understand(answer(limited, status=429))
    assert (seen.error, seen.rate_limited) == (None, True)
    with pytest.raises(CannotTell, match="limits our rate"):
        _ = seen.status


@pytest.mark.parametrize("base", ["http://h:3000", "http://h:3000/", "http://h:3000/v1", "http://h:3000/v1/"])
def test_the_health_url_is_below_version_1(base):
    assert observe_serving.health_url(base) == "http://h:3000/v1/health"


# -- providers -----------------------------------------------------------------------------------------------

PAGE = Provider(name="hub", url="http://h", tier="national")
ARCGIS = dataclasses.replace(PAGE, json=True)


@pytest.mark.parametrize(
    ("provider", "seen"),
    [
        (PAGE, answer("<html>")),
        (ARCGIS, answer({"currentVersion": 11})),
        (ARCGIS, answer([])),
        (ARCGIS, answer({"error": None})),
        (ARCGIS, answer('{"layers": [', body_truncated=True)),
    ],
)
def test_what_extraction_could_use_is_an_answer(provider, seen):
    assert observe_providers.understand(provider, seen).error is None


@pytest.mark.parametrize(
    ("provider", "seen", "said"),
    [
        (PAGE, HttpObservation(url="u", error="timed out"), "timed out"),
        (PAGE, answer("", status=503), "HTTP 503"),
        (PAGE, answer("", status=304), "HTTP 304"),
        (ARCGIS, answer("<html>"), "no JSON"),
        (ARCGIS, answer("<html>", body_truncated=True), "no JSON"),
        (ARCGIS, answer({"error": {"code": 499, "message": "Token Required"}}), "Token Required"),
    ],
)
def test_what_it_could_not_use_is_none(provider, seen, said):
    found = observe_providers.understand(provider, seen)
    assert said in (found.error or "")
    assert len(repr(found)) < 200


def test_documented_providers_are_added_and_never_replace_a_configured_one(tmp_path):
    own = Provider(name="arcgis-hub", url="http://mine", tier="national")
    bare = ShadowAtlas(data_dir=tmp_path, providers=(own,))
    assert observe_providers.configured(bare, "national") == (own,)
    assert observe_providers.configured(bare, "state") == ()
    more = dataclasses.replace(bare, documented_providers=True)
    assert own in observe_providers.configured(more, "national")
    assert len(observe_providers.configured(more, "national")) > 3
    assert all(provider.tier == "state" for provider in observe_providers.configured(more, "state"))


def test_states_out_are_the_portals_that_gave_no_answer():
    answers = [
        observe_providers.ProviderAnswer(name=f"s{i}", url="u", error="down" if i % 2 else None)
        for i in range(5)
    ]
    seen = observe_providers.states_out(answers)
    assert (seen.out, seen.asked) == (("s1", "s3"), 5)


# -- gateways ------------------------------------------------------------------------------------------------


class Gateways:
    """Stands for the IPFS prober: each gateway's name says after how many seconds it serves what."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.max_bytes = 0

    async def fetch(self, gateway: str, cid: str, *, max_bytes: int, **_: object) -> IpfsObservation:
        self.max_bytes = max_bytes
        what, _, delay = gateway.partition(":")
        try:
            await asyncio.sleep(float(delay))
        except asyncio.CancelledError:
            self.cancelled.append(gateway)
            raise
        return IpfsObservation(
            gateway=gateway,
            cid=cid,
            verified=what != "wrong",
            complete=what == "whole",
            duration_seconds=float(delay),
            error="block 0 has another hash" if what == "wrong" else None,
        )


def fetch(*gateways: str, whole: bool = False) -> tuple[observe_gateways.GatewayCopies, Gateways]:
    ipfs = Gateways()
    cid = SnapshotCid(text="b", source="row")
    seen = asyncio.run(
        observe_gateways.fetch_everywhere(ipfs, gateways, cid, max_bytes=7, whole=whole)  # type: ignore[arg-type]
    )
    return seen, ipfs


def test_only_verified_copies_count_and_the_others_say_why():
    seen, _ = fetch("whole:0.01", "wrong:0", "part:0")
    assert seen.verified == ("part:0", "whole:0.01")
    assert seen.refused == ("wrong:0: block 0 has another hash",)


def test_at_night_a_part_is_not_enough_and_more_is_fetched():
    seen, ipfs = fetch("whole:0.01", "part:0", whole=True)
    assert seen.verified == ("whole:0.01",)
    assert ipfs.max_bytes > 7


def test_retrieval_takes_until_two_gateways_have_served_it():
    def copy(seconds: float, *, verified: bool = True) -> GatewayCopy:
        return GatewayCopy(
            gateway=str(seconds),
            verified=verified,
            complete=True,
            size_bytes=1,
            retrieval_seconds=seconds,
            error=None,
        )

    def took(*copies: GatewayCopy) -> float | None:
        return observe_gateways.GatewayCopies(copies=copies).retrieval_seconds

    assert took(copy(9), copy(1), copy(5)) == 5
    assert took(copy(9), copy(1, verified=False)) == 9
    assert took(copy(1, verified=False)) is None


def test_once_two_have_served_it_the_others_are_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(observe_gateways, "GRACE_SECONDS", 0.02)
    seen, ipfs = fetch("whole:0", "part:0", "whole:600")
    assert len(seen.verified) == 2
    assert "not waited for" in seen.refused[0]
    assert ipfs.cancelled == ["whole:600"]


def test_without_a_cid_no_gateway_is_asked():
    seen = asyncio.run(
        observe_gateways.fetch_everywhere(None, ("a",), SnapshotCid(error="none"), max_bytes=1, whole=False)  # type: ignore[arg-type]
    )
    assert (seen.error, seen.copies) == ("none", ())


# -- quota ---------------------------------------------------------------------------------------------------


def printed(stdout: str, **changes: Any) -> observe_gateways.PinQuota:
    return observe_gateways.pin_quota(
        CommandObservation(argv=("c",), stdout=stdout, **{"exit_code": 0, **changes})
    )


def test_a_quota_is_a_ratio():
    assert printed('{"used_bytes": 4, "limit_bytes": 5}').used_ratio == 0.8


@pytest.mark.parametrize(
    "seen",
    [
        printed("", exit_code=1, stderr="no token"),
        printed("", exit_code=None, error="not found"),
        printed(""),
        printed("[]"),
        printed("{}"),
        printed('{"used_bytes": "4", "limit_bytes": 5}'),
        printed('{"used_bytes": true, "limit_bytes": 5}'),
        printed('{"used_bytes": 4, "limit_bytes": 0}'),
        printed('{"used_bytes": -4, "limit_bytes": 5}'),
        printed('{"used_bytes": NaN, "limit_bytes": 5}'),
        printed('{"used_bytes": 1, "limit_bytes": Infinity}'),
        printed('{"used_bytes": 1' + "0" * 400 + ', "limit_bytes": 5}'),
    ],
)
def test_anything_else_is_no_quota(seen):
    assert seen.error
    assert len(repr(seen)) < 200


# -- capacity and files --------------------------------------------------------------------------------------


def test_sizes_include_the_write_ahead_log_and_pass_over_what_is_no_file(tmp_path: pathlib.Path):
    for name, size in (("a.db", 10), ("a.db-wal", 5), ("b.db", 12)):
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "c.db").mkdir()
    os.mkfifo(tmp_path / "d.db")
    seen = observe_capacity.database_sizes(tmp_path, ("a.db", "b.db", "c.db", "d.db", "e.db"))
    assert (seen.sizes_bytes, seen.largest_bytes) == ({"a.db": 15, "b.db": 12}, 15)


def test_the_disk_of_a_missing_directory_is_that_of_its_parent(tmp_path):
    seen = observe_capacity.disk(tmp_path / "no" / "where")
    assert (seen.error, seen.path) == (None, str(tmp_path))


def test_a_data_directory_that_is_none_is_said(tmp_path):
    assert observe_files.directory_problem(tmp_path) is None
    assert "does not exist" in (observe_files.directory_problem(tmp_path / "no") or "")
    (tmp_path / "file").write_text("")
    assert "is a file, not a directory" in (observe_files.directory_problem(tmp_path / "file") or "")
    assert "cannot be read" in (observe_files.directory_problem(tmp_path / "file" / "below") or "")


def test_a_file_that_grows_while_it_is_read_is_bounded(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"x" * 11)
    with pytest.raises(observe_files.UnreadableError, match="11 bytes"):
        observe_files.read_regular(path, 10)
    assert observe_files.read_regular(path, 11) == b"x" * 11
