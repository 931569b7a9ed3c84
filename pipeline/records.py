"""What the topics carry: one type a topic, validated on the way in, published as JSON Schema.

All values are JSON. Times are RFC 3339 with a zone. Unknown fields of an event are ignored, so
that a source may send more than Gapwatch reads.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from models.labels import Labels

ActivityType = Literal[
    "Accept", "Add", "Announce", "Arrive", "Block", "Create", "Delete", "Dislike", "Flag",
    "Follow", "Ignore", "Invite", "Join", "Leave", "Like", "Listen", "Move", "Offer", "Question",
    "Read", "Reject", "Remove", "TentativeAccept", "TentativeReject", "Travel", "Undo", "Update",
    "View",
]  # fmt: skip
"""The activities of ActivityStreams 2.0 (https://www.w3.org/TR/activitystreams-vocabulary/)."""

ACTIVITY_TYPES: Final[tuple[str, ...]] = get_args(ActivityType)

MAX_TEXT: Final = 100_000
"""Longest text accepted, in characters: above any social network's own limit."""

Instant = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0, le=2**53)]


class Actor(Struct, frozen=True, omit_defaults=True):
    """Who posted. `id` is the author's identity at the source, `name` the handle shown."""

    id: Annotated[str, Meta(max_length=512)] = ""
    name: Annotated[str, Meta(max_length=512)] = ""
    followers: Count = 0


class Engagement(Struct, frozen=True, omit_defaults=True):
    """How others reacted to the post, as the source counted when it was read."""

    likes: Count = 0
    reposts: Count = 0
    replies: Count = 0
    views: Count = 0


class Event(Struct, frozen=True, omit_defaults=True):
    """A raw social event: one activity of one author. Key of its topic: `id`.

    Attributes:
        id: Identity of the activity at its source; the same id twice is one event.
        source: Name of the connector or network it came from.
        published: When it happened (event time).
        type: ActivityStreams 2.0 activity. `Create` when absent and there is text.
        text: The words posted. One of `type` and `text` must be present.
        object: What the activity was done to (a handle, a tag, an address), for activities
            without words; brands are looked for in it as in `text`.
        url: Where the post can be read.
        in_reply_to: Identity or address of the post answered.
    """

    id: Annotated[str, Meta(min_length=1, max_length=512)]
    source: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
    published: Instant
    type: ActivityType | None = None
    text: Annotated[str, Meta(max_length=MAX_TEXT)] | None = None
    object: Annotated[str, Meta(max_length=2048)] | None = None
    actor: Actor = Actor()
    lang: Annotated[str, Meta(max_length=35)] | None = None
    url: Annotated[str, Meta(max_length=2048)] | None = None
    in_reply_to: Annotated[str, Meta(max_length=2048)] | None = None
    engagement: Engagement = Engagement()

    @property
    def author(self) -> str:
        """What tells one author from another: source and id, else source and name."""
        return f"{self.source}:{self.actor.id or self.actor.name}"

    @property
    def activity(self) -> str:
        """The activity's type, `Create` where none is given."""
        return self.type or "Create"


class Stamp(Struct, frozen=True, array_like=True, order=True):
    """Where an event stands in the log: its events partition and offset, as `[partition, offset]`.

    Stamps of one partition are ordered, and order is what makes counting exact: a mention whose
    stamp is not above its bucket's is a replay.
    """

    partition: int
    offset: int


class Mention(Struct, frozen=True):
    """One event about one brand, judged. Key of its topic: `brand`.

    Attributes:
        labels: The six labels; `stage` settled with the activity type (see `domain/stages.py`).
        team: Who answers for the touchpoint.
        weight: Stage weight times reach, to six decimals; counted as an integer of millionths.
            0 where the model abstained.
        model: Version of the weights that judged it.
        stamp: The event's place in the log.
        received: When the broker or the source's producer took the event (its Kafka timestamp).
    """

    event: Event
    brand: str
    labels: Labels
    team: str
    weight: float
    model: str
    stamp: Stamp
    received: Instant


