"""Slack: the alert as blocks that can be acted on without leaving the channel.

Two ways. An incoming webhook can only post: each piece of news is a message. A bot's token can edit
and thread: the first message is kept up to date, and news stands in its thread (shown in the
channel too when an alert escalates). Slack takes no id to drop repeats by: an attempt whose answer
was lost shows as a second message.

The blocks are built here, since Apprise sends Slack only text and attachments. Whatever is not
wholly our own goes into `plain_text`, which Slack neither formats nor links, with its control
sequences escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from pipeline.receivers import Notice, Outcome, Rate
from pipeline.receivers.editing import keep_up
from pipeline.receivers.http import LONG_ANSWER_BYTES, HttpReceiver
from pipeline.receivers.settings import SlackReceiver
from pipeline.receivers.story import Quote, Story, fitted, story_of
from pipeline.receivers.text import Link

# https://docs.slack.dev/reference/block-kit/blocks and, below it, header-block, section-block,
# context-block.
MAX_BLOCKS: Final = 50
MAX_HEADER: Final = 150
MAX_SECTION: Final = 3000
MAX_FIELDS: Final = 10
MAX_FIELD: Final = 2000
MAX_ELEMENTS: Final = 10

RATE: Final = Rate(per_second=1.0, burst=3)
"""Short bursts are tolerated (https://docs.slack.dev/apis/web-api/rate-limits)."""

Block = dict[str, Any]


class Slack(HttpReceiver[SlackReceiver]):
    """Receiver for a Slack channel, by the address of an incoming webhook."""

    rate = RATE
    refreshes = False
    folds = True

    async def send(self, notice: Notice) -> Outcome:
        """As `Receiver.send`."""
        body = msgspec.json.encode(message(story_of(notice, self._links)))
        return await self._http.post(self._settings.target, body)


class _Said(msgspec.Struct):
    """An answer of the Web API, as far as it is used: 200 also for what failed."""

    ok: bool
    error: str = "unknown"
    ts: str = ""
    channel: str = ""


_NO_MESSAGE: Final = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
_REFUSED: Final = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_too_long", "no_text", "invalid_arguments"}
)


class SlackBot(HttpReceiver[SlackReceiver]):
    """Receiver for a Slack channel, by a bot's token."""

    rate = RATE
    refreshes = True
    folds = True

    async def send(self, notice: Notice) -> Outcome:
        """As `Receiver.send`."""
        story = story_of(notice, self._links)
        whole = message(story)

        async def first() -> Outcome:
            return _outcome(
                await self._call("chat.postMessage", whole | {"channel": self._settings.channel})
            )

        async def edit(handle: str) -> Outcome | None:
            channel, _, ts = handle.partition(" ")
            said = await self._call("chat.update", whole | {"channel": channel, "ts": ts})
            if isinstance(said, _Said) and said.error in _NO_MESSAGE:
                return None
            return _outcome(said)

        async def reply(handle: str) -> Outcome:
            channel, _, ts = handle.partition(" ")
            return _outcome(
                await self._call(
                    "chat.postMessage",
                    news(story)
                    | {
                        "channel": channel,
                        "thread_ts": ts,
                        "reply_broadcast": notice.alert.status == "escalated",
                    },
                ),
                handle=handle,
            )

        return await keep_up(notice, first=first, edit=edit, reply=reply)

    async def _call(self, method: str, body: dict[str, Any]) -> _Said | Outcome:
        answer = await self._http.call(
            lambda: f"{self._settings.api}/{method}",
            msgspec.json.encode(body),
            headers=lambda: {
                "Authorization": f"Bearer {self._settings.credential()}",
                "Content-Type": "application/json; charset=utf-8",
            },
            most=LONG_ANSWER_BYTES,
        )
        if isinstance(answer, Outcome):
            return answer
        said = answer.read(_Said) if answer.status == 200 else None
        if said is not None:
            return said
        outcome = answer.outcome()
        if outcome.kind == "delivered":
            return Outcome("retry", "an answer that Slack does not give")
        return outcome


