"""Prometheus Alertmanager, by its API v2: alerts beside those of everything else.

Apprise does not know it. Labels say which alert it is and stay over its life what they were at
first, also where its touchpoint becomes known later (they are kept as the message's handle);
severity, which changes, is an annotation. An open alert ends by itself after `LIFETIME` without
news, should Gapwatch be gone; each refresh puts that off.
(https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml)
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec

from pipeline.receivers import UNTOLD, Notice, Outcome
from pipeline.receivers.http import HttpReceiver
from pipeline.receivers.settings import AlertmanagerReceiver
from pipeline.receivers.story import Story, story_of

LIFETIME: Final = timedelta(hours=24)

_NAMES: Final = {
    "gap": "ExpectationGap",
    "delight": "ExpectationsExceeded",
    "score": "AdvocacyScoreFell",
    "rival": "RivalExpectationGap",
}


class Alertmanager(HttpReceiver[AlertmanagerReceiver]):
    """Receiver for an Alertmanager."""

    rate = UNTOLD
    refreshes = True
    folds = True

    async def send(self, notice: Notice) -> Outcome:
        """As `Receiver.send`."""
        story = story_of(notice, self._links)
        labels = labels_of(notice, self._settings.labels)
        answer = await self._http.call(
            lambda: f"{self._settings.target().rstrip('/')}/api/v2/alerts",
            msgspec.json.encode([alert_of(notice, story, labels)]),
            headers=self._headers,
        )
        handle = msgspec.json.encode(labels).decode()
        return answer if isinstance(answer, Outcome) else answer.outcome(handle=handle)

    def _headers(self) -> dict[str, str]:
        token = self._settings.credential()
        return {} if token is None else {"Authorization": f"Bearer {token}"}


def labels_of(notice: Notice, added: Mapping[str, str]) -> dict[str, str]:
    """The labels: as they were at first, if there was a first."""
    if notice.handle is not None:
        return msgspec.json.decode(notice.handle, type=dict[str, str])
    alert = notice.alert
    return {
        "alertname": _NAMES[alert.kind],
        "alert_id": alert.id,
        "brand": alert.brand,
        "touchpoint": alert.touchpoint,
        "team": alert.team,
        **({"test": "true"} if notice.sample else {}),
        **added,
    }


def alert_of(notice: Notice, story: Story, labels: Mapping[str, str]) -> dict[str, Any]:
    """The alert as Alertmanager takes it."""
    alert = notice.alert
    over = alert.status == "resolved" or notice.silence == "begun"
    annotations = {
        "summary": story.title,
        "description": " ".join(story.lead),
        **{_name(name): value for name, value in story.facts},
    }
    if story.quotes:
        annotations["posts"] = "\n".join(f"“{q.text}” — {q.author}" for q in story.quotes)
    # Named as alerting rules name theirs, so that templates find them.
    if story.links.dashboard:
        annotations["dashboard_url"] = story.links.dashboard.url
    if story.links.runbook:
        annotations["runbook_url"] = story.links.runbook.url
    return {
        "labels": labels,
        "annotations": annotations,
        "startsAt": alert.onset.isoformat(),
        "endsAt": (alert.updated if over else alert.updated + LIFETIME).isoformat(),
        **({"generatorURL": story.links.page.url} if story.links.page else {}),
    }


def _name(words: str) -> str:
    """A fact's name as an annotation's: `How unusual` is `how_unusual`."""
    kept = "".join(c for c in words.lower() if c.isalnum() or c == " ")
    return kept.replace(" ", "_")
