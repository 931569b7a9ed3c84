"""Google Chat, by a space's webhook: a card, further news in the same thread.

Built here, since Apprise sends text, in which nothing can be escaped. A webhook cannot edit;
`requestId` makes a repeated attempt the same message.
"""

from __future__ import annotations

from html import escape
from typing import Any, Final

import msgspec
from yarl import URL

from pipeline.receivers import Notice, Outcome, Rate
from pipeline.receivers.http import HttpReceiver
from pipeline.receivers.settings import GoogleChatReceiver
from pipeline.receivers.story import Quote, Story, fitted, moment, story_of

MAX_BYTES: Final = 32_000
"""https://developers.google.com/workspace/chat/api/reference/rest/v1/spaces.messages/create"""

MAX_WIDGETS: Final = 100
"""https://developers.google.com/workspace/chat/api/reference/rest/v1/cards#section"""

RATE: Final = Rate(per_second=1.0, burst=1)
"""A space (https://developers.google.com/workspace/chat/limits)."""


class GoogleChat(HttpReceiver[GoogleChatReceiver]):
    """Receiver for a Google Chat space."""

    rate = RATE
    refreshes = False
    folds = True

    async def send(self, notice: Notice) -> Outcome:
        """As `Receiver.send`."""
        story = story_of(notice, self._links)
        body = msgspec.json.encode(message(story, thread=notice.alert.id))

        def target() -> str:
            url = URL(self._settings.target()).update_query(
                messageReplyOption="REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD",
                requestId=notice.notification,
            )
            return str(url)

        return await self._http.post(target, body)


def message(story: Story, *, thread: str) -> dict[str, Any]:
    """The payload of a space's webhook."""

    def render(story: Story) -> dict[str, Any]:
        return _message(story, thread)

    return fitted(story, render, lambda p: len(msgspec.json.encode(p)) <= MAX_BYTES)


def _message(story: Story, thread: str) -> dict[str, Any]:
    facts = [_fact(name, value) for name, value in story.facts]
    if story.said:
        facts.append(_fact("What sets it apart", story.said))
    if story.curve:
        facts.append(_paragraph(escape(story.curve)))
    sections = [
        [_paragraph("<br>".join(map(escape, story.lead)))],
        facts,
        [_paragraph(_quote(quote)) for quote in story.quotes],
        [_paragraph(f"<i>{escape(note)}</i>") for note in story.notes],
    ]
    buttons = [
        {"text": words, "onClick": {"openLink": {"url": link.url}}}
        for words, link in story.links.named()
    ]
    if buttons:
        sections.append([{"buttonList": {"buttons": buttons}}])
    return {
        # Shown where cards are not, as in notifications; not read as markup.
        "fallbackText": story.title,
        "cardsV2": [
            {
                "cardId": "alert",
                "card": {
                    "header": {"title": story.title},
                    "sections": [{"widgets": widgets} for widgets in sections if widgets],
                },
            }
        ],
        "thread": {"threadKey": thread},
    }


def _quote(quote: Quote) -> str:
    by = ", ".join(filter(None, (quote.author, moment(quote.published), quote.alike)))
    line = f"“{escape(quote.text)}”<br>{escape(by)}"
    if quote.link:
        line += f', <a href="{escape(quote.link.url)}">read it at {escape(quote.link.host)}</a>'
    return line


def _paragraph(html: str) -> dict[str, Any]:
    return {"textParagraph": {"text": html}}


def _fact(name: str, value: str) -> dict[str, Any]:
    return {"decoratedText": {"topLabel": name, "text": escape(value), "wrapText": True}}
