"""What procedures do to real containers of a real engine, and what is read back."""

from __future__ import annotations

import json
import socket
import stat
import threading

import pytest

from pytest_opsrunbooks.recover import container_disk
from pytest_opsrunbooks.recover.containers import Engine
from pytest_opsrunbooks.recover.containers import EngineFailed
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.services import ContainerService
from tests.observe.container_engine import IMAGE
from tests.observe.container_engine import container_engine

__all__ = ("container_engine",)

STUBBORN = "trap '' TERM; echo ready; while :; do /bin/busybox sleep 0.05; done"


@pytest.fixture
def engine(container_engine) -> Engine:
    return Engine(container_engine.host, timeout_seconds=20)


def test_a_container_is_started_and_starting_it_again_changes_nothing(engine, container_engine):
    container_engine.create("web")
    started = engine.start("web")
    assert started.running
    assert engine.start("web").started_at == started.started_at


def test_an_orderly_stop_is_told(engine, container_engine):
    container_engine.until_ready(container_engine.run("web"))
    ended = engine.stop("web", timeout_seconds=15)
    assert (ended.orderly, ended.exit_code) == (True, 0)
    assert not engine.state("web").running
    assert engine.stop("web").orderly


def test_a_stop_that_had_to_kill_is_told(engine, container_engine):
    container_engine.run("web", STUBBORN)
    ended = engine.stop("web", timeout_seconds=0.1)
    assert (ended.orderly, ended.exit_code) == (False, 137)
    assert not engine.state("web").running


def test_a_kill_ends_at_once_and_a_second_one_changes_nothing(engine, container_engine):
    container_engine.run("web", STUBBORN)
    assert not engine.kill("web").orderly
    assert engine.state("web").killed
    assert engine.kill("web").exit_code == 137


def test_a_restart_is_a_new_run(engine, container_engine):
    container_engine.until_ready(container_engine.run("web"))
    before = engine.state("web")
    after = engine.restart("web", timeout_seconds=15)
    assert after.running
    assert after.started_at > before.started_at


def test_a_container_that_cannot_run_is_not_called_started(engine, container_engine):
    body = {"Image": IMAGE, "Cmd": ["/no/such/program"], "HostConfig": {"NetworkMode": "host"}}
    container_engine.call("POST", "/containers/create", params={"name": "broken"}, json=body)
    with pytest.raises(EngineFailed, match=r"container broken"):
        engine.start("broken")


def test_waiting_for_health(engine, container_engine):
    container_engine.run("web", health="echo not yet; /bin/busybox test -e /tmp/well")
    looks = []

    def look_again(_seconds: float) -> None:
        looks.append(1)
        if len(looks) == 2:
            container_engine.podman("exec", "web", "/bin/busybox", "touch", "/tmp/well")
        container_engine.check_health("web")

    waiting = Engine(container_engine.host, sleep=look_again)
    assert waiting.wait_healthy("web", 30).health == "healthy"
    assert len(looks) == 2


def test_health_that_does_not_come_says_what_the_check_said(engine, container_engine):
    container_engine.run("web", health="echo no models; exit 1")
    container_engine.check_health("web")
    with pytest.raises(EngineFailed, match=r"still unhealthy after 0 s; its check says 'no models'"):
        engine.wait_healthy("web", 0)


def test_health_cannot_be_waited_for_without_a_check_or_without_a_run(engine, container_engine):
    container_engine.run("web")
    with pytest.raises(EngineFailed, match="has no health check"):
        engine.wait_healthy("web", 30)
    engine.kill("web")
    with pytest.raises(EngineFailed, match=r"is not running: exited, exit code 137 \(killed\)"):
        engine.wait_healthy("web", 30)


