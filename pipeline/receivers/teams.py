"""Microsoft Teams, by a workflow ("when a Teams webhook request is received"): an Adaptive Card.

The card is built here: Apprise's has title and text, this one has facts, quotes and a button. All
text is in `TextRun`s, which show what they hold: a `TextBlock` reads Markdown. A workflow can
neither edit nor thread, and takes no id to drop repeats by: each piece of news is a message.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pipeline.receivers import Notice, Outcome, Rate
from pipeline.receivers.http import HttpReceiver
from pipeline.receivers.settings import TeamsReceiver
from pipeline.receivers.story import Quote, Story, fitted, moment, story_of

LIMIT_BYTES: Final = 28 * 1024
"""https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook"""

MAX_BYTES: Final = LIMIT_BYTES * 3 // 4
"""What passes in practice: the limit holds for the message as Teams stores it, encoded."""

VERSION: Final = "1.4"
"""Of the card's schema; Teams on phones shows none later (learn.microsoft.com: Cards reference)."""

RATE: Final = Rate(per_second=1.0, burst=4)
"""Four a second, and fewer over longer spans (same page as the limit)."""

_STYLE: Final = {"firing": "attention", "escalated": "attention", "resolved": "good"}

Element = dict[str, Any]


class Teams(HttpReceiver[TeamsReceiver]):
    """Receiver for a Teams channel or chat."""

    rate = RATE
    refreshes = False
    folds = True

    async def send(self, notice: Notice) -> Outcome:
        """As `Receiver.send`."""
        body = msgspec.json.encode(message(story_of(notice, self._links)))
        return await self._http.post(self._settings.target, body)


def message(story: Story) -> dict[str, Any]:
    """The payload for a workflow."""
    return fitted(story, _message, lambda p: len(msgspec.json.encode(p)) <= MAX_BYTES)


def _message(story: Story) -> dict[str, Any]:
    title = _text(_run(story.title, weight="Bolder", size="Medium"))
    body: list[Element] = [
        {
            "type": "Container",
            "style": _STYLE[story.alert.status],
            "bleed": True,
            "items": [title],
        },
        *(_text(_run(line), spacing="Small") for line in story.lead),
    ]
    for name, value in story.facts:
        body.append(_text(_run(f"{name}: ", weight="Bolder"), _run(value), spacing="Small"))
    if story.said:
        body.append(_text(_run("What sets it apart: ", weight="Bolder"), _run(story.said)))
    if story.curve:
        body.append(_text(_run(story.curve, fontType="Monospace")))
    for quote in story.quotes:
        body.append({"type": "Container", "separator": True, "items": _quote(quote)})
    body += [_text(_run(note, isSubtle=True)) for note in story.notes]
    card: Element = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": VERSION,
        "fallbackText": story.title,
        "msteams": {"width": "Full"},
        "body": body,
    }
    if links := story.links.named():
        card["actions"] = [
            {"type": "Action.OpenUrl", "title": words, "url": link.url} for words, link in links
        ]
    return {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": card,
            }
        ],
    }


def _quote(quote: Quote) -> list[Element]:
    by = " · ".join(filter(None, (quote.author, moment(quote.published), quote.alike)))
    runs = [_run(by, isSubtle=True, size="Small")]
    if quote.link:
        # Its address is no text of ours to shorten: the host is shown, the link goes there.
        runs.append(
            _run(
                f" · read it at {quote.link.host}",
                size="Small",
                selectAction={"type": "Action.OpenUrl", "url": quote.link.url},
            )
        )
    return [_text(_run(f"“{quote.text}”", italic=True)), _text(*runs, spacing="None")]


def _text(*runs: Element, **properties: Any) -> Element:
    return {"type": "RichTextBlock", "inlines": list(runs), **properties}


def _run(text: str, **properties: Any) -> Element:
    return {"type": "TextRun", "text": text, **properties}