RejectReason = Literal["not_utf8", "not_json", "invalid", "too_early", "too_large", "nothing_said"]
"""Why an event could not be processed.

`not_utf8`, `not_json`: the bytes; `invalid`: a field is missing, of a wrong type or out of bounds;
`too_early`: published further after it came in than allowed; `too_large`: the record is over
the size limit; `nothing_said`: neither text nor type.
"""


class Rejected(Struct, frozen=True, omit_defaults=True):
    """A dead letter: the event whole, and why. Key of its topic: the event's key.

    One of `event` (its bytes as text) and `event_base64` (where they are not UTF-8) is set; none
    where privacy has it that what was sent is not kept.

    Attributes:
        topic, partition, offset: Where it came from. Of what came over HTTP: `http:` and the name
            of the token, -1, and its line or place in the body, from 1.
    """

    reason: RejectReason
    detail: str
    topic: str
    partition: int
    offset: int
    received: Instant
    event: str | None = None
    event_base64: str | None = None


class GapRate(Struct, frozen=True):
    """Share of mentions that tell of a gap.

    Attributes:
        mentions: Mentions at this touchpoint or team.
        below: Share delivered below expectation (negative gap), of `mentions`.
        above: Share delivered above expectation (positive gap), of `mentions`.
    """

    mentions: int
    below: float
    above: float


class Score(Struct, frozen=True):
    """The advocacy score of a brand over a window. Key of its topic: `brand|window`.

    Attributes:
        window: `1h`, `24h` or `7d`.
        as_of: The event time the window ends with; its running minute or hour is counted whole.
        score: 100 × (promoter weight − detractor weight) ÷ weight, in [−100, 100]; absent without
            mentions.
        margin: Half the width of the score's 95 % interval, in points.
        few: True where there are too few mentions to lean on the score.
        authors: Distinct authors (exact up to 256, then estimated to about 6 %).
        stages, sentiments, advocacies: Mentions by label value.
        gap: Over all touchpoints; `gap_by_touchpoint`, `gap_by_team`: by each.
        share_of_voice: Mentions as a share of this brand's and its rivals'; absent without either.
    """

    brand: str
    window: str
    as_of: Instant
    score: float | None
    margin: float | None
    few: bool
    mentions: int
    authors: int
    suggestions: int
    stages: dict[str, int]
    sentiments: dict[str, int]
    advocacies: dict[str, int]
    gap: GapRate
    gap_by_touchpoint: dict[str, GapRate]
    gap_by_team: dict[str, GapRate]
    share_of_voice: float | None


class GapCount(Struct, frozen=True, omit_defaults=True):
    """Mentions of a touchpoint, and of those the ones below and above expectation."""

    mentions: int
    below: int = 0
    above: int = 0


class Hour(Struct, frozen=True, omit_defaults=True):
    """What was said of a brand in one hour of event time. Key of its topic: `brand|hour number`.

    Sums, so that the score of any hours together follows from theirs: over 24 hours it is, to the
    last digit, what was published at their end.

    Attributes:
        start: Its first moment.
        weight, weight_squared: Σw and Σw² over its mentions (see `Mention.weight`), in millionths
            and their squares.
        promoter, detractor: Σw over promoters and detractors, in millionths.
        authors: Distinct authors in it.
        stages: Mentions by engagement stage; stages without any are left out.
        gaps: By touchpoint (`none` where none is named); those without mentions are left out.
    """

    brand: str
    start: Instant
    mentions: int = 0
    weight: int = 0
    weight_squared: int = 0
    promoter: int = 0
    detractor: int = 0
    authors: int = 0
    suggestions: int = 0
    stages: dict[str, int] = msgspec.field(default_factory=dict)
    gaps: dict[str, GapCount] = msgspec.field(default_factory=dict)


