"""PagerDuty, by the Events API v2: one incident an alert, whose id is the deduplication key.

Built here, since Apprise sends no key of ours and so can neither acknowledge nor resolve. Repeats
are dropped by the key; what escalates is a further event of the same incident.
(https://developer.pagerduty.com/docs/events-api-v2-overview)
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pipeline.receivers import Notice, Outcome, Rate
from pipeline.receivers.http import HttpReceiver
from pipeline.receivers.settings import PagerDutyReceiver
from pipeline.receivers.story import Story, story_of
from pipeline.receivers.text import cut
from pipeline.records import Alert

# https://developer.pagerduty.com/docs/send-alert-event
MAX_SUMMARY: Final = 1024
MAX_KEY: Final = 255

RATE: Final = Rate(per_second=2.0, burst=10)
"""Our own: PagerDuty adjusts its limit as it goes and states none (same page)."""


class PagerDuty(HttpReceiver[PagerDutyReceiver]):
    """Receiver for a PagerDuty service."""

    rate = RATE
    refreshes = True
    folds = True  # nobody is paged for what is over

    async def send(self, notice: Notice) -> Outcome:
        """As `Receiver.send`."""
        event = event_of(notice, story_of(notice, self._links))
        if event is None:
            return Outcome("delivered", "nothing that PagerDuty is told of")
        try:
            event["routing_key"] = self._settings.credential()
        except OSError as error:
            return Outcome("retry", f"token_file cannot be read: {error.strerror}")
        except ValueError as error:
            return Outcome("retry", str(error))
        return await self._http.post(
            lambda: f"{self._settings.api}/v2/enqueue", msgspec.json.encode(event)
        )


def event_of(notice: Notice, story: Story) -> dict[str, Any] | None:
    """The event, but for its key; None where there is nothing to tell: PagerDuty cannot edit."""
    alert = notice.alert
    key = alert.id[:MAX_KEY]
    if alert.status == "resolved":
        return {"event_action": "resolve", "dedup_key": key}
    if alert.acknowledged and notice.quiet:
        return {"event_action": "acknowledge", "dedup_key": key}
    if notice.quiet or notice.silence == "begun":
        return None
    event: dict[str, Any] = {
        "event_action": "trigger",
        "dedup_key": key,
        "client": "Gapwatch",
        "payload": {
            "summary": cut(story.title, MAX_SUMMARY),
            "source": alert.brand,
            "severity": "info" if notice.sample else severity_of(alert),
            "timestamp": alert.updated.isoformat(),
            "component": alert.touchpoint,
            "group": alert.team,
            "class": alert.kind,
            "custom_details": {
                "what": " ".join(story.lead),
                **dict(story.facts),
                "posts": [f"“{quote.text}” — {quote.author}" for quote in story.quotes],
            },
        },
        "links": [
            *({"href": link.url, "text": words} for words, link in story.links.named()),
            *(
                {"href": quote.link.url, "text": f"post at {quote.link.host}"}
                for quote in story.quotes
                if quote.link
            ),
        ],
    }
    if story.links.page:
        event["client_url"] = story.links.page.url
    return event


def severity_of(alert: Alert) -> str:
    """An alert's severity in PagerDuty's four words."""
    for least, word in ((9, "critical"), (6, "error"), (3, "warning")):
        if alert.severity >= least:
            return word
    return "info"
