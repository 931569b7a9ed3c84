"""An alert in plain words, for channels to lay out.

Everything in a story is plain text: our own words, and others' made safe by `clean`. Nothing in it
is markup; a channel escapes every string of it, and so cannot forget one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeVar

from pipeline.receivers import Notice
from pipeline.receivers.curve import sparkline
from pipeline.receivers.links import Links, LinkTemplates
from pipeline.receivers.text import Link, clean, cut, link_to
from pipeline.records import Alert, Post

P = TypeVar("P")

# Our own limits: a message that is read, not scrolled past.
MAX_POSTS: Final = 3
MAX_POST: Final = 500
SHORT_POST: Final = 160
MAX_AUTHOR: Final = 80
MAX_TERMS: Final = 6
MAX_TERM: Final = 60
MAX_NAME: Final = 100
MAX_SENTENCE: Final = 300

SIGN: Final = {"firing": "🔴", "escalated": "🔺", "resolved": "✅"}
COLOUR: Final = {"firing": 0xD93F3C, "escalated": 0xA61B1B, "resolved": 0x2E9E5B}
"""Of an alert's status, for channels that paint; each legible on light and on dark."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A post in its author's words.

    Attributes:
        alike: That others say the same, in words; empty if none do.
    """

    text: str
    author: str
    published: datetime
    link: Link | None
    alike: str


@dataclass(frozen=True, slots=True)
class Story:
    """What a message says, most important first.

    Attributes:
        title: One line: brand, what, how it stands.
        lead: Sentences: what was seen and expected, since when, what changed.
        facts: Name and value.
        said: What sets the posts apart, in the posts' own words; empty if nothing does.
        curve: The counts as a line of small bars, with a word on it; empty without a curve.
        quotes: Representative posts.
        notes: What to bear in mind.
        links: Where to read on.
    """

    alert: Alert
    title: str
    lead: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    said: str
    curve: str
    quotes: tuple[Quote, ...]
    notes: tuple[str, ...]
    links: Links


def story_of(notice: Notice, links: LinkTemplates) -> Story:
    """What is to be said of a notice."""
    alert = notice.alert
    return Story(
        alert=alert,
        title=_title(notice),
        lead=tuple(_lead(notice)),
        facts=tuple(_facts(alert)),
        said=", ".join(f"“{words}”" for words in _terms(alert)),
        curve=_curve(alert),
        quotes=tuple(quote for quote in map(_quote, alert.posts[:MAX_POSTS]) if quote.text),
        notes=tuple(_notes(notice)),
        links=links.of(alert),
    )


def fitted(story: Story, render: Callable[[Story], P], fits: Callable[[P], bool]) -> P:
    """The fullest message that fits.

    What is left out goes in the order in which it is missed least: long posts are shortened, the
    links but for the live page go, then posts, their terms and the lesser facts; what happened
    stays. The message says that something was left out.
    """
    message = render(story)
    if fits(message):
        return message
    for smaller in _smaller(story):
        message = render(smaller)
        if fits(message):
            break
    return message


def _smaller(story: Story) -> Iterator[Story]:
    note = "Shortened: there is more on the live page." if story.links.page else "Shortened to fit."
    quotes = tuple(replace(q, text=cut(q.text, SHORT_POST)) for q in story.quotes)
    story = replace(story, quotes=quotes, notes=(*story.notes, note))
    yield story
    yield (story := replace(story, links=Links(page=story.links.page)))
    for count in range(len(quotes) - 1, -1, -1):
        yield (story := replace(story, quotes=quotes[:count]))
    yield (story := replace(story, said="", curve=""))
    yield (story := replace(story, facts=story.facts[:3]))
    yield replace(
        story,
        title=cut(story.title, 120),
        lead=tuple(cut(line, 200) for line in story.lead[:2]),
        facts=(),
        notes=(note,),
    )


def _title(notice: Notice) -> str:
    alert = notice.alert
    mark = "TEST, not an alert · " if notice.sample else ""
    return f"{mark}{SIGN[alert.status]} {_name(alert)}: {_said(notice)}"


def subject_of(alert: Alert) -> str:
    """What the alert is about, the same over its whole life: brand, kind and touchpoint."""
    return f"{_name(alert)}: {_talk(alert)[0]}{_about(alert)}"


def _name(alert: Alert) -> str:
    return clean(alert.brand_name, MAX_NAME) or alert.brand


def _about(alert: Alert) -> str:
    names = alert.touchpoints if len(alert.touchpoints) > 1 else (alert.touchpoint,)
    if names == ("all",):
        return ""
    words = [clean(name, MAX_TERM) for name in names[:4]]
    return f" on {' and '.join([', '.join(words[:-1]), words[-1]] if words[1:] else words)}"


def _talk(alert: Alert) -> tuple[str, str, str]:
    """What grew, what its posts do, and what it is once it is back to usual."""
    rival = clean(alert.rival or "", MAX_NAME) or "a rival"
    return {
        "gap": ("disappointment", "of falling short", "talk"),
        "delight": ("delight", "of exceeding expectations", "talk"),
        "score": ("a falling score", "of falling short", "the score"),
        "rival": (
            f"disappointment with {rival}",
            f"of {rival} falling short",
            f"talk of {rival}",
        ),
    }[alert.kind]


def _said(notice: Notice) -> str:
    alert, (what, _, calm), about = notice.alert, _talk(notice.alert), _about(notice.alert)
    if notice.silence == "begun":
        return f"{what}{about} is silenced"
    if notice.silence == "over":
        return f"the silence on {what}{about} is over"
    if alert.status == "resolved":
        gone = "is back to usual" if notice.told else "came up and is back to usual"
        return f"{calm}{about} {gone}"
    if alert.kind == "score":
        return (
            "the advocacy score keeps falling"
            if alert.status == "escalated"
            else ("the advocacy score has fallen")
        )
    grows = alert.status == "escalated"
    return f"{what}{about} {'keeps growing' if grows else 'is above what is usual'}"


def _lead(notice: Notice) -> Iterator[str]:
    alert = notice.alert
    posts = "post tells" if alert.seen == 1 else "posts tell"
    about = "" if alert.touchpoint == "all" else f" on {clean(alert.touchpoint, MAX_TERM)}"
    yield (
        f"{alert.seen:,} {posts} {_talk(alert)[1]}{about} in {alert.window_minutes} minutes; "
        f"about {alert.expected:,.1f} expected."
    )
    since = f"Since {moment(alert.onset)}"
    if alert.status == "resolved":
        yield (
            f"{since}, back to usual at {moment(alert.updated)}; at most {alert.peak:,} at a time."
        )
    else:
        yield f"{since}; now {moment(alert.updated)}."
    changed = clean(alert.changed, MAX_SENTENCE)
    if changed and alert.status != "resolved":
        yield f"Since the last message: {changed}"
    if notice.silence == "begun":
        yield "Nothing more is told of it until the silence ends."


def _facts(alert: Alert) -> Iterator[tuple[str, str]]:
    reason = clean(alert.severity_reason, MAX_SENTENCE)
    if alert.team != "none" and (team := clean(alert.team, MAX_NAME)):
        yield "Team that answers", team
    yield "Severity", f"{alert.severity} of 10" + (f": {reason}" if reason else "")
    if alert.status != "resolved":
        unusual = clean(alert.unusual, MAX_SENTENCE)
        yield "How unusual", unusual or f"{odds(alert.probability)}, were all as usual"
    share = f"{alert.share:.0%}"
    if alert.usual_share is not None:
        share += f" (as a rule {alert.usual_share:.0%})"
    yield f"Share of the {_whose(alert)}'s talk", share
    reach = "1 follower" if alert.reach == 1 else f"{alert.reach:,} followers"
    if alert.authors:
        reach = f"{alert.authors:,} author{'s' if alert.authors != 1 else ''}, {reach}"
    yield "Reach of those who spoke", reach
    if alert.score_now is not None:
        before = "" if alert.score_before is None else f" (was {alert.score_before:+.0f})"
        yield "Advocacy score, 24 h", f"{alert.score_now:+.0f}{before}"
    if counts := sorted(
        ((name, n) for name, n in alert.stages.items() if n), key=lambda item: -item[1]
    ):
        yield "Who speaks", ", ".join(f"{clean(name, MAX_TERM)} {n:,}" for name, n in counts)
    if alert.acknowledged is not None:
        yield "Taken on by", clean(alert.acknowledged, MAX_NAME) or "somebody"


def _whose(alert: Alert) -> str:
    """Whom the figures are about."""
    return "rival" if alert.kind == "rival" else "brand"


def _terms(alert: Alert) -> Iterator[str]:
    for term in alert.terms[:MAX_TERMS]:
        if words := clean(term.text, MAX_TERM):
            yield words


def odds(probability: float) -> str:
    """A chance in words."""
    if probability >= 0.01:
        return f"{probability:.0%}"
    if probability < 1e-9:
        return "below 1 in 1,000,000,000"
    return f"1 in {1 / probability:,.0f}"


def _curve(alert: Alert) -> str:
    if alert.curve is None or not alert.curve.seen:
        return ""
    steps = f"{alert.curve.step_minutes} min a step, from {moment(alert.curve.start)}"
    return f"{sparkline(alert.curve)}  most {max(alert.curve.seen):,}; {steps}"


def _quote(post: Post) -> Quote:
    author = clean(post.author, MAX_AUTHOR) or "unnamed"
    if post.followers:
        author += f", {post.followers:,} follower{'s' if post.followers != 1 else ''}"
    return Quote(
        text=clean(post.text, MAX_POST),
        author=author,
        published=post.published,
        link=link_to(post.url),
        alike=f"and {post.alike:,} like it" if post.alike else "",
    )


def _notes(notice: Notice) -> Iterator[str]:
    if notice.sample:
        yield "This is a test of the receiver with invented figures; nothing has happened."
    if notice.alert.cold:
        whose = _whose(notice.alert)
        yield f"The {whose}'s history is short: the expectation is a careful guess."


def moment(time: datetime) -> str:
    """A time in UTC, for channels that cannot show the reader's own."""
    return f"{time:%Y-%m-%d %H:%M} UTC"