def hour_key(brand: str, start: datetime) -> bytes:
    """The key of a record about a brand's hour."""
    return f"{brand}|{int(start.timestamp()) // 3600}".encode()


class Post(Struct, frozen=True, omit_defaults=True):
    """A post shown beside an alert. Everything in it is the author's: escape before showing.

    Attributes:
        author: The name shown, or the id where there is no name.
        source, author_id: As in the event: by these an author's posts are found again.
        alike: Further posts that say nearly the same and are not shown.
    """

    id: str
    author: str
    text: str
    published: Instant
    followers: int = 0
    url: str | None = None
    alike: int = 0
    source: str = ""
    author_id: str = ""


class Term(Struct, frozen=True):
    """A word or pair of words that sets an alert's posts apart. It is the authors' word: escape it.

    Attributes:
        posts: Posts of the alert that hold it.
        distinction: Log-odds against the brand's ordinary talk, in standard deviations (z).
    """

    text: str
    posts: int
    distinction: float


class Expectation(Struct, frozen=True, omit_defaults=True):
    """What the detector expects of a brand's hour as it begins. Key: `brand|hour number`.

    Attributes:
        start: The hour's first moment.
        below: Mentions below expectation that its past leads to expect, by touchpoint and for
            `all`; touchpoints nobody complained of yet are left out.
        terms: What set the latest mentions below expectation apart from the brand's ordinary talk,
            the strongest first.
    """

    brand: str
    start: Instant
    below: dict[str, float] = msgspec.field(default_factory=dict)
    terms: tuple[Term, ...] = ()


class Curve(Struct, frozen=True):
    """The counts around an alert, for a picture.

    Attributes:
        start: First minute of the first step.
        step_minutes: Length of a step.
        seen, expected: Mentions in each step, and what the past led to expect there.
    """

    start: Instant
    step_minutes: int
    seen: tuple[int, ...]
    expected: tuple[float, ...]


AlertKind = Literal["gap", "delight", "score", "rival"]
"""What an alert is about: `gap`, talk of falling short; `delight`, of exceeding; `score`, a fall
of the advocacy score; `rival`, talk of a rival falling short."""

AlertStatus = Literal["firing", "escalated", "resolved"]

TURNS_KEPT: Final = 40
"""Turns of an alert that are told; of more, the first and the latest."""


class Turn(Struct, frozen=True, omit_defaults=True):
    """A turn in the life of an alert.

    Attributes:
        at: Event time.
        what: The status it took on, or `silenced`, `heard` (no longer silenced), `acknowledged`.
        seen, severity: As they were then.
        by: The silence's id, `cool-down` or `limit`; or who has taken it on.
    """

    at: Instant
    what: Literal["firing", "escalated", "resolved", "silenced", "heard", "acknowledged"]
    seen: int = 0
    severity: int = 1
    by: str | None = None


