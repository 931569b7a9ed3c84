"""What is owed to whom: the notify agent's memory of an alert."""

from __future__ import annotations

from typing import Literal

import msgspec

from pipeline.domain.erasures import Erasures
from pipeline.records import Alert


class Owed(msgspec.Struct, array_like=True):
    """A notification one receiver has yet to get.

    Attributes:
        since: When it was taken on, epoch seconds.
        notification: Its id.
        quiet, silence: As in `Notice`.
        told: When the alert said so: its record's Kafka timestamp, epoch seconds.
        trouble: Why it is not delivered yet, from the last attempt; empty before the first.
    """

    receiver: str
    alert: Alert
    since: float
    notification: str
    quiet: bool = False
    silence: Literal["begun", "over"] | None = None
    told: float = 0.0
    trouble: str = ""


class Known(msgspec.Struct, array_like=True):
    """What a receiver knows of an alert, or will once it has what it is owed.

    Attributes:
        delivered: Whether anything has been delivered.
        handle: The service's id of the message.
        severity, acknowledged, silenced: The alert's when last taken on.
    """

    delivered: bool = False
    handle: str | None = None
    severity: int = 1
    acknowledged: str | None = None
    silenced: str | None = None


class Lost(msgspec.Struct, array_like=True):
    """A notification that was given up."""

    receiver: str
    notification: str
    at: float
    why: str


class Done(msgspec.Struct, array_like=True):
    """A notification that was delivered."""

    receiver: str
    notification: str
    at: float


class Delivery(msgspec.Struct, array_like=True):
    """What an alert's receivers were promised and are owed.

    Attributes:
        promised: `receiver change` of all news taken on, delivered or not.
        owed: Those not delivered, oldest first.
        updated: When this last changed, epoch seconds.
        known: By receiver.
        lost: Those given up.
        applied: Offset of the newest alerts record taken on; others are replays.
        over: Whether the alert is resolved.
        alert: Its id.
        done: Those delivered, but for what went quietly.
    """

    promised: list[str] = msgspec.field(default_factory=list)
    owed: list[Owed] = msgspec.field(default_factory=list)
    updated: float = 0.0
    known: dict[str, Known] = msgspec.field(default_factory=dict)
    lost: list[Lost] = msgspec.field(default_factory=list)
    applied: int = -1
    over: bool = False
    alert: str = ""
    done: list[Done] = msgspec.field(default_factory=list)

    def owed_to(self, receiver: str) -> list[Owed]:
        """What one receiver has yet to get, oldest first."""
        return [owed for owed in self.owed if owed.receiver == receiver]

    def forget_authors(self, erasures: Erasures) -> bool:
        """Drop the posts of authors who are to be forgotten; whether there were any."""
        found = False
        for owed in self.owed:
            told, owed.alert = owed.alert, erasures.scrubbed(owed.alert)
            found = found or owed.alert is not told
        return found

    def forget(self, receiver: str) -> None:
        """As if the receiver had never been promised anything."""
        self.promised = [each for each in self.promised if each.partition(" ")[0] != receiver]
        self.owed = [owed for owed in self.owed if owed.receiver != receiver]
        self.known.pop(receiver, None)


def merged(one: Delivery, other: Delivery) -> Delivery:
    """What is known from two versions of a delivery, in either order.

    What one of them has settled is settled; of the rest the one that has taken on more is right.
    """
    old, new = sorted((one, other), key=lambda each: (each.applied, each.updated))
    owed = [
        *(o for o in old.owed if not o.quiet and not _has_settled(new, o)),
        *(o for o in new.owed if not _has_settled(old, o)),
    ]
    known = dict(old.known)
    for name, mine in new.known.items():
        theirs = old.known.get(name, mine)
        known[name] = msgspec.structs.replace(
            mine,
            delivered=mine.delivered or theirs.delivered,
            handle=mine.handle or theirs.handle,
        )
    return Delivery(
        promised=list(dict.fromkeys([*old.promised, *new.promised])),
        owed=list({(o.receiver, o.notification): o for o in owed}.values()),
        updated=new.updated,
        known=known,
        lost=list(
            {(lost.receiver, lost.notification): lost for lost in (*old.lost, *new.lost)}.values()
        ),
        applied=new.applied,
        over=new.over,
        alert=new.alert,
        done=list({(d.receiver, d.notification): d for d in (*old.done, *new.done)}.values()),
    )


def _has_settled(delivery: Delivery, owed: Owed) -> bool:
    """Whether a version has taken something on and is done with it."""
    promise = f"{owed.receiver} {owed.notification.removeprefix(f'{owed.alert.id}.')}"
    return promise in delivery.promised and all(
        (o.receiver, o.notification) != (owed.receiver, owed.notification) for o in delivery.owed
    )
