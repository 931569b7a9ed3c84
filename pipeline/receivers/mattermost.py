"""Mattermost, by an incoming webhook: an attachment with facts and quotes.

Built here, since Apprise's is text. An incoming webhook can neither edit nor thread, and takes no
id to drop repeats by: each piece of news is a message.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from pipeline.receivers import UNTOLD, Notice, Outcome
from pipeline.receivers.http import HttpReceiver
from pipeline.receivers.settings import MattermostReceiver
from pipeline.receivers.story import COLOUR, Quote, Story, fitted, moment, story_of

MAX_CHARACTERS: Final = 16_383
"""Of a post (https://docs.mattermost.com/collaborate/send-messages.html); the server counts
attachments apart and more generously, so all of the payload within it is within either limit."""


class Mattermost(HttpReceiver[MattermostReceiver]):
    """Receiver for a Mattermost channel."""

    rate = UNTOLD
    refreshes = False
    folds = True

    async def send(self, notice: Notice) -> Outcome:
        """As `Receiver.send`."""
        body = msgspec.json.encode(message(story_of(notice, self._links)))
        return await self._http.post(self._settings.target, body)


def message(story: Story) -> dict[str, Any]:
    """The payload of an incoming webhook."""
    return fitted(story, _message, lambda p: len(msgspec.json.encode(p).decode()) <= MAX_CHARACTERS)


def _message(story: Story) -> dict[str, Any]:
    parts = [f"**{escape(story.title)}**", "  \n".join(map(escape, story.lead))]
    if story.said:
        parts.append(f"**What sets it apart:** {escape(story.said)}")
    if story.curve:
        parts.append(escape(story.curve))
    parts += map(_quote, story.quotes)
    parts += [f"_{escape(note)}_" for note in story.notes]
    if links := story.links.named():
        parts.append(" · ".join(f"[{words}](<{link.url}>)" for words, link in links))
    return {
        "attachments": [
            {
                "fallback": story.title,
                "color": f"#{COLOUR[story.alert.status]:06x}",
                "text": "\n\n".join(parts),
                "fields": [
                    {"short": len(value) <= 40, "title": name, "value": escape(value)}
                    for name, value in story.facts
                ],
            }
        ]
    }


def _quote(quote: Quote) -> str:
    by = ", ".join(filter(None, (quote.author, moment(quote.published), quote.alike)))
    line = f"> “{escape(quote.text)}”  \n> {escape(by)}"
    if quote.link:
        line += f", [read it at {quote.link.host}](<{quote.link.url}>)"
    return line


_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;"}
"""What no backslash escapes in Mattermost's Markdown: tags, entities and formulas."""


def escape(text: str) -> str:
    """Text that Mattermost shows as it stands."""
    escaped = re.sub(r"([\\`*{}\[\]()#+\-.!_~|])", r"\\\1", text)
    return re.sub(r"[&<>$]", lambda found: _ENTITIES[found[0]], escaped)
