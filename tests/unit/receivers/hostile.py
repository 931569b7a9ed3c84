"""What somebody who wants to be seen, or to be clicked, would post."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from hypothesis import strategies as st

from pipeline.receivers import Notice
from pipeline.receivers.links import LinkTemplates
from pipeline.receivers.story import Story, story_of
from pipeline.records import Alert, Curve, Post, Term

ONSET: Final = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
LINKS: Final = LinkTemplates(
    page="https://gapwatch.example/?a=1&b=2",
    dashboard="https://grafana.example/d/x?var-brand={brand}&from={from_ms}&to={to_ms}",
    runbook="https://wiki.example/{team}/{touchpoint}",
)

HOSTILE: Final = [
    "<!channel> <!here> <!everyone> pay now",
    "<@U012AB3CD> <#C012AB3CD> <!subteam^S012> <@&123456> <@!123> <#123> </cmd:1> <t:0:R>",
    "<https://evil.example|your bank>",
    "[your bank](https://evil.example) ![x](https://evil.example/x.png) [a]: https://evil.example",
    "[your bank](<evil.example>) <evil.example> <a@evil.example> <mailto:a@evil.example>",
    "@channel @here @everyone @all #general ~town-square /invite $TSLA",
    "see https://evil.example/x?y=1&z=2 or www.evil.example or mailto:a@evil.example tel:112",
    "HTTPS://EVIL.EXAMPLE hxxp://evil.example //evil.example evil.example/path evil.co.uk",
    "<users/all> <b>bold</b> <script>alert(1)</script> <img src=x onerror=alert(1)> <a href='//x'>",
    "&lt;!channel&gt; &amp;lt; &#60;b&#62; &nbsp;",
    "```code``` `c` *bold* **b** _it_ __u__ ~no~ ~~s~~ ||spoiler|| :tada:",
    "# head\n> quote\n- item\n1. x",
    "$\\frac{1}{2}$ $x$ {{DATE(2026-01-01,SHORT)}} ${card.title} <at>everyone</at> \\",
    "line\nbreak\r\n\ttab\x00null\x1b[31m\x85\u2028\u2029end",
    "Subject: x\r\nBcc: all@evil.example\r\n\r\nbody",
    "\u202eright to left\u2066 isolate\u200b\ufeff\u00ad\u2069\u202c\u061c",
    "Z" + "\u0351\u0352\u0353\u0354\u0355" * 40 + " climbs",
    "&" * 5000,
    "<" * 5000,
    "*" * 5000,
    "@" * 5000,
    "𝕏" * 5000,
    "👩\u200d👧" * 900,
    "word " * 2000,
    "\ud800 lone surrogate",
    "",
]

URLS: Final = [
    "javascript:alert(1)",
    "https://a|b>",
    "https://a b",
    "ftp://a.example",
    "https://a.example\nhttps://evil.example",
    "",
    "https://",
    "https://bank.example@evil.example/",
    "https://bank.example:pass@evil.example/",
    "https://bank.example\\@evil.example/",
    "//evil.example",
    "https://x.example/" + "a" * 5000,
    "data:text/html,<script>",
    "https://[::1]/",
    "https://ev..il.example",
]
"""Addresses that are not to be followed."""

texts = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=80),
    st.text(st.sampled_from("<>@#:/.[]()*_~`|\\&$!{}-+ ahtps\u200d\u2060\u202e\n1"), max_size=60),
)
"""Anything, and much of what is markup somewhere."""


def a_post(text: str = "Third week without my order.", **changes: Any) -> Post:
    """A post with everything."""
    given: dict[str, Any] = {
        "id": "1",
        "author": "mia",
        "text": text,
        "published": ONSET,
        "followers": 1200,
        "url": "https://social.example/mia/1",
    }
    return Post(**given | changes)


def an_alert(**changes: Any) -> Alert:
    """An alert with what all have."""
    given: dict[str, Any] = {
        "id": "a1",
        "notification": "a1.firing",
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
        "posts": (a_post(),),
    }
    return Alert(**given | changes)


def a_hostile_alert(text: str, **changes: Any) -> Alert:
    """An alert in which everybody who could says this."""
    posts = tuple(a_post(text, author=text, url=f"https://a.example/{text}") for _ in range(5))
    given: dict[str, Any] = {
        "brand_name": text,
        "severity_reason": text,
        "unusual": text,
        "changed": text,
        "acknowledged": text,
        "terms": tuple(Term(text, 3, 2.0) for _ in range(9)),
        "stages": {"consumption": 3},
        "score_before": 10.0,
        "score_now": -4.0,
        "usual_share": 0.1,
        "authors": 40,
        "curve": Curve(ONSET, 5, (1, 2, 9), (1.0, 1.0, 1.0)),
        "cold": True,
        "posts": posts,
        "status": "escalated",
    }
    return an_alert(**given | changes)


def a_story(alert: Alert | None = None, *, links: LinkTemplates = LINKS, **notice: Any) -> Story:
    """The story of an alert."""
    alert = alert or an_alert()
    return story_of(Notice(alert, alert.notification, **notice), links)
