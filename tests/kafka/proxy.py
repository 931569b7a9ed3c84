"""A TCP proxy whose network can be cut, slowed and mended."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

T = TypeVar("T")

_PART = 65_536


class Proxy:
    """Stands before a local port, in a thread of its own.

    Attributes:
        port: Where it listens.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._target = 0
        self._delay = 0.0
        self._open = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.mend()

    def lead_to(self, port: int) -> Self:
        """Pass connections on to a local port."""
        self._target = port
        return self

    def cut(self) -> None:
        """Let nothing through, as if a cable were pulled: connections stay and hear nothing."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def delay(self, seconds: float) -> None:
        """Hold up every part of what is sent, either way, for so long."""
        self._delay = seconds

    def mend(self) -> None:
        """Let everything through again, what was held up first."""
        self._delay = 0.0
        self._loop.call_soon_threadsafe(self._open.set)

    def reset(self) -> None:
        """Break all connections there are."""

        def close() -> None:
            for writer in self._writers:
                writer.transport.abort()

        self._loop.call_soon_threadsafe(close)

    def close(self) -> None:
        """Stop listening and break all connections."""
        self.mend()
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A transport that is aborted closes its socket in the loop's next round.
        for _ in range(2):
            await asyncio.sleep(0)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._writers |= pair
        try:
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        finally:
            self._writers -= pair
            for end in pair:
                end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while part := await reader.read(_PART):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._open.wait()
                writer.write(part)
                await writer.drain()
        # One side has ended: so does the other.
        writer.transport.abort()
