"""Channels whose messages can be edited: one message an alert, kept up to date."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pipeline.receivers import Notice, Outcome


async def keep_up(
    notice: Notice,
    *,
    first: Callable[[], Awaitable[Outcome]],
    edit: Callable[[str], Awaitable[Outcome | None]],
    reply: Callable[[str], Awaitable[Outcome]],
) -> Outcome:
    """Post the alert's message, or edit it and, where it is news, say so beside it.

    An edit asks for nobody's attention, so news is told by a further message. The edit comes first:
    made again, after an attempt that failed between the two, it changes nothing.

    Args:
        first: Posts the message; its outcome bears the handle.
        edit: Edits the message of this handle; None where that message is no more.
        reply: Says beside it that there is news.
    """
    if notice.handle is None:
        return await first()
    outcome = await edit(notice.handle)
    if outcome is None:
        return await first()
    if outcome.kind != "delivered" or notice.quiet:
        return outcome
    return await reply(notice.handle)
