"""Any HTTP endpoint: the alert as JSON, sent and signed as in Standard Webhooks.

    POST  {"type": "gapwatch.alert", "id": "<notification id>", "timestamp": "…", "alert": {…},
           "links": {"page": "https://…", "dashboard": "https://…", "runbook": "https://…"}}

`alert` is as in the alerts topic; `links` holds those that the settings give. The headers
(https://www.standardwebhooks.com):

    webhook-id         the notification id, the same over all attempts: drop repeats by it
    webhook-timestamp  Unix seconds of this attempt
    webhook-signature  `v1,` and Base64 of HMAC-SHA256 over `id.timestamp.body`, for each secret

Signed here, in four lines: the library `standardwebhooks` signs with one secret at a time and
brings an HTTP client along. Tests verify with it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from pipeline.receivers import UNTOLD, Notice, Outcome
from pipeline.receivers.http import HttpReceiver
from pipeline.receivers.links import Links, LinkTemplates
from pipeline.receivers.settings import WebhookReceiver


class Webhook(HttpReceiver[WebhookReceiver]):
    """Receiver for any HTTP endpoint; see the module for what it is sent."""

    rate = UNTOLD
    folds = False  # a machine that counts or tracks wants every state

    def __init__(
        self,
        settings: WebhookReceiver,
        links: LinkTemplates,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(settings, links)
        self._clock = clock
        self.refreshes = settings.updates

    async def send(self, notice: Notice) -> Outcome:
        """As `Receiver.send`."""
        body = msgspec.json.encode(message(notice, self._links.of(notice.alert)))

        def headers() -> dict[str, str]:
            now = str(int(self._clock()))
            signed = {"webhook-id": notice.notification, "webhook-timestamp": now}
            if keys := self._settings.keys():
                signed["webhook-signature"] = sign(notice.notification, now, body, keys)
            return signed

        return await self._http.post(self._settings.target, body, headers=headers)


def message(notice: Notice, links: Links) -> dict[str, Any]:
    """The body."""
    ways = {"page": links.page, "dashboard": links.dashboard, "runbook": links.runbook}
    return {
        "type": "gapwatch.alert",
        "id": notice.notification,
        "timestamp": notice.alert.updated,
        **({"test": True} if notice.sample else {}),
        **({"silence": notice.silence} if notice.silence else {}),
        "alert": notice.alert,
        "links": {name: link.url for name, link in ways.items() if link},
    }


def sign(notification: str, timestamp: str, body: bytes, keys: Iterable[bytes]) -> str:
    """The signature header: one signature a key, so that keys can be renewed."""
    signed = f"{notification}.{timestamp}.".encode() + body
    return " ".join(
        f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}" for key in keys
    )
