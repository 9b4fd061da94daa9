"""Uploading, pinning, switching gateways and sources: proven on the lab's own servers, believed by hash."""

from __future__ import annotations

import json
import pathlib
import re
import sys

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies

from procedures.shadow_atlas import gateway_procedures
from procedures.shadow_atlas import ipfs_content
from procedures.shadow_atlas import published
from procedures.shadow_atlas.gateway_procedures import switch_gateway
from procedures.shadow_atlas.ipfs_procedures import repin
from procedures.shadow_atlas.ipfs_procedures import retry_ipfs_upload
from procedures.shadow_atlas.provider_procedures import provider_failover
from pytest_opsrunbooks.recover.engine import Outcome
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.redact import Secret
from systems.shadow_atlas import merkle
from systems.shadow_atlas.faults import catalog
from systems.shadow_atlas.faults import tools
from systems.shadow_atlas.lab import data as lab_data
from systems.shadow_atlas.lab.layout import read_json
from systems.shadow_atlas.lab.layout import write_json
from systems.shadow_atlas.settings import Commands
from tests.procedures.shadow_atlas import miniature
from tests.thorough import examples

FAULTS = {fault.name: fault for fault in catalog.FAULTS}
ACTIVE_CID = "SELECT ipfs_cid FROM snapshots WHERE deprecated_at IS NULL"


def cid_of(atlas):
    ((cid,),) = atlas.rows(ACTIVE_CID)
    return cid


def file_of(atlas):
    return next(atlas.layout.snapshots.glob("snapshot-v2-*"))


def on_gateways(atlas, cid):
    seen = published.fetch_from_all(atlas.settings.ipfs_gateways, cid, timeout_seconds=10)
    return [one.verified and one.complete for one in seen]


def never_uploaded(atlas):
    """The fault that the lab knows, and its blocks are nowhere."""
    FAULTS["snapshot-cid-missing"].inject(atlas.layout.root)
    clear_blocks(atlas)


def clear_blocks(atlas):
    for block in atlas.layout.blocks.iterdir():
        block.unlink()


# -- retry_ipfs_upload ---------------------------------------------------------------------------------------


def queued(atlas, content=None):
    """The snapshot's file waits, as the page says; or a tree does."""
    folder = atlas.layout.data / "pending-ipfs-uploads"
    folder.mkdir()
    target = folder / file_of(atlas).name
    target.write_bytes(file_of(atlas).read_bytes() if content is None else content)
    return target


def test_a_waiting_upload_is_made_verified_and_recorded(served):
    never_uploaded(served)
    waiting = queued(served)
    report = served.execute(retry_ipfs_upload)
    assert report.outcome is Outcome.DONE, report.reason
    cid = cid_of(served)
    assert read_json(file_of(served))["ipfsCid"] == cid
    assert on_gateways(served, cid) == [True, True]
    seen = published.first_verified(served.settings.ipfs_gateways, cid, timeout_seconds=10)
    root = merkle.field_element(read_json(file_of(served))["merkleRoot"])
    assert published.stated_root(seen.content) == merkle.padded_hex(root)
    assert not waiting.exists()
    assert (waiting.parent / "uploaded" / waiting.name).exists()


def test_a_tree_that_waits_is_uploaded_as_it_is(served):
    artefact = (served.layout.artefacts / "shadow-atlas-tree.json").read_bytes()
    cid = cid_of(served)
    never_uploaded(served)
    queued(served, artefact)
    assert served.execute(retry_ipfs_upload).outcome is Outcome.DONE
    assert cid_of(served) == cid


def test_undoing_a_recorded_upload_brings_the_records_back(served):
    never_uploaded(served)
    waiting = queued(served)
    before = (
        file_of(served).read_bytes(),
        miniature.everything(served.layout.persistence),
        waiting.read_bytes(),
    )
    report = served.execute(retry_ipfs_upload)
    assert served.undo(retry_ipfs_upload, report).outcome is Outcome.UNDONE
    assert before == (
        file_of(served).read_bytes(), miniature.everything(served.layout.persistence), waiting.read_bytes()
    )  # fmt: skip


