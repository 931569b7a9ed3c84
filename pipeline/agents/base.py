"""What all agents share: the loop over chunks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pipeline.streaming import App, Chunk, ChunkTopic

T = TypeVar("T")

Handler = Callable[[Chunk], Awaitable[None]]
Preparer = Callable[[Chunk], Awaitable[T]]
Finisher = Callable[[T], Awaitable[None]]


def attach(app: App, topic: ChunkTopic, name: str, handle: Handler) -> Any:
    """Make `handle` the agent that reads `topic`; returns the Faust agent.

    A chunk is acknowledged when `handle` returns. Where it raises, the chunk stays
    unacknowledged and the worker crashes with the error (`App`).
    """

    async def agent(stream: Any) -> None:
        stream.enable_acks = False  # Faust would acknowledge even what failed
        async for event in stream.events():
            await handle(event.value)
            await stream.ack(event)

    return app.agent(topic, name=name, concurrency=1)(agent)


def attach_in_two_steps(
    app: App, topic: ChunkTopic, name: str, prepare: Preparer[T], finish: Finisher[T]
) -> Any:
    """As `attach`, for an agent whose work on a chunk has a second step that mostly waits.

    A chunk is prepared while the one before it is being finished. Chunks are finished and
    acknowledged one at a time and in order; `finish` never runs before the last one has ended.
    """

    async def agent(stream: Any) -> None:
        stream.enable_acks = False
        finishing: asyncio.Task[None] | None = None

        async def finish_and_ack(event: Any, prepared: T) -> None:
            try:
                await finish(prepared)
                await stream.ack(event)
            except Exception as error:
                await app.stop_on_failure(name, error)
                raise

        async for event in stream.events():
            prepared = await prepare(event.value)
            if finishing is not None:
                await finishing
            finishing = asyncio.create_task(finish_and_ack(event, prepared))

    return app.agent(topic, name=name, concurrency=1)(agent)