def test_the_whole_log_is_saved_for_this_user_only(engine, container_engine, tmp_path):
    container_engine.run("web", "for n in $(/bin/busybox seq 1 500); do echo line $n; done; echo end >&2")
    container_engine.wait("web")
    saved = engine.logs_to("web", tmp_path / "web.log")
    lines = saved.path.read_text(encoding="utf-8").splitlines()
    assert sorted(lines) == sorted([*(f"line {n}" for n in range(1, 501)), "end"])
    assert (saved.size_bytes, saved.truncated) == (saved.path.stat().st_size, False)
    assert stat.S_IMODE(saved.path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["web.log"]


def test_a_log_that_is_too_long_is_cut_off_and_told(engine, container_engine, tmp_path):
    container_engine.run("web", "for n in $(/bin/busybox seq 1 500); do echo line $n; done")
    container_engine.wait("web")
    saved = engine.logs_to("web", tmp_path / "web.log", max_bytes=100)
    assert (saved.size_bytes, saved.truncated) == (100, True)


def test_a_container_leaves_a_network_and_comes_back(engine, container_engine):
    container_engine.call("POST", "/networks/create", json={"Name": "front"})
    container_engine.run("member", NetworkMode="front")
    engine.disconnect_network("front", "member")
    assert engine.state("member").networks == ()
    engine.disconnect_network("front", "member")
    engine.connect_network("front", "member")
    assert engine.state("member").networks == ("front",)
    engine.connect_network("front", "member")
    with pytest.raises(EngineFailed, match="the engine has no network nowhere"):
        engine.connect_network("nowhere", "member")


def test_only_dangling_images_are_pruned_and_only_old_ones(engine, container_engine):
    container_engine.tag_image("localhost/busybox:moving", "first")
    container_engine.tag_image("localhost/busybox:moving", "second")
    usage = engine.disk_usage()
    assert usage.dangling_images == 1
    assert usage.dangling_images_bytes > 100_000
    assert engine.prune_images(until_hours=1).image_ids == ()
    pruned = engine.prune_images(until_hours=0)
    assert len(pruned.image_ids) == 1
    assert pruned.reclaimed_bytes > 100_000
    assert engine.disk_usage().dangling_images == 0
    names = container_disk.tags(container_engine.call("GET", "/images/json"))
    assert {"localhost/busybox:lab", "localhost/busybox:moving"} <= names


def test_what_is_missing_is_named(engine, tmp_path):
    for act in (engine.start, engine.stop, engine.kill, engine.restart, engine.state):
        with pytest.raises(EngineFailed, match="the engine has no container nobody") as caught:
            act("nobody")
        assert caught.value.kind == "no_container"
    with pytest.raises(ValueError, match="is no container's name"):
        engine.start("../images/prune?")
    missing = Engine(f"unix://{tmp_path}/none.sock")
    with pytest.raises(
        EngineFailed, match=r"there is no socket unix://\S+/none.sock; is it started"
    ) as caught:
        missing.start("web")
    assert caught.value.kind == "no_engine"


def test_an_engine_that_hangs_is_given_up(tmp_path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "hung.sock"))
        listening.listen()
        engine = Engine(f"unix://{tmp_path}/hung.sock", timeout_seconds=0.05)
        with pytest.raises(EngineFailed, match=r"did not answer within 0\.05 s") as caught:
            engine.state("web")
    assert caught.value.kind == "timeout"


def test_a_container_as_a_service(engine, container_engine, tmp_path):
    container_engine.create("api")
    service = ContainerService(engine=engine, container="api")
    assert not service.running()
    service.start(10)
    assert service.running()
    container_engine.until_ready("api")
    assert service.name == "api"
    assert service.stop(15).seconds < 15
    assert not service.running()
    service.start(10)
    assert not service.kill().orderly
    assert "ready" in service.save_logs(tmp_path / "log").path.read_text(encoding="utf-8")


@pytest.fixture
def answering(tmp_path):
    """An engine of a few fixed answers, for what a good engine never says; takes them one by one."""
    path = tmp_path / "fixed.sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()

    def answer_with(*answers: tuple[int, object]) -> Engine:
        def serve() -> None:
            left = list(answers)
            while left:
                connection, _ = listening.accept()
                with connection:
                    if not connection.recv(65536):
                        continue  # it only looked whether somebody listens
                    status, said = left.pop(0)
                    body = said if isinstance(said, bytes) else json.dumps(said).encode()
                    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                    connection.sendall(head.encode() + body)

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return Engine(f"unix://{path}", timeout_seconds=5)

    threads: list[threading.Thread] = []
    yield answer_with
    for thread in threads:
        thread.join(5)
    listening.close()


