"""Discord, by a channel's webhook: one embed an alert, edited as things change.

The embed is built here: Apprise's is text, and cannot be edited. `wait=true` makes Discord answer
with the message's id, by which it is edited; an edit makes no channel unread, so an alert that
escalates, or whose silence begins or ends, is told in a further message. Discord takes no id to
drop repeats by.

All text has its Markdown escaped, and `allowed_mentions` allows none.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from pipeline.receivers import Notice, Outcome, Rate
from pipeline.receivers.curve import picture
from pipeline.receivers.editing import keep_up
from pipeline.receivers.http import LONG_ANSWER_BYTES, Answer, HttpReceiver
from pipeline.receivers.settings import DiscordReceiver
from pipeline.receivers.story import COLOUR, Quote, Story, fitted, story_of
from pipeline.receivers.text import cut, utf16

# https://docs.discord.com/developers/resources/message#embed-object-embed-limits and, for
# the content, /developers/resources/webhook#execute-webhook.
MAX_CONTENT: Final = 2000
MAX_TITLE: Final = 256
MAX_DESCRIPTION: Final = 4096
MAX_FIELDS: Final = 25
MAX_FIELD: Final = 1024
MAX_TOTAL: Final = 6000

RATE: Final = Rate(per_second=0.5, burst=4)
"""Five in two seconds and thirty a minute a webhook, as answers' rate-limit headers state; edits
count too."""

_UNKNOWN_MESSAGE: Final = 10008
"""https://docs.discord.com/developers/topics/opcodes-and-status-codes"""


class _Said(msgspec.Struct):
    """An answer, as far as it is used."""

    id: str = ""
    code: int = 0
    retry_after: float | None = None


class Discord(HttpReceiver[DiscordReceiver]):
    """Receiver for a Discord channel."""

    rate = RATE
    refreshes = True
    folds = True

    async def send(self, notice: Notice) -> Outcome:
        """As `Receiver.send`."""
        story = story_of(notice, self._links)
        curve = notice.alert.curve
        image = await asyncio.to_thread(picture, curve) if curve is not None else None
        whole = message(story, with_picture=image is not None)

        async def first() -> Outcome:
            answer = await self._call("POST", self._target, whole, image)
            said = None if isinstance(answer, Outcome) else answer.read(_Said)
            return _outcome(answer, handle=said.id if said and said.id.isdigit() else None)

        async def edit(handle: str) -> Outcome | None:
            answer = await self._call("PATCH", lambda: self._message(handle), whole, image)
            if isinstance(answer, Answer) and answer.status == 404:
                said = answer.read(_Said)
                if said is not None and said.code == _UNKNOWN_MESSAGE:
                    return None
            return _outcome(answer, handle=handle)

        async def reply(handle: str) -> Outcome:
            if notice.alert.status == "resolved" and notice.silence is None:
                return Outcome("delivered", "its message says so", handle=handle)
            return _outcome(
                await self._call("POST", self._target, news(story), None), handle=handle
            )

        return await keep_up(notice, first=first, edit=edit, reply=reply)

    def _target(self) -> str:
        return str(URL(self._settings.target()).update_query(wait="true"))

    def _message(self, handle: str) -> str:
        target = URL(self._settings.target())
        return str(
            target.with_path(f"{target.path.rstrip('/')}/messages/{handle}", keep_query=True)
        )

    async def _call(
        self, method: str, target: Callable[[], str], payload: dict[str, Any], image: bytes | None
    ) -> Answer | Outcome:
        body: Any = msgspec.json.encode(payload)
        if image is not None:
            form = aiohttp.FormData(default_to_multipart=True)
            form.add_field("payload_json", body.decode(), content_type="application/json")
            form.add_field("files[0]", image, filename="curve.png", content_type="image/png")
            body = form
        return await self._http.call(
            target, body, method=method, json=image is None, most=LONG_ANSWER_BYTES
        )


def _outcome(answer: Answer | Outcome, *, handle: str | None) -> Outcome:
    if isinstance(answer, Outcome):
        return answer
    said = answer.read(_Said) if answer.status == 429 else None
    return answer.outcome(handle=handle, wait=said.retry_after if said else None)


def message(story: Story, *, with_picture: bool = False) -> dict[str, Any]:
    """The payload of an alert's message."""

    def render(story: Story) -> dict[str, Any]:
        embed: dict[str, Any] = {
            "title": escape(story.title, MAX_TITLE),
            "description": _description(story, with_picture),
            "color": COLOUR[story.alert.status],
            "fields": [
                {"name": name, "value": escape(value, MAX_FIELD), "inline": len(value) <= 40}
                for name, value in story.facts[:MAX_FIELDS]
            ],
            "timestamp": story.alert.updated.isoformat(),
        }
        if story.links.page:
            embed["url"] = story.links.page.url
        payload: dict[str, Any] = {"embeds": [embed], "allowed_mentions": {"parse": []}}
        if with_picture:
            embed["image"] = {"url": "attachment://curve.png"}
            payload["attachments"] = [{"id": 0, "filename": "curve.png"}]
        return payload

    return fitted(story, render, _fits)


def news(story: Story) -> dict[str, Any]:
    """What is said in a further message when something changes."""
    text = escape("\n".join((story.title, *story.lead)), MAX_CONTENT)
    return {"content": text, "allowed_mentions": {"parse": []}, "flags": _NO_PREVIEWS}


_NO_PREVIEWS: Final = 1 << 2
"""SUPPRESS_EMBEDS: no previews of links."""


def _fits(payload: dict[str, Any]) -> bool:
    (embed,) = payload["embeds"]
    texts = [embed["title"], embed["description"]]
    texts += [field[part] for field in embed["fields"] for part in ("name", "value")]
    return utf16(embed["description"]) <= MAX_DESCRIPTION and sum(map(utf16, texts)) <= MAX_TOTAL


def _description(story: Story, with_picture: bool) -> str:
    parts = ["\n".join(map(escape, story.lead))]
    if story.said:
        parts.append(f"**What sets it apart:** {escape(story.said)}")
    if story.curve and not with_picture:
        parts.append(escape(story.curve))
    parts += map(_quote, story.quotes)
    parts += [f"-# {escape(note)}" for note in story.notes]
    if links := story.links.named():
        parts.append(" · ".join(f"[{words}](<{link.url}>)" for words, link in links))
    return "\n\n".join(parts)


def _quote(quote: Quote) -> str:
    by = ", ".join(filter(None, (quote.author, quote.alike)))
    line = f"> “{escape(quote.text)}”\n> {escape(by)} · <t:{int(quote.published.timestamp())}:f>"
    if quote.link:
        line += f" · [read it at {escape(quote.link.host)}](<{quote.link.url}>)"
    return line


def escape(text: str, limit: int | None = None) -> str:
    """Text that Discord shows as it stands, cut to fit; newlines stay.

    Discord takes a backslash before any ASCII punctuation mark for an escape.
    """

    def escaped(text: str) -> str:
        return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)

    if limit is None:
        return escaped(text)
    return escaped(cut(text, limit, size=lambda text: utf16(escaped(text))))