class Alert(Struct, frozen=True, omit_defaults=True):
    """A spike of expectation-gap talk, as it stands now. Key of its topic: `id`.

    Attributes:
        id: Derived from (brand, kind, touchpoint at first, onset): a replay gives the same.
        notification: Derived from (id, status): receivers drop repeats by it.
        touchpoint: The touchpoint that answers for most of it, or `all` for the brand as a whole.
            May become known later: `all` first, then the touchpoint.
        touchpoints: All that fire together, the strongest first, when there are several.
        team: The team that answers for the touchpoint; `none` for the brand as a whole.
        onset: First minute of the window in which the spike was seen.
        updated: Event time of this state.
        seen, expected: Mentions in the window and what its past led to expect.
        window_minutes: Length of that window.
        probability: Chance of the most unusual moment so far, were everything as usual.
        share, usual_share: Share of the brand's mentions that are of this kind, in the window and
            as a rule.
        reach: Followers of the authors who spoke, each author once.
        authors: Distinct authors who spoke.
        peak: Most mentions seen in a window so far.
        severity: 1 (worth a look) to 10 (drop everything), from size, share, reach and speed, as it
            is now; of a resolved alert the highest it had.
        severity_reason: Why, in one line.
        unusual: How unusual it is, in words.
        changed: What changed since its status last did, in words; empty at first.
        stages: Mentions since onset by engagement stage; their sum is all of them.
        score_before, score_now: The advocacy score (24 h) at onset and now; absent where unknown.
        terms: What sets this talk apart from the brand's ordinary talk, the strongest first.
        curve: The counts around it.
        silenced: What keeps it from being sent, if anything does: the id of a silence,
            `cool-down` (too soon after one like it) or `limit` (too many messages this hour).
        acknowledged: Who has taken it on, if anyone has.
        rival: Name of the rival it is about (kind `rival`).
        turns: How it came to stand so, oldest first.
        cold: True while the brand's history is short and the expectation rests on a prior.
    """

    id: str
    notification: str
    brand: str
    brand_name: str
    touchpoint: str
    team: str
    status: AlertStatus
    onset: Instant
    updated: Instant
    seen: int
    expected: float
    window_minutes: int
    probability: float
    share: float
    reach: int
    peak: int
    kind: AlertKind = "gap"
    cold: bool = False
    severity: int = 1
    severity_reason: str = ""
    unusual: str = ""
    changed: str = ""
    usual_share: float | None = None
    authors: int = 0
    touchpoints: tuple[str, ...] = ()
    stages: dict[str, int] = msgspec.field(default_factory=dict)
    score_before: float | None = None
    score_now: float | None = None
    terms: tuple[Term, ...] = ()
    posts: tuple[Post, ...] = ()
    curve: Curve | None = None
    silenced: str | None = None
    acknowledged: str | None = None
    rival: str | None = None
    turns: tuple[Turn, ...] = ()


Name = Annotated[str, Meta(min_length=1, max_length=100)]
Comment = Annotated[str, Meta(max_length=1000)]


class Silence(Struct, frozen=True, omit_defaults=True):
    """Alerts that are not to be sent for a while. Key of its topic: `id`.

    What is given must all fit: a brand and a touchpoint silence that touchpoint of that brand.
    Times are event time, which is now unless a backlog is worked off.

    Attributes:
        start, end: From when, and until when it holds.
        author: Who asked for it.
        alert: Id of the one alert it is about (a snooze).
    """

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    start: Instant
    end: Instant
    author: Name
    comment: Comment = ""
    brand: str | None = None
    touchpoint: str | None = None
    team: str | None = None
    alert: str | None = None


class Acknowledgement(Struct, frozen=True, omit_defaults=True):
    """Somebody has taken an alert on. Key of its topic: `alert`, the alert's id."""

    alert: Annotated[str, Meta(min_length=1, max_length=512)]
    author: Name
    at: Instant
    comment: Comment = ""


class Erasure(Struct, frozen=True, omit_defaults=True):
    """An author who is to be forgotten. Key of its topic: `id`.

    It does not say who that is: it holds hashes, by which the author's posts are recognised.

    Attributes:
        id: Hash of the author (`domain/erasures.py`).
        at: Since when.
        by: Who saw to it.
        also: Hash of the author's pseudonym, where there are pseudonyms.
    """

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    at: Instant
    by: Name
    also: str | None = None


RECORDS: Final[dict[str, type[Struct]]] = {
    "events": Event,
    "mentions": Mention,
    "scores": Score,
    "hours": Hour,
    "expectations": Expectation,
    "alerts": Alert,
    "silences": Silence,
    "acknowledgements": Acknowledgement,
    "erasures": Erasure,
    "rejected": Rejected,
}
"""Topic (without prefix) to the type it carries."""


def json_schema(topic: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a topic's values."""
    record = RECORDS[topic]
    (schema,), components = msgspec.json.schema_components([record], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:gapwatch:schema:{topic}",
        **schema,
        "$defs": components,
    }
