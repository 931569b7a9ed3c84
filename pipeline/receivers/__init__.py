"""Where alerts are sent: one receiver a file, all alike to the agent that notifies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from pipeline.records import Alert
from pipeline.settings import ReceiverSettings

if TYPE_CHECKING:
    import aiohttp


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt.

    Attributes:
        kind: `delivered`: the receiver has it. `retry`: it may get through later, and may have
            got through now. `refused`: it never will as things are; do not try again.
        detail: Why, for people; holds no secret and no part of the address.
        retry_after: Seconds the receiver asked to be left alone for; only with `retry`.
    """

    kind: Literal["delivered", "retry", "refused"]
    detail: str
    retry_after: float | None = None


class Receiver(Protocol):
    """One place alerts are sent to.

    Delivery is at least once: an attempt whose answer is lost is made again, and a crash may
    repeat one that was answered. The notification id is the same each time; where the service
    can take an id, it is sent along so that the other side can drop repeats.
    """

    async def send(self, alert: Alert, notification: str) -> Outcome:
        """Make one attempt to deliver an alert's present state.

        Waits no longer than the receiver's timeout. Raises nothing that another attempt or a
        person could mend; that is in the outcome.

        Args:
            notification: Id of this state of this alert, the same over all attempts.
        """
        ...


def receiver_from(
    settings: ReceiverSettings, *, session: aiohttp.ClientSession, page_url: str | None
) -> Receiver:
    """The receiver that the settings describe.

    Args:
        session: The caller's; it outlives the receiver.
        page_url: Address of the live page, for links.
    """
    # Here, since they build on what this module defines.
    from pipeline.receivers.slack import Slack
    from pipeline.receivers.webhook import Webhook

    match settings.kind:
        case "webhook":
            return Webhook(session, settings.target, settings.timeout)
        case "slack":
            return Slack(session, settings.target, settings.timeout, page_url)
