"""How much `HttpProber` costs over bare asyncio streams: 500 endpoints that answer after 0.2 s, all at once.

python benchmarks/observe_http.py [--json] [--httpx] [--endpoints 500] [--rounds 7]

The server is a process of its own. The contenders take turns in one run, so that whatever else the machine
does meets both; the figures are medians of the rounds. Compare only within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

ANSWER_SECONDS = 0.2
BODY = b'{"status":"ok"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)


async def serve() -> None:
    """Prints its port, then answers every request after `ANSWER_SECONDS` until it is ended."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(ANSWER_SECONDS)
                writer.write(HEAD + BODY)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def server_process() -> Iterator[int]:
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


async def with_streams(port: int, endpoints: int) -> None:
    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % number)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(len(BODY)) == BODY
        writer.close()

    await asyncio.gather(*(one(number) for number in range(endpoints)))


async def with_prober(port: int, endpoints: int) -> None:
    from pytest_opsrunbooks.observe.http import HttpProber

    prober = HttpProber(max_connections=endpoints)
    found = await asyncio.gather(
        *(prober.get(f"http://127.0.0.1:{port}/{number}") for number in range(endpoints))
    )
    assert all(observation.ok and observation.json() == {"status": "ok"} for observation in found)
    await prober.aclose()


async def with_httpx(port: int, endpoints: int) -> None:
    import httpx

    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(limits=limits, timeout=30) as client:
        answers = await asyncio.gather(
            *(client.get(f"http://127.0.0.1:{port}/{number}") for number in range(endpoints))
        )
    assert all(answer.status_code == 200 for answer in answers)


CONTENDERS = {"bare asyncio streams": with_streams, "HttpProber": with_prober}


def measure(endpoints: int, rounds: int, *, httpx_too: bool = False) -> dict[str, list[float]]:
    """Seconds of each round, by contender; one round beforehand pays for imports."""
    contenders = {**CONTENDERS, **({"httpx alone": with_httpx} if httpx_too else {})}
    took: dict[str, list[float]] = {name: [] for name in contenders}
    with server_process() as port:
        for number in range(rounds + 1):
            for name, contender in contenders.items():
                begun = time.perf_counter()
                asyncio.run(contender(port, endpoints))
                if number:
                    took[name].append(time.perf_counter() - begun)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--endpoints", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--httpx", action="store_true", help="measure httpx's own transport as well; slow")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve())
        return
    medians = {
        name: statistics.median(seconds)
        for name, seconds in measure(arguments.endpoints, arguments.rounds, httpx_too=arguments.httpx).items()
    }
    ratio = medians["HttpProber"] / medians["bare asyncio streams"]
    if arguments.json:
        result = {"endpoints": arguments.endpoints, "rounds": arguments.rounds, "ratio": round(ratio, 3)}
        print(json.dumps({**result, "median_seconds": {name: round(s, 4) for name, s in medians.items()}}))
        return
    print(f"{arguments.endpoints} endpoints that answer after {ANSWER_SECONDS} s; {arguments.rounds} rounds")
    for name, seconds in medians.items():
        print(f"  {name:22} {seconds:6.3f} s (median)")
    print(f"  HttpProber takes {ratio:.2f} times as long as bare streams")


if __name__ == "__main__":
    main()