def _outcome(said: _Said | Outcome, *, handle: str | None = None) -> Outcome:
    if isinstance(said, Outcome):
        return said
    if said.ok:
        return Outcome("delivered", "answer ok", handle=handle or f"{said.channel} {said.ts}")
    code = said.error if said.error.isidentifier() and len(said.error) <= 60 else "unknown"
    return Outcome("refused" if code in _REFUSED else "retry", f"Slack says {code}")


def message(story: Story) -> dict[str, Any]:
    """The message of an alert, for an incoming webhook and, with a channel, for the Web API."""
    return fitted(story, _message, lambda payload: len(payload["blocks"]) <= MAX_BLOCKS)


def _message(story: Story) -> dict[str, Any]:
    blocks: list[Block] = [
        {"type": "header", "text": _plain(story.title, MAX_HEADER)},
        _section("\n".join(story.lead)),
    ]
    for at in range(0, len(story.facts), MAX_FIELDS // 2):
        facts = story.facts[at : at + MAX_FIELDS // 2]
        fields = [
            field
            for name, value in facts
            for field in (_mrkdwn(f"*{name}*"), _plain(value, MAX_FIELD))
        ]
        blocks.append({"type": "section", "fields": fields})
    if story.said:
        blocks.append(_section(f"What sets it apart: {story.said}"))
    if story.curve:
        blocks.append(_section(story.curve))
    for quote in story.quotes:
        blocks += _quote(quote)
    notes = [_plain(note, MAX_SECTION) for note in story.notes]
    notes += [_mrkdwn(_link(link, words)) for words, link in story.links.named()]
    if notes:
        blocks.append({"type": "context", "elements": notes[:MAX_ELEMENTS]})
    return _payload(story, blocks)


def news(story: Story) -> dict[str, Any]:
    """What is said in the thread when something changes."""
    return _payload(story, [_section("\n".join((story.title, *story.lead)))])


def _payload(story: Story, blocks: list[Block]) -> dict[str, Any]:
    return {
        # What notifications and screen readers show.
        "text": escape(story.title, MAX_SECTION),
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _quote(quote: Quote) -> list[Block]:
    """A post in its author's words, then whose words and where to read them."""
    by = ", ".join(filter(None, (quote.author, quote.alike)))
    elements = [_plain(by, MAX_SECTION), _mrkdwn(_moment(quote.published))]
    if quote.link:
        elements.append(_mrkdwn(_link(quote.link, f"read it at {quote.link.host}")))
    return [_section(f"“{quote.text}”"), {"type": "context", "elements": elements}]


def _section(text: str) -> Block:
    return {"type": "section", "text": _plain(text, MAX_SECTION)}


def _plain(text: str, limit: int) -> Block:
    return {"type": "plain_text", "text": escape(text, limit), "emoji": False}


def _mrkdwn(text: str) -> Block:
    """Our own words; `verbatim` keeps Slack from finding links and mentions in them."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _moment(moment: datetime) -> str:
    """A time in the reader's zone (https://docs.slack.dev/messaging/formatting-message-text)."""
    fallback = moment.strftime("%Y-%m-%d %H:%M %Z")
    return f"<!date^{int(moment.timestamp())}^{{date_short_pretty}} {{time}}|{fallback}>"


def _link(link: Link, words: str) -> str:
    return f"<{link.url.replace('&', '&amp;')}|{words}>"


_ENTITIES: Final[Mapping[str, str]] = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
"""The characters that control Slack's text; all others are literal."""


def escape(text: str, limit: int) -> str:
    """Text that Slack shows as it stands, at most `limit` characters as Slack counts them.

    Where it is too long it is cut before a character, never inside an entity, and ends in `…`.
    """
    parts = [_ENTITIES.get(character, character) for character in text]
    if sum(map(len, parts)) <= limit:
        return "".join(parts)
    length = 1
    for kept, part in enumerate(parts):
        length += len(part)
        if length > limit:
            return "".join(parts[:kept]) + "…"
    raise AssertionError("a text over the limit is cut")
