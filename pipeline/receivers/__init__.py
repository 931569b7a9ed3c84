"""Where alerts are sent: one receiver a file, all alike to the agent that notifies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from pipeline.records import Alert

if TYPE_CHECKING:
    from pipeline.receivers.links import LinkTemplates
    from pipeline.receivers.settings import ReceiverSettings


@dataclass(frozen=True, slots=True)
class Notice:
    """What a receiver is to be told: an alert's present state, and what it was told before.

    Attributes:
        alert: The alert.
        notification: Id of this notice, the same over all attempts.
        told: Whether the receiver has been told of this alert before.
        handle: What the receiver gave back for its first message, to edit it or thread under it.
        quiet: New figures or a silenced change: nobody's attention is asked for. Only receivers
            that `refresh` are sent such.
        silence: `begun` or `over`, where the news is that a silence began or ended.
        sample: A test, to be marked as one.
    """

    alert: Alert
    notification: str
    told: bool = False
    handle: str | None = None
    quiet: bool = False
    silence: Literal["begun", "over"] | None = None
    sample: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt.

    Attributes:
        kind: `delivered`: the receiver has it. `retry`: it may get through later, as things mend or
            are mended, and may have got through now. `refused`: the receiver has judged this notice
            and never will take it. `gone`: the receiver is no more, and says so (410): ask it
            nothing until somebody has looked.
        detail: Why, for people; holds no secret and no part of the address.
        retry_after: Seconds the receiver asked to be left alone for; only with `retry`.
        handle: The service's id of the message, where later notices can edit it or thread under it.
    """

    kind: Literal["delivered", "retry", "refused", "gone"]
    detail: str
    retry_after: float | None = None
    handle: str | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a service takes messages.

    Attributes:
        per_second: In the long run.
        burst: At once, after a rest.
    """

    per_second: float
    burst: int


class Receiver(Protocol):
    """One place alerts are sent to.

    Delivery is at least once: an attempt whose answer is lost is made again, and a crash may
    repeat one that was answered. The notification id is the same each time; where the service
    can take an id, it is sent along so that the other side can drop repeats.

    Attributes:
        rate: How often it may be sent to.
        refreshes: It edits its message, or is a machine that keeps up: it takes quiet notices.
        folds: Of several notices of one alert that wait, the last says all: only it is sent.
    """

    @property
    def rate(self) -> Rate: ...
    @property
    def refreshes(self) -> bool: ...
    @property
    def folds(self) -> bool: ...

    async def send(self, notice: Notice) -> Outcome:
        """Make one attempt to deliver a notice.

        Waits no longer than a few times the receiver's timeout. Raises nothing that another
        attempt or a person could mend; that is in the outcome.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


UNTOLD: Final = Rate(per_second=5.0, burst=10)
"""For services that state no limit: no more than a person's own server bears."""


def receiver_from(settings: ReceiverSettings, links: LinkTemplates) -> Receiver:
    """The receiver that the settings describe. Call it in a running event loop.

    Args:
        links: Where messages lead on to.
    """
    # Here, since they build on what this module defines, and so that only what is used is loaded.
    match settings.kind:
        case "webhook":
            from pipeline.receivers.webhook import Webhook

            return Webhook(settings, links)
        case "slack":
            from pipeline.receivers.slack import Slack, SlackBot

            return (SlackBot if settings.by_bot else Slack)(settings, links)
        case "teams":
            from pipeline.receivers.teams import Teams

            return Teams(settings, links)
        case "discord":
            from pipeline.receivers.discord import Discord

            return Discord(settings, links)
        case "mattermost":
            from pipeline.receivers.mattermost import Mattermost

            return Mattermost(settings, links)
        case "google-chat":
            from pipeline.receivers.google_chat import GoogleChat

            return GoogleChat(settings, links)
        case "telegram":
            from pipeline.receivers.telegram import Telegram

            return Telegram(settings, links)
        case "email":
            from pipeline.receivers.email import Email

            return Email(settings, links)
        case "pagerduty":
            from pipeline.receivers.pagerduty import PagerDuty

            return PagerDuty(settings, links)
        case "alertmanager":
            from pipeline.receivers.alertmanager import Alertmanager

            return Alertmanager(settings, links)
        case "apprise":
            from pipeline.receivers.apprise import Apprise

            return Apprise(settings, links)