def test_a_tree_of_another_root_is_never_published(served):
    never_uploaded(served)
    tree = read_json(served.layout.artefacts / "shadow-atlas-tree.json")
    tree["leaves"][3]["hash"] = f"{merkle.hash_single(3):064x}"
    queued(served, json.dumps(tree).encode())
    with pytest.raises(Refused, match="says that its root is"):
        served.execute(retry_ipfs_upload)
    assert list(served.layout.blocks.iterdir()) == []


def test_proofs_that_give_another_root_are_never_published(served):
    never_uploaded(served)
    queued(served)
    proofs = next(served.layout.proofs.glob(f"proofs-{read_json(file_of(served))['id']}*"))
    document = read_json(proofs)
    next(iter(document["templates"].values()))["leafHash"] = "0x5"
    write_json(proofs, document)
    with pytest.raises(Refused, match="must not be published"):
        served.execute(retry_ipfs_upload)


def test_a_service_that_keeps_other_bytes_is_found_out(served):
    never_uploaded(served)
    queued(served)
    tools.misbehave({"pinning": {"kind": "wrong-bytes"}})(served.layout.root)
    report = served.execute(retry_ipfs_upload)
    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert "stands for other bytes" in report.reason
    assert cid_of(served) == ""


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ({"kind": "status", "status": 503}, "is down: status 503.*path B"),
        ({"kind": "status", "status": 403}, "lacks the right.*path A"),
        ({"kind": "reset"}, "is down: "),
    ],
    ids=["503", "403", "reset"],
)
def test_a_service_that_does_not_take_it_leaves_it_waiting(served, behaviour, said):
    never_uploaded(served)
    waiting = queued(served)
    tools.misbehave({"pinning": behaviour})(served.layout.root)
    report = served.execute(retry_ipfs_upload)
    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert re.search(said, report.reason)
    assert waiting.exists()


def test_a_full_quota_and_a_wrong_token_are_told_apart(served):
    never_uploaded(served)
    queued(served)
    FAULTS["pinning-quota-exceeded"].inject(served.layout.root)
    assert "quota is used" in served.execute(retry_ipfs_upload).reason
    served.layout.pins.with_name("token").write_text("sesame")
    assert "token is wrong" in served.execute(retry_ipfs_upload).reason
    write_json(served.layout.pin_usage, {"used_bytes": 1, "limit_bytes": 2})
    allowed = served.with_settings(pinning_token=Secret("sesame"))
    report = allowed.execute(retry_ipfs_upload)
    assert report.outcome is Outcome.DONE, report.reason
    assert "sesame" not in pathlib.Path(report.journal).read_text()


def test_what_has_a_cid_or_no_service_is_refused(served):
    with pytest.raises(Refused, match="it has no files"):
        served.execute(retry_ipfs_upload)
    ((active,),) = served.rows("SELECT id FROM snapshots WHERE deprecated_at IS NULL")
    with pytest.raises(Refused, match=r"shadow_atlas\.repin"):
        served.execute(retry_ipfs_upload, snapshot_id=active)
    with pytest.raises(Refused, match="pinning_upload_url is not set"):
        served.with_settings(pinning_upload_url=None).execute(retry_ipfs_upload)
    with pytest.raises(Refused, match="sent in clear"):
        served.with_settings(pinning_url="http://pins.example.org", pinning_token=Secret("sesame")).execute(
            retry_ipfs_upload
        )


# -- repin ---------------------------------------------------------------------------------------------------


def test_content_that_the_network_has_is_pinned_by_its_cid(served):
    report = served.execute(repin)
    assert report.outcome is Outcome.DONE, report.reason
    assert report.values["how"] == "pin"
    assert [pin["cid"] for pin in read_json(served.layout.pins).values()] == [cid_of(served)]
    again = served.execute(repin)
    assert "is pinned already" in pathlib.Path(again.transcript).read_text()


def test_content_that_nobody_has_is_built_again_from_the_stored_leaves(served):
    cid = cid_of(served)
    clear_blocks(served)
    assert on_gateways(served, cid) == [False, False]
    report = served.execute(repin)
    assert report.outcome is Outcome.DONE, report.reason
    assert report.values["how"] == "upload"
    assert on_gateways(served, cid) == [True, True]


