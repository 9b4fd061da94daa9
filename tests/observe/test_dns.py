"""What `dns.resolve` says of names."""

from __future__ import annotations

import asyncio
import socket
import threading

import msgspec
import pytest

from pytest_opsrunbooks.observe import dns


def answering(monkeypatch, answer) -> list[str]:
    """Puts `answer`, addresses or an exception, in the place of the system's resolver; returns the names
    asked for."""
    asked = []

    def getaddrinfo(name, port, *_, **__):
        asked.append(name)
        if isinstance(answer, Exception):
            raise answer
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port),
            )
            for address in answer
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_localhost_resolves():
    found = asyncio.run(dns.resolve("localhost"))
    assert found.error is None
    assert {"127.0.0.1", "::1"} & set(found.addresses)
    assert found.metrics() == {"duration_seconds": found.duration_seconds}


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_address_is_its_own_answer(address, monkeypatch):
    asked = answering(monkeypatch, [])
    assert asyncio.run(dns.resolve(address)).addresses == (address,)
    assert asked == []


def test_every_address_is_told_once_families_alternating(monkeypatch):
    answering(monkeypatch, ["2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.1"])
    found = asyncio.run(dns.resolve("service.test"))
    assert found.addresses == ("2001:db8::1", "192.0.2.1", "2001:db8::2")
    assert repr(found) == "DnsObservation(service.test is 2001:db8::1, 192.0.2.1, 2001:db8::2)"
    assert msgspec.json.decode(msgspec.json.encode(found), type=dns.DnsObservation) == found


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "x"), "cannot be resolved: no such name"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "cannot be resolved: the name server gave no answer"),
        (
            socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure"),
            "cannot be resolved: Non-recoverable failure",
        ),
        (OSError("resolver broke"), "cannot be resolved: resolver broke"),
    ],
)
def test_a_name_that_cannot_be_resolved_is_an_error(monkeypatch, failure, reason):
    answering(monkeypatch, failure)
    found = asyncio.run(dns.resolve("service.test"))
    assert found.error == f"the name service.test {reason}"
    assert found.addresses == ()


@pytest.mark.parametrize("name", ["a" * 70 + ".test", "..", "bad\0name"])
def test_what_is_no_name_is_an_error(name):
    found = asyncio.run(dns.resolve(name))
    assert found.error is not None
    assert found.error.isprintable()


def test_a_name_server_that_hangs_is_given_up(monkeypatch):
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(30) and [])
    try:
        found = asyncio.run(dns.resolve("service.test", timeout=0.1))
    finally:
        answered.set()
    assert found.error == "the name service.test was not resolved within 0.1 s"
    assert found.duration_seconds < 2


def test_those_who_ask_for_one_name_at_once_share_a_lookup(monkeypatch):
    asked = answering(monkeypatch, ["192.0.2.1"])

    async def run() -> None:
        resolver = dns.Resolver()
        first = asyncio.create_task(resolver.addresses("service.test", 80))
        others = [asyncio.create_task(resolver.addresses("service.test", 80)) for _ in range(9)]
        await asyncio.sleep(0)
        first.cancel()  # which must not take the answer from the others
        found = await asyncio.gather(*others)
        assert len(set(found)) == 1
        assert asked == ["service.test"]
        await resolver.addresses("service.test", 80)
        assert len(asked) == 2

    asyncio.run(run())
