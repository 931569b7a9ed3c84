"""What all agents share: the loop over chunks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pipeline.streaming import App, Chunk, ChunkTopic

Handler = Callable[[Chunk], Awaitable[None]]


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