def told(**state: object) -> dict[str, object]:
    return {
        "Id": "f" * 64,
        "Name": "/web",
        "State": {"Status": "running", "Running": True, **state},
        "Config": {},
        "HostConfig": {},
        "NetworkSettings": {},
    }


def test_a_start_that_changed_nothing_has_failed(answering):
    engine = answering((204, b""), (200, told(Status="exited", Running=False, ExitCode=3)))
    with pytest.raises(EngineFailed, match="was started and does not run: exited, exit code 3"):
        engine.start("web")


def test_a_restart_that_changed_nothing_has_failed(answering):
    running = told(StartedAt="2026-11-20T03:00:00Z")
    engine = answering((200, running), (204, b""), (200, running))
    with pytest.raises(EngineFailed, match="is still the run from before"):
        engine.restart("web")


def test_a_paused_container_has_not_ended(answering):
    paused = told(Status="paused", Paused=True)
    over = told(Status="exited", Running=False, ExitCode=137)
    engine = answering((200, paused), (204, b""), (200, paused), (200, over))
    assert engine.kill("web").exit_code == 137


def test_a_connection_that_changed_nothing_has_failed(answering):
    engine = answering((200, told()), (200, b""), (200, told()))
    with pytest.raises(EngineFailed, match="is no member of it"):
        engine.connect_network("front", "web")


def test_an_image_with_a_name_that_went_with_the_pruned_is_an_alarm(answering):
    named = [{"Id": "a", "RepoTags": ["web:1", "<none>:<none>"]}]
    engine = answering((200, named), (200, {"ImagesDeleted": None, "SpaceReclaimed": 0}), (200, []))
    with pytest.raises(EngineFailed, match="images with a name went too: web:1"):
        engine.prune_images(until_hours=1)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, {"message": "no space left on device"}, "the engine says 500, no space left on device"),
        (404, b"<html>not an engine", "answers 404, and not as a container engine does"),
        (200, b"<html>", "the engine's answer is no JSON, it begins '<html>'"),
        (200, [], "tells no state"),
    ],
)
def test_an_answer_that_is_none_is_told(answering, status, body, said):
    with pytest.raises(StepFailed, match=said):
        answering((status, body)).state("web")


def test_a_log_that_breaks_off_is_not_saved(answering, tmp_path):
    engine = answering((200, told()), (200, b"\1\0\0\0\0\0\0\x09half"))
    with pytest.raises(EngineFailed, match="broke off"):
        engine.logs_to("web", tmp_path / "web.log")
    assert not (tmp_path / "web.log").exists()


def test_disk_usage_counts_what_the_engine_tells_and_nothing_else():
    found = container_disk.usage(
        {
            "LayersSize": 700,
            "Images": [
                {"RepoTags": ["a:1"], "Size": 400, "Containers": 1},
                {"RepoTags": None, "Size": 300, "Containers": 0},
                {"RepoTags": ["<none>:<none>"], "Size": 200, "Containers": -1},
                {"RepoTags": [], "Size": 100, "Containers": 1},
            ],
            "Containers": [
                {"SizeRw": 5, "State": "exited"},
                {"SizeRw": 7, "State": "running"},
                {"State": "exited"},
            ],
            "Volumes": [{"UsageData": {"Size": 11}}, {"UsageData": None}, {"UsageData": {"Size": -1}}],
            "BuildCache": [{"Size": 13}, "?"],
        }
    )
    assert (found.images_bytes, found.dangling_images, found.dangling_images_bytes) == (700, 2, 500)
    assert (found.containers_bytes, found.stopped_containers_bytes) == (12, 5)
    assert (found.volumes_bytes, found.build_cache_bytes) == (11, 13)
    assert container_disk.usage(None).images_bytes is None
