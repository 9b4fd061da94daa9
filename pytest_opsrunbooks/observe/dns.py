"""Name lookups that can be given up.

`getaddrinfo` cannot be interrupted: a name server that does not answer holds its thread for up to a minute.
So every lookup has a daemon thread of its own. It never takes one of the event loop's few executor threads
(six on two cores), where six names of one dead zone would keep every other target from being asked, and never
holds up the end of the process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording

if TYPE_CHECKING:
    import asyncio


@dataclasses.dataclass(frozen=True, kw_only=True)
class Address:
    """An address to connect to: the socket family, and what `socket.connect` takes."""

    family: socket.AddressFamily
    sockaddr: tuple[Any, ...]


Answer = tuple[Address, ...] | Exception


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class DnsObservation(Observation):
    """What a name resolves to on this machine (its resolver, its hosts file), in the resolver's order of
    preference."""

    name: str
    addresses: tuple[str, ...] = ()

    def metrics(self) -> Mapping[str, float]:
        return {} if self.duration_seconds is None else {"duration_seconds": self.duration_seconds}

    def __repr__(self) -> str:
        name = wording.short(self.name, 60)
        if self.error is not None:
            return f"DnsObservation({wording.short(self.error, 120)!r})"
        return f"DnsObservation({name} is {wording.short(', '.join(self.addresses), 80)})"


async def resolve(name: str, *, timeout: float = 5) -> DnsObservation:
    """Looks `name` up. A name that does not exist or is not answered within `timeout` seconds is an
    `error`."""
    import asyncio

    begun = time.monotonic()
    found: tuple[Address, ...] = ()
    error = None
    try:
        async with asyncio.timeout(timeout):
            found = await Resolver().addresses(name, 0)
    except TimeoutError:
        error = f"the name {wording.short(name, 60)} was not resolved within {wording.bound(timeout)}"
    except (OSError, UnicodeError) as exc:
        error = explain(name, exc)
    return DnsObservation(
        name=name,
        addresses=tuple(dict.fromkeys(str(address.sockaddr[0]) for address in found)),
        error=error,
        duration_seconds=time.monotonic() - begun,
    )


def explain(name: str, exc: Exception) -> str:
    """Why `name` could not be looked up, from what `Resolver.addresses` raised."""
    shown = wording.short(name, 60)
    if isinstance(exc, UnicodeError):
        return f"the name {shown!r} is not a valid host name"
    if isinstance(exc, socket.gaierror):
        reasons = {
            socket.EAI_NONAME: "no such name",
            getattr(socket, "EAI_NODATA", None): "it has no address",
            socket.EAI_AGAIN: "the name server gave no answer",
        }
        return f"the name {shown} cannot be resolved: {reasons.get(exc.errno, exc.strerror)}"
    return f"the name {shown} cannot be resolved: {wording.short(str(exc))}"


class Resolver:
    """Looks names up for one event loop; callers that ask for the same name at the same time share one
    lookup."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, int], asyncio.Future[Answer]] = {}

    async def addresses(self, name: str, port: int) -> tuple[Address, ...]:
        """Where `name` is, best first, families alternating. Raises OSError (`socket.gaierror`) or
        UnicodeError."""
        import asyncio

        literal = _literal(name, port)
        if literal is not None:
            return (literal,)
        # Shielded: a caller that gives up must not take the answer from the others.
        answer = await asyncio.shield(self._asked.get((name, port)) or self._ask(name, port))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _ask(self, name: str, port: int) -> asyncio.Future[Answer]:
        import asyncio
        import threading

        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._asked[name, port] = future

        def deliver(answer: Answer) -> None:
            self._asked.pop((name, port), None)
            if not future.done():
                future.set_result(answer)

        def look_up() -> None:
            answer = _look_up(name, port)
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(deliver, answer)

        threading.Thread(target=look_up, name=f"lookup-{name[:40]}", daemon=True).start()
        return future


def _literal(name: str, port: int) -> Address | None:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    if address.version == 4:
        return Address(family=socket.AF_INET, sockaddr=(name, port))
    # A scoped address (fe80::1%eth0) needs the system to turn the interface's name into its number.
    return None if "%" in name else Address(family=socket.AF_INET6, sockaddr=(name, port, 0, 0))


def _look_up(name: str, port: int) -> Answer:
    try:
        infos = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        return exc
    found = [Address(family=info[0], sockaddr=info[4]) for info in infos]
    found = [address for address in found if address.family in (socket.AF_INET, socket.AF_INET6)]
    # Alternating families, as RFC 8305 has it: where IPv6 leads nowhere, the second attempt is already IPv4.
    ranks: dict[socket.AddressFamily, int] = {}
    order = []
    for address in found:
        ranks[address.family] = ranks.get(address.family, 0) + 1
        order.append(ranks[address.family])
    return tuple(address for _, address in sorted(zip(order, found, strict=True), key=lambda pair: pair[0]))
