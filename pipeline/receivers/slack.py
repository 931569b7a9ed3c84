"""Slack, by an incoming webhook: the alert as a message that can be acted on without leaving it.

Slack takes no id to drop repeats by: an attempt whose answer was lost shows as a second message.

What authors wrote is hostile until shown: it goes into `plain_text`, which Slack neither formats
nor links, with its control sequences escaped and its mentions and addresses broken up.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import aiohttp
import msgspec

from pipeline.receivers import Outcome
from pipeline.receivers.http import post
from pipeline.records import Alert, Post

# Limits of Slack (https://docs.slack.dev/reference/block-kit/blocks).
MAX_BLOCKS: Final = 50
MAX_HEADER: Final = 150
MAX_SECTION: Final = 3000
MAX_LINK: Final = 3000

# Our own: a message that is read, not scrolled past.
MAX_POSTS: Final = 3
MAX_POST: Final = 500
MAX_AUTHOR: Final = 80

_SIGN: Final = {"firing": "🔴", "escalated": "🔺", "resolved": "✅"}

Block = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Slack:
    """Receiver for a Slack channel, by the address of an incoming webhook."""

    session: aiohttp.ClientSession
    target: Callable[[], str]
    timeout: float
    page_url: str | None = None

    async def send(self, alert: Alert, notification: str) -> Outcome:
        """As `Receiver.send`; the notification id does not reach Slack."""
        body = msgspec.json.encode(message(alert, page_url=self.page_url))
        return await post(self.session, self.target, body, headers={}, timeout=self.timeout)


def message(alert: Alert, *, page_url: str | None) -> dict[str, Any]:
    """The payload of an incoming webhook for an alert's present state."""
    title = _title(alert)
    blocks: list[Block] = [
        {"type": "header", "text": _plain(title, MAX_HEADER)},
        {"type": "section", "text": _mrkdwn(_story(alert))},
        {"type": "section", "fields": [_mrkdwn(field) for field in _fields(alert)]},
    ]
    for post_ in alert.posts[:MAX_POSTS]:
        blocks += _quote(post_)
    notes = []
    if alert.cold:
        notes.append(_mrkdwn("The brand's history is short: the expectation is a careful guess."))
    if page_url and (link := _link(page_url, "Open the live page")):
        notes.append(_mrkdwn(link))
    if notes:
        blocks.append({"type": "context", "elements": notes})
    return {
        # What notifications and screen readers show.
        "text": escape(title, MAX_SECTION),
        "blocks": blocks[:MAX_BLOCKS],
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _title(alert: Alert) -> str:
    about = "" if alert.touchpoint == "all" else f" on {alert.touchpoint}"
    said = {
        "firing": f"disappointment{about} is above what is usual",
        "escalated": f"disappointment{about} keeps growing",
        "resolved": f"talk{about} is back to usual",
    }[alert.status]
    return f"{_SIGN[alert.status]} {alert.brand_name}: {said}"


def _story(alert: Alert) -> str:
    """What was seen and expected, and since when."""
    about = "" if alert.touchpoint == "all" else f" about *{escape(alert.touchpoint, 100)}*"
    posts = "post tells" if alert.seen == 1 else "posts tell"
    lines = [
        f"*{alert.seen:,}* {posts} of falling short{about} "
        f"in {alert.window_minutes} minutes; about *{alert.expected:,.1f}* expected.",
        f"Since {_moment(alert.onset)}.",
    ]
    if alert.status == "resolved":
        lines.append(
            f"Back to usual at {_moment(alert.updated)}; at most {alert.peak:,} at a time."
        )
    return "\n".join(lines)


def _fields(alert: Alert) -> list[str]:
    reach = "1 follower" if alert.reach == 1 else f"{alert.reach:,} followers"
    fields = [
        f"*Team that answers*\n{escape(alert.team, 100)}",
        f"*Share of the brand's talk*\n{alert.share:.0%}",
        f"*Reach of those who spoke*\n{reach}",
    ]
    if alert.status != "resolved":
        fields.append(f"*Chance of so many, were all as usual*\n{_odds(alert.probability)}")
    return fields


def _odds(probability: float) -> str:
    if probability >= 0.01:
        return f"{probability:.0%}"
    if probability < 1e-9:
        return "below 1 in 1,000,000,000"
    return f"1 in {1 / probability:,.0f}"


def _quote(post_: Post) -> list[Block]:
    """A post in its author's words, then whose words and where to read them."""
    by = clean(post_.author)[:MAX_AUTHOR] or "unnamed"
    if post_.followers:
        by += f", {post_.followers:,} follower{'s' if post_.followers != 1 else ''}"
    elements = [_plain(by, MAX_SECTION), _mrkdwn(_moment(post_.published))]
    if post_.url and (link := _link(post_.url, "read the post")):
        elements.append(_mrkdwn(link))
    text = clean(post_.text)
    if len(text) > MAX_POST:
        text = text[: MAX_POST - 1].rstrip() + "…"
    return [
        {"type": "section", "text": _plain(f"“{text}”", MAX_SECTION)},
        {"type": "context", "elements": elements},
    ]


def _plain(text: str, limit: int) -> Block:
    return {"type": "plain_text", "text": escape(text, limit), "emoji": False}


def _mrkdwn(text: str) -> Block:
    """Our own words; `verbatim` keeps Slack from finding links and mentions in them."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _moment(moment: datetime) -> str:
    """A time in the reader's zone (https://docs.slack.dev/messaging/formatting-message-text)."""
    fallback = moment.strftime("%Y-%m-%d %H:%M %Z")
    return f"<!date^{int(moment.timestamp())}^{{date_short_pretty}} {{time}}|{fallback}>"


def _link(url: str, words: str) -> str | None:
    """A link, if the address is one that cannot break out of it."""
    if not re.fullmatch(r"https?://[^\s<>|\"\\^`{}\x00-\x20\x7f]+", url):
        return None
    escaped = url.replace("&", "&amp;")
    return f"<{escaped}|{words}>" if len(escaped) <= MAX_LINK - 100 else None


_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
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


_LIVE: Final = re.compile(r"(?<=[@#])(?=\w)|(?<=:)(?=//)|(?<=www)(?=\.)|(?<=mailto)(?=:)", re.I)
"""Where mentions and addresses are broken up."""

_BREAK: Final = "\u2060"
"""Word joiner: shows nothing, and what it stands in is no mention and no address any more."""

_JOINERS: Final = "\u200c\u200d"
"""The only format characters kept: Persian and Hindi are spelt with them, emoji joined by them."""


def clean(text: str) -> str:
    """What an author wrote, on one line, without control or direction characters.

    Mentions and addresses are broken up so that no client makes them live.
    """
    kept = "".join(
        " "
        if unicodedata.category(character) in ("Cc", "Cf") and character not in _JOINERS
        else character
        for character in text[: 4 * MAX_POST]
    )
    return _LIVE.sub(_BREAK, " ".join(kept.split()))
