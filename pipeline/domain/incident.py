"""An incident: all that is remembered of an open alert, and of the talk that may become one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from models.labels import STAGES, TEAM_OF_TOUCHPOINT
from pipeline.domain.crowd import Crowd
from pipeline.domain.curve import Steps
from pipeline.domain.distinct import hash_author
from pipeline.domain.erasures import Erasures
from pipeline.domain.likeness import POST_CHARACTERS, Kept, fold, remember
from pipeline.domain.series import ALL
from pipeline.domain.terms import OrdinaryTalk, count_terms, distinctive, terms_of
from pipeline.records import Alert, AlertKind, Mention, Post, Term

VOICES_KEPT: Final = 256
"""Mentions remembered in brief, in case they turn out to be the beginning of something."""

REMEMBERED_MINUTES: Final = 300
"""For so long: no spike is found to have begun earlier."""

AUTHOR_CHARACTERS: Final = 100
URL_CHARACTERS: Final = 512
"""An author's name is cut there; a longer address is left out, since half of one leads nowhere."""

_STAGE: Final = {stage: place for place, stage in enumerate(STAGES)}


class Voice(msgspec.Struct, array_like=True):
    """A mention in brief."""

    minute: int
    touchpoint: str
    stage: int
    author: int
    followers: int


class Span(msgspec.Struct, array_like=True):
    """An incident that is over: what it was about, from when to when (minutes), how bad."""

    touchpoints: list[str]
    onset: int
    resolved: int
    severity: int


class Told(msgspec.Struct, array_like=True):
    """How things stood when the status changed last: what has changed is told against it."""

    minute: int = 0
    mentions: int = 0
    severity: int = 0
    touchpoints: list[str] = msgspec.field(default_factory=list)