def test_the_published_file_is_taken_where_the_bytes_cannot_be_built(served, tmp_path):
    """The writer chose another way of writing JSON."""
    tree = read_json(served.layout.artefacts / "shadow-atlas-tree.json")
    artefact = tmp_path / "tree.json"
    artefact.write_text(json.dumps(tree, indent=7))
    cid = lab_data.add_blocks(served.layout, artefact.read_bytes())
    tools.statements(f"UPDATE snapshots SET ipfs_cid = '{cid}' WHERE deprecated_at IS NULL")(
        served.layout.root
    )
    clear_blocks(served)
    with pytest.raises(Refused, match="artefact=…"):
        served.execute(repin)
    assert served.execute(repin, artefact=str(artefact)).outcome is Outcome.DONE
    assert on_gateways(served, cid) == [True, True]


def test_other_bytes_under_another_cid_are_not_taken_for_it(served, tmp_path):
    artefact = tmp_path / "tree.json"
    artefact.write_text(json.dumps(read_json(served.layout.artefacts / "shadow-atlas-tree.json"), indent=7))
    clear_blocks(served)
    report = served.execute(repin, artefact=str(artefact))
    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert "Record nothing" in report.reason


def test_a_pin_that_no_gateway_serves_is_no_success(served, monkeypatch):
    monkeypatch.setattr(ipfs_content, "SETTLE_SECONDS", 1e6)  # so that it looks once
    tools.misbehave({name: {"kind": "wrong-bytes"} for name in ("gateway-1", "gateway-2")})(
        served.layout.root
    )
    report = served.execute(repin)
    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert "0 of 2 gateways serve" in report.reason


def test_a_spare_gateway_that_hangs_does_not_keep_it_from_being_published(served):
    tools.misbehave({"gateway-1": {"kind": "hang"}})(served.layout.root)
    report = served.execute(repin)
    assert report.outcome is Outcome.DONE, report.reason
    assert "only 1 of 2 gateways serve it" in pathlib.Path(report.transcript).read_text()


# -- switch_gateway ------------------------------------------------------------------------------------------


def gateway_in_use(atlas):
    return gateway_procedures.current(atlas.layout.environment.read_text())


def test_the_service_is_given_a_gateway_that_serves_the_snapshot(served, tmp_path):
    first, second = served.settings.ipfs_gateways
    assert gateway_in_use(served) == first
    FAULTS["gateway-wrong-bytes"].inject(served.layout.root)
    told = tmp_path / "told"
    argv = (sys.executable, "-c", f"open({str(told)!r}, 'a').write('{{gateway}} ')")
    served = served.with_settings(commands=Commands(gateway_changed=argv))
    report = served.execute(switch_gateway)
    assert report.outcome is Outcome.DONE, report.reason
    assert gateway_in_use(served) == second
    assert served.layout.environment.read_text() == f"DB_TYPE=sqlite\nIPFS_GATEWAY={second}\n"
    assert served.undo(switch_gateway, report).outcome is Outcome.UNDONE
    assert gateway_in_use(served) == first
    assert told.read_text().split() == [second, first]


def test_a_gateway_that_hangs_is_not_waited_for_once_another_has_served_the_snapshot(served):
    tools.misbehave({"gateway-1": {"kind": "hang"}})(served.layout.root)
    report = served.execute(switch_gateway)
    assert report.outcome is Outcome.DONE, report.reason
    assert gateway_in_use(served) == served.settings.ipfs_gateways[1]


def test_a_gateway_that_works_is_kept_unless_another_is_named(served):
    second = served.settings.ipfs_gateways[1]
    before = served.layout.environment.read_bytes()
    assert served.execute(switch_gateway).outcome is Outcome.DONE
    assert served.layout.environment.read_bytes() == before
    assert served.execute(switch_gateway, gateway=second).outcome is Outcome.DONE
    assert gateway_in_use(served) == second


def test_a_gateway_that_does_not_serve_it_is_refused(served):
    FAULTS["gateway-404"].inject(served.layout.root)
    first = served.settings.ipfs_gateways[0]
    with pytest.raises(Refused, match=r"no gateway serves the snapshot by its hash.*404"):
        served.execute(switch_gateway, gateway=first)
    with pytest.raises(Refused, match="environment_file is not set"):
        served.with_settings(environment_file=None).execute(switch_gateway)
    with pytest.raises(Refused, match="it must match"):
        served.execute(switch_gateway, gateway='https://x"; rm -r /')


