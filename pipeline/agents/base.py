"""What all agents share: the loop over chunks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from pipeline.streaming import App, Chunk, ChunkTopic

T = TypeVar("T")

Handler = Callable[[Chunk], Awaitable[None]]
Preparer = Callable[[Chunk], Coroutine[Any, Any, T]]
Finisher = Callable[[T], Awaitable[None]]


_CLOCKS_APART: Final = time.time() - time.monotonic()


def steady_time() -> float:
    """Epoch seconds by a clock that nobody sets: the wall clock at the start, and the time since.

    For event time in idle hours: with a wall clock that jumps ahead it would jump too, and never
    go back.
    """
    return _CLOCKS_APART + time.monotonic()


def attach(app: App, topic: ChunkTopic, name: str, handle: Handler) -> Any:
    """Make `handle` the agent that reads `topic`; returns the Faust agent.

    A chunk is acknowledged when `handle` returns. Where it raises, the chunk stays
    unacknowledged and the worker crashes with the error (`App`).
    """

    async def agent(stream: Any) -> None:
        stream.enable_acks = False  # Faust would acknowledge even what failed
        async for event in stream.events():
            app.begin_work()
            try:
                await handle(event.value)
                await stream.ack(event)
            finally:
                app.end_work()

    return app.agent(topic, name=name, concurrency=1)(agent)


def attach_in_two_steps(
    app: App, topic: ChunkTopic, name: str, prepare: Preparer[T], finish: Finisher[T]
) -> Any:
    """As `attach`, for an agent whose work on a chunk has a second step that mostly waits.

    Chunks are prepared ahead while earlier ones are prepared or finished; `prepare` begins in
    order, up to its first await. They are finished and acknowledged one at a time and in order:
    `finish` never runs before the last one has ended, and never after one has failed.
    """

    async def agent(stream: Any) -> None:
        stream.enable_acks = False
        ahead: asyncio.Queue[tuple[Any, asyncio.Task[T]]] = asyncio.Queue(maxsize=1)
        taken = 0

        async def finish_in_order() -> None:
            nonlocal taken
            try:
                while True:
                    event, preparing = await ahead.get()
                    await finish(await preparing)
                    await stream.ack(event)
                    taken -= 1
                    app.end_work()
            except Exception as error:
                await app.stop_on_failure(name, error)

        finishing = asyncio.create_task(finish_in_order())
        try:
            async for event in stream.events():
                taken += 1
                app.begin_work()
                await ahead.put((event, asyncio.create_task(prepare(event.value))))
        finally:
            finishing.cancel()
            app.end_work(taken)

    return app.agent(topic, name=name, concurrency=1)(agent)
