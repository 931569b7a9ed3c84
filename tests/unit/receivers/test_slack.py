"""What a Slack channel is shown: all that is needed to act, nothing an author could abuse."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.receivers.slack import (
    MAX_BLOCKS,
    MAX_HEADER,
    MAX_POSTS,
    MAX_SECTION,
    clean,
    escape,
    message,
)
from pipeline.records import Alert, Post

ONSET = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
PAGE = "https://gapwatch.example/?a=1&b=2"


def post(text: str = "Third week without my order.", **changes: Any) -> Post:
    given: dict[str, Any] = {
        "id": "1",
        "author": "mia",
        "text": text,
        "published": ONSET,
        "followers": 1200,
        "url": "https://social.example/mia/1",
    }
    return Post(**given | changes)


def alert(**changes: Any) -> Alert:
    given: dict[str, Any] = {
        "id": "a1",
        "notification": "n1",
        "brand": "north-bikes",
        "brand_name": "North Bikes",
        "touchpoint": "delivery",
        "team": "Operations",
        "status": "firing",
        "onset": ONSET,
        "updated": ONSET,
        "seen": 47,
        "expected": 6.24,
        "window_minutes": 15,
        "probability": 1e-7,
        "share": 0.31,
        "reach": 52_300,
        "peak": 51,
        "posts": (post(),),
    }
    return Alert(**given | changes)


def texts(block: Any) -> Iterator[dict[str, Any]]:
    """Every text object in a payload."""
    if isinstance(block, dict):
        if block.get("type") in ("plain_text", "mrkdwn"):
            yield block
        for value in block.values():
            yield from texts(value)
    elif isinstance(block, list):
        for value in block:
            yield from texts(value)


def shown(payload: dict[str, Any]) -> str:
    return "\n".join(text["text"] for text in texts(payload["blocks"]))


def test_it_tells_what_was_seen_and_expected_since_when_and_who_answers() -> None:
    payload = message(alert(), page_url=PAGE)
    said = shown(payload)
    for words in (
        "North Bikes",
        "*47* posts",
        "*delivery* in 15 minutes",
        "about *6.2* expected",
        f"Since <!date^{int(ONSET.timestamp())}^",
        "2026-05-04 09:30 UTC>",
        "*Team that answers*\nOperations",
        "31%",
        "52,300 followers",
        "1 in 10,000,000",
        "“Third week without my order.”",
        "mia, 1,200 followers",
        "<https://social.example/mia/1|read the post>",
        "<https://gapwatch.example/?a=1&amp;b=2|Open the live page>",
    ):
        assert words in said
    assert payload["text"] == "🔴 North Bikes: disappointment on delivery is above what is usual"


@pytest.mark.parametrize(
    ("status", "words"),
    [("firing", "above what is usual"), ("escalated", "keeps growing"), ("resolved", "back to us")],
)
def test_the_title_tells_the_status(status: str, words: str) -> None:
    assert words in message(alert(status=status), page_url=None)["text"]


def test_the_brand_as_a_whole_is_not_called_a_touchpoint() -> None:
    payload = message(alert(touchpoint="all"), page_url=None)
    assert payload["text"] == "🔴 North Bikes: disappointment is above what is usual"
    assert "*47* posts tell of falling short in 15 minutes" in shown(payload)


def test_a_short_history_is_said() -> None:
    assert "history is short" in shown(message(alert(cold=True), page_url=None))
    assert "history is short" not in shown(message(alert(), page_url=None))


def test_three_posts_at_most_are_quoted() -> None:
    said = shown(message(alert(posts=tuple(post(f"post {n}") for n in range(9))), page_url=None))
    assert [f"post {n}" in said for n in range(9)] == [n < MAX_POSTS for n in range(9)]


HOSTILE = [
    "<!channel> <!here> <!everyone> pay now",
    "<@U012AB3CD> <#C012AB3CD> <!subteam^S012>",
    "<https://evil.example|your bank>",
    "@channel @here @everyone #general",
    "see https://evil.example/x?y=1&z=2 or www.evil.example or mailto:a@evil.example",
    "&lt;!channel&gt; &amp;lt;",
    "```code``` *bold* _it_ ~no~ :tada:",
    "line\nbreak\r\n\ttab\x00null\x1b[31m",
    "\u202eright to left\u2066 isolate\u200b\ufeff",
    "&" * 5000,
    "<" * 5000,
    "𝕏" * 5000,
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_authors_write_comes_alive_nowhere(text: str) -> None:
    hostile = alert(
        brand_name=text[:100] or "x",
        posts=(post(text, author=text, url=text), post(text, author=text, url=f"https://a/{text}")),
    )
    payload = message(hostile, page_url=None)
    ours = re.compile(r"<!date\^\d+\^\{date_short_pretty\} \{time\}\|[^<>|]+>")
    link = re.compile(r"<https?://[^\s<>|]+\|read the post>")
    for block in texts(payload["blocks"]):
        left = link.sub("", ours.sub("", block["text"]))
        assert not re.search(r"[<>]", left)
        assert not re.search(r"&(?!amp;|lt;|gt;)", left)
        assert block["type"] == "plain_text" or block["verbatim"]
    # Text by authors is in plain text only, and its mentions and addresses are in pieces.
    for block in payload["blocks"][3:]:
        for part in texts(block):
            if part["type"] == "plain_text":
                assert not re.search(r"[@#]\w|://|www\.|mailto:", part["text"])
                assert not re.search(
                    r"[\x00-\x1f\x7f\u200b\u202a-\u202e\u2066-\u2069]", part["text"]
                )
                assert part["emoji"] is False
    json.dumps(payload)


@pytest.mark.parametrize("text", HOSTILE)
def test_the_limits_of_slack_are_kept(text: str) -> None:
    many = alert(
        brand_name=text * 3 or "x", posts=tuple(post(text, author=text * 3) for _ in range(99))
    )
    payload = message(many, page_url=PAGE)
    assert len(payload["blocks"]) <= MAX_BLOCKS
    assert len(payload["blocks"][0]["text"]["text"]) <= MAX_HEADER
    assert all(1 <= len(block["text"]) <= MAX_SECTION for block in texts(payload["blocks"]))
    assert 1 <= len(payload["text"]) <= MAX_SECTION


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "https://a|b>",
        "https://a b",
        "ftp://a",
        "https://a\nb",
        "",
        "https://",
    ],
)
def test_an_address_that_is_none_is_not_linked(url: str) -> None:
    assert "read the post" not in shown(message(alert(posts=(post(url=url),)), page_url=None))


def test_a_text_is_cut_between_characters_never_in_an_entity() -> None:
    assert escape("a<b", 10) == "a&lt;b"
    assert escape("a&b", 7) == "a&amp;b"
    assert escape("a&bc", 7) == "a&amp;…"
    assert escape("a&bc", 6) == "a…"
    assert escape("&" * 10, 11) == "&amp;&amp;…"


def test_words_that_need_joiners_keep_them() -> None:
    assert clean("می\u200cخواهم 👩\u200d👧") == "می\u200cخواهم 👩\u200d👧"
