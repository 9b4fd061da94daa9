"""A child process as the event loop sees it: what it says, bounded, and when it has ended.

asyncio's own `Process.wait` and `communicate` wait, on some versions of Python, until every pipe is closed. A
program that the child left running keeps its pipes open, so here the end of the process and the end of its
output are told apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

STDOUT, STDERR = 1, 2

LAST_OUTPUT_SECONDS = 0.5
"""How long the output may stay open after the end, where something that left the group holds it."""


class Child(asyncio.SubprocessProtocol):
    """Reads both outputs to their end, so that the child never waits for us, and keeps the first
    `max_output_bytes` of each."""

    def __init__(self, max_output_bytes: int, stdin: bytes | None) -> None:
        loop = asyncio.get_running_loop()
        self._limit = max_output_bytes
        self._stdin = stdin
        self._said = {STDOUT: bytearray(), STDERR: bytearray()}
        self._cut: set[int] = set()
        self._open = {STDOUT, STDERR}
        self._exited: asyncio.Future[None] = loop.create_future()
        self._finished: asyncio.Future[None] = loop.create_future()
        self._transport: asyncio.SubprocessTransport

    async def start(
        self, argv: tuple[str, ...], *, cwd: str | Path | None, env: Mapping[str, str] | None
    ) -> None:
        """Starts it in a session of its own. Raises OSError or ValueError where it cannot be."""
        loop = asyncio.get_running_loop()
        starting = loop.create_task(
            loop.subprocess_exec(
                lambda: self,
                *argv,
                stdin=subprocess.DEVNULL if self._stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env=None if env is None else {**os.environ, **env},
                start_new_session=True,
            )
        )
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The child may run by now. asyncio would kill it alone, and wait for all that it has started.
            await asyncio.wait({starting})
            if not starting.cancelled() and starting.exception() is None:
                await self.end()
            raise

    async def end(self) -> None:
        """Kills what is left of the process group, and takes what it has said until then."""
        self.signal_group(signal.SIGKILL)
        try:
            await self.finished_within(LAST_OUTPUT_SECONDS)
        finally:
            self._transport.close()

    async def exited_within(self, seconds: float) -> bool:
        await asyncio.wait({self._exited}, timeout=seconds)
        return self._exited.done()

    async def finished_within(self, seconds: float) -> bool:
        """Ended, and its outputs closed."""
        await asyncio.wait({self._finished}, timeout=seconds)
        return self._finished.done()

    def signal_group(self, number: signal.Signals) -> None:
        """The whole process group, also where the child itself has ended."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._transport.get_pid(), number)

    @property
    def returncode(self) -> int | None:
        """Negative is the number of the signal that ended it."""
        return self._transport.get_returncode()

    def text(self, output: int) -> str:
        return self._said[output].decode("utf-8", errors="replace")

    def truncated(self, output: int) -> bool:
        return output in self._cut

    # --- called by the event loop ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport
        if self._stdin is not None:
            pipe = transport.get_pipe_transport(0)
            assert isinstance(pipe, asyncio.WriteTransport)
            pipe.write(self._stdin)
            pipe.close()  # once what is waiting has been written

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        room = self._limit - len(self._said[fd])
        self._said[fd] += data[:room]
        if len(data) > room:
            self._cut.add(fd)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002
        self._open.discard(fd)
        self._note_end()

    def process_exited(self) -> None:
        if not self._exited.done():
            self._exited.set_result(None)
        self._note_end()

    def _note_end(self) -> None:
        if self._exited.done() and not self._open and not self._finished.done():
            self._finished.set_result(None)
