"""Any HTTP endpoint: the alert as JSON.

    POST  {"type": "gapwatch.alert", "id": "<notification id>", "alert": {…}}

`alert` is as in the alerts topic. The headers `webhook-id` (the notification id: drop repeats by
it) and `webhook-timestamp` (Unix seconds of this attempt) are named as in Standard Webhooks
(https://github.com/standard-webhooks/standard-webhooks); nothing is signed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import msgspec

from pipeline.receivers import Outcome
from pipeline.receivers.http import post
from pipeline.records import Alert


@dataclass(frozen=True, slots=True)
class Webhook:
    """Receiver for any HTTP endpoint; see the module for what it is sent."""

    session: aiohttp.ClientSession
    target: Callable[[], str]
    timeout: float
    clock: Callable[[], float] = time.time

    async def send(self, alert: Alert, notification: str) -> Outcome:
        """As `Receiver.send`."""
        return await post(
            self.session,
            self.target,
            msgspec.json.encode({"type": "gapwatch.alert", "id": notification, "alert": alert}),
            headers={
                "webhook-id": notification,
                "webhook-timestamp": str(int(self.clock())),
            },
            timeout=self.timeout,
        )
