"""How an alert came to stand as it does: its turns, told with it."""

from __future__ import annotations

import msgspec

from pipeline.records import TURNS_KEPT, Alert, Turn


def turned(before: Alert | None, now: Alert) -> tuple[Turn, ...]:
    """The turns of an alert as it is `now`, given its last state, if there was one.

    A turn is a change of status, a silence that begins or ends, or somebody taking it on. Of very
    many the first and the latest are kept.
    """
    turns = list(before.turns) if before is not None else []
    silenced = before.silenced if before is not None else None
    acknowledged = before.acknowledged if before is not None else None
    here = Turn(now.updated, now.status, now.seen, now.severity)
    if before is None or not turns or now.status != before.status:
        turns.append(here)
    if now.silenced is not None and now.silenced != silenced:
        turns.append(msgspec.structs.replace(here, what="silenced", by=now.silenced))
    elif now.silenced is None and silenced is not None:
        turns.append(msgspec.structs.replace(here, what="heard"))
    if now.acknowledged is not None and now.acknowledged != acknowledged:
        turns.append(msgspec.structs.replace(here, what="acknowledged", by=now.acknowledged))
    return (*turns[:1], *turns[1:][1 - TURNS_KEPT :])