lines = strategies.lists(
    strategies.sampled_from(
        [
            "A=1",
            "IPFS_GATEWAY=https://a",
            "export IPFS_GATEWAY='https://b'",
            "# IPFS_GATEWAY=c",
            "",
            "XIPFS_GATEWAY=d",
        ]
    ),
    max_size=6,
)


@given(lines, strategies.sampled_from(["", "\n"]), strategies.sampled_from(["https://new", None]))
@settings(max_examples=examples(60), deadline=None)
def test_only_the_gateways_lines_of_an_environment_file_change(found, end, gateway):
    content = "\n".join(found) + end
    new = gateway_procedures.changed(content, gateway)
    assert gateway_procedures.current(new) == gateway

    def others(text):
        return [line for line in text.splitlines() if not gateway_procedures._LINE.match(line)]

    assert others(new) == others(content)


# -- provider_failover ---------------------------------------------------------------------------------------


def test_a_provider_that_is_down_is_replaced_by_the_first_fallback_that_answers(served):
    tools.misbehave({name: {"kind": "status", "status": 503} for name in ("wyoming", "arcgis-hub")})(
        served.layout.root
    )
    report = served.execute(provider_failover, provider="wyoming")
    assert report.outcome is Outcome.DONE, report.reason
    overrides = read_json(served.layout.source_overrides)
    assert overrides["wyoming"]["use"] == "census-tigerweb"
    assert overrides["wyoming"]["because"] == "HTTP 503"
    assert served.undo(provider_failover, report).outcome is Outcome.UNDONE
    assert not served.layout.source_overrides.exists()


def test_other_overrides_are_left_alone(served):
    write_json(served.layout.source_overrides, {"ohio": {"use": "arcgis-hub"}})
    before = served.layout.source_overrides.read_bytes()
    FAULTS["ten-states-down"].inject(served.layout.root)
    name = next(iter(read_json(served.layout.behaviours)))
    report = served.execute(provider_failover, provider=name)
    assert set(read_json(served.layout.source_overrides)) == {"ohio", name}
    assert served.undo(provider_failover, report).outcome is Outcome.UNDONE
    assert read_json(served.layout.source_overrides) == json.loads(before)


def test_what_needs_no_failover_or_has_none_is_refused(served):
    with pytest.raises(Refused, match="wyoming answers"):
        served.execute(provider_failover, provider="wyoming")
    with pytest.raises(Refused, match="has no fallback"):
        served.execute(provider_failover, provider="census-tigerweb")
    with pytest.raises(Refused, match="did you mean 'wyoming'"):
        served.execute(provider_failover, provider="wyomin")
    FAULTS["every-national-provider-down"].inject(served.layout.root)
    tools.misbehave({"wyoming": {"kind": "reset"}})(served.layout.root)
    with pytest.raises(Refused, match="and so is what could take its place: arcgis-hub: HTTP 503"):
        served.execute(provider_failover, provider="wyoming")
    assert not served.layout.source_overrides.exists()


@pytest.mark.parametrize(
    ("procedure", "given", "prepare"),
    [
        (retry_ipfs_upload, {}, lambda atlas: (never_uploaded(atlas), queued(atlas))),
        (repin, {}, lambda atlas: None),
        (switch_gateway, {}, lambda atlas: FAULTS["gateway-404"].inject(atlas.layout.root)),
        (
            provider_failover,
            {"provider": "wyoming"},
            lambda atlas: tools.misbehave({"wyoming": {"kind": "reset"}})(atlas.layout.root),
        ),
    ],
    ids=["retry_ipfs_upload", "repin", "switch_gateway", "provider_failover"],
)
def test_a_dry_run_changes_nothing(served, procedure, given, prepare):
    prepare(served)
    before = miniature.checksums(served.layout.root)
    assert served.plan(procedure, **given).outcome is Outcome.PLANNED
    assert miniature.checksums(served.layout.root) == before