class Incident(msgspec.Struct, array_like=True):
    """An open alert's memory.

    Attributes:
        alert: The alert as last told.
        window: Minutes its figures are of.
        opened: Minute at which it fired.
        followed: Minute up to which it was looked at.
        members: The series that spike together (touchpoints, or `all` until one of them spikes by
            itself), and whether each is calm.
        first_seen, first_severity: As it fired, or as a touchpoint joined; what it grows from.
        worst, worst_reason: Highest severity so far, and why.
        probability, probability_window: The least likely window so far.
        stages: Mentions since onset by stage.
        crowd: Who spoke since onset.
        terms, texts: Posts since onset that hold a term, and posts in all.
        curve: The counts around it.
        told: What was told last.
        looked_at: Mentions when it was last looked at.
        joined_late: A touchpoint joined after others had been told.
        quiet_since: Minute since which all has been calm.
        sent: The last status told without being held back; empty before the first.
        taken_on: Severity when somebody took it on; 0 where nobody has.
    """

    alert: Alert
    window: int
    opened: int
    followed: int
    members: dict[str, bool]
    curve: Steps
    probability: float
    probability_window: int
    first_seen: int = 0
    first_severity: int = 0
    worst: int = 0
    worst_reason: str = ""
    stages: list[int] = msgspec.field(default_factory=lambda: [0] * len(STAGES))
    crowd: Crowd = msgspec.field(default_factory=Crowd)
    terms: dict[str, int] = msgspec.field(default_factory=dict)
    texts: int = 0
    told: Told = msgspec.field(default_factory=Told)
    looked_at: int = 0
    joined_late: bool = False
    quiet_since: int | None = None
    sent: str = ""
    taken_on: int = 0

    @property
    def mentions(self) -> int:
        """Mentions since onset."""
        return sum(self.stages)

    @property
    def onset(self) -> int:
        """First minute."""
        return int(self.alert.onset.timestamp() // 60)

    @property
    def touchpoints(self) -> list[str]:
        """The touchpoints it is about, in the order they became known."""
        named = self.alert.touchpoint
        first = [named] if named != ALL and named not in self.members else []
        return first + [name for name in self.members if name != ALL]

    @property
    def measured(self) -> str:
        """The series its figures are of."""
        return ALL if len(self.members) > 1 else next(iter(self.members))

    def concerns(self, touchpoint: str) -> bool:
        """Whether a mention of a touchpoint is part of it."""
        return ALL in self.members or touchpoint in self.members

    def hear(self, voice: Voice) -> None:
        """Count a mention."""
        self.stages[voice.stage] += 1
        self.crowd.hear(voice.author, voice.followers)

    def read(self, text: str, leave_out: frozenset[str]) -> None:
        """Count the terms of a post."""
        count_terms(self.terms, terms_of(text, leave_out))
        self.texts += 1

    def unread(self, text: str, posts: int, leave_out: frozenset[str]) -> None:
        """Take the terms of so many posts like this one back."""
        for term in terms_of(text, leave_out):
            if self.terms.get(term, 0) > posts:
                self.terms[term] -= posts
            else:
                self.terms.pop(term, None)
        self.texts = max(0, self.texts - posts)


class Case(msgspec.Struct, array_like=True, tag="case"):
    """What is remembered of a brand's mentions of one kind, beside their counts.

    Attributes:
        stamps: How far into the log.
        voices: Latest mentions, while no alert is open.
        posts: Latest posts, while no alert is open; then those to choose from, one for all like it.
        open: The open alert, if there is one.
        over: Incidents that are over, while their stragglers or a relapse may come.
        messages: Minutes at which a change of status was told, of the last hour.
        followed: Minute up to which an open alert was looked at.
    """

    stamps: dict[int, int] = msgspec.field(default_factory=dict)
    voices: list[Voice] = msgspec.field(default_factory=list)
    posts: list[Kept] = msgspec.field(default_factory=list)
    open: Incident | None = None
    over: list[Span] = msgspec.field(default_factory=list)
    messages: list[int] = msgspec.field(default_factory=list)
    followed: int = 0

    def take(self, mention: Mention, minute: int, leave_out: frozenset[str]) -> None:
        """Remember a mention."""
        event, labels = mention.event, mention.labels
        touchpoint = labels.touchpoint.label
        voice = Voice(
            minute,
            touchpoint,
            _STAGE[labels.stage.label],
            hash_author(event.author),
            event.actor.followers,
        )
        incident = self.open
        post = Kept(_post(mention), touchpoint, minute, event.activity == "Announce")
        if incident is None:
            self.voices.append(voice)
            del self.voices[:-VOICES_KEPT]
            if event.text:
                remember(self.posts, post)
        elif incident.concerns(touchpoint):
            incident.hear(voice)
            if event.text:
                self.show(post, leave_out)

    def begin(self, incident: Incident, leave_out: frozenset[str]) -> None:
        """Open an incident; what is remembered since its onset is part of it."""
        self.open, voices, posts = incident, self.voices, self.posts
        self.voices, self.posts = [], []
        onset = incident.onset
        for voice in voices:
            if voice.minute >= onset and incident.concerns(voice.touchpoint):
                incident.hear(voice)
        for post in posts:
            if post.minute >= onset and incident.concerns(post.touchpoint):
                self.show(post, leave_out)

    def show(self, post: Kept, leave_out: frozenset[str]) -> None:
        """Take a post of the open incident among those to choose from, and count its terms."""
        assert self.open is not None
        fold(self.posts, post)
        if not post.repost:
            self.open.read(post.post.text, leave_out)

    def forget_authors(self, erasures: Erasures, leave_out: frozenset[str]) -> bool:
        """Drop the posts of authors who are to be forgotten; whether there were any.

        Their words leave the terms, as often as posts stand for others like them: these may be by
        the same author. That they spoke stays counted.
        """
        gone = [kept for kept in self.posts if erasures.covers_post(kept.post)]
        self.posts = [kept for kept in self.posts if kept not in gone]
        if self.open is None:
            return bool(gone)
        for kept in gone:
            self.open.unread(kept.post.text, 1 + kept.post.alike, leave_out)
        told = self.open.alert
        self.open.alert = erasures.scrubbed(told)
        return bool(gone) or self.open.alert is not told

    def stands_out(
        self, ordinary: OrdinaryTalk | None, leave_out: frozenset[str]
    ) -> tuple[Term, ...]:
        """What sets the open incident apart from ordinary talk, else the latest posts."""
        if self.open is not None:
            return distinctive(self.open.terms, self.open.texts, ordinary)
        counts: dict[str, int] = {}
        read = [kept.post.text for kept in self.posts if not kept.repost]
        for text in read:
            count_terms(counts, terms_of(text, leave_out))
        return distinctive(counts, len(read), ordinary)

    def over_until(self, minute: int) -> int:
        """When the last incident that began before `minute` was over; 0 where none is known."""
        return max((span.resolved for span in self.over if span.onset <= minute), default=0)

    def first_since(self, minute: int) -> int:
        """First minute from `minute` on in which a mention is remembered."""
        return min((v.minute for v in self.voices if v.minute >= minute), default=minute)

    def forget(self, minute: int) -> None:
        """Drop what is too old at `minute` to be part of an alert."""
        oldest = minute - REMEMBERED_MINUTES
        self.voices = [voice for voice in self.voices if voice.minute > oldest]
        if self.open is None:
            self.posts = [post for post in self.posts if post.minute > oldest]


def _post(mention: Mention) -> Post:
    event = mention.event
    return Post(
        id=event.id,
        author=(event.actor.name or event.actor.id)[:AUTHOR_CHARACTERS],
        text=(event.text or "")[:POST_CHARACTERS],
        published=event.published,
        followers=event.actor.followers,
        url=event.url if len(event.url or "") <= URL_CHARACTERS else None,
        source=event.source,
        author_id=event.actor.id,
    )


def alert_id(brand: str, kind: AlertKind, touchpoint: str, onset_minute: int) -> str:
    """The same spike has the same id in every replay: `north.delivery.20240304T1230Z`."""
    onset = datetime.fromtimestamp(onset_minute * 60, UTC)
    about = touchpoint if kind == "gap" else f"{kind}.{touchpoint}"
    return f"{brand}.{about}.{onset:%Y%m%dT%H%MZ}"


def team_of(touchpoint: str) -> str:
    """The team that answers for a touchpoint; `none` for the brand as a whole."""
    return TEAM_OF_TOUCHPOINT.get(touchpoint, "none")
