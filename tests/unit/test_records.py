"""The published JSON Schemas tell the truth about what the topics carry."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from models.labels import neutral_labels
from pipeline.domain.buckets import Totals
from pipeline.domain.intake import RefusedError, read_event
from pipeline.domain.scoring import score_of, with_voice
from pipeline.domain.stages import WORDLESS
from pipeline.records import (
    ACTIVITY_TYPES,
    RECORDS,
    Acknowledgement,
    Actor,
    Curve,
    Engagement,
    Event,
    Expectation,
    GapCount,
    Hour,
    Post,
    Rejected,
    Score,
    Silence,
    Stamp,
    Term,
    Turn,
    json_schema,
)
from tests.builders import NOON, a_mention, an_alert, an_event, at, raw_event

VALIDATORS = {topic: Draft202012Validator(json_schema(topic)) for topic in RECORDS}


def problems(topic: str, value: object) -> list[str]:
    """What a topic's schema objects to."""
    document = value if isinstance(value, dict) else json.loads(msgspec.json.encode(value))
    return [problem.message for problem in VALIDATORS[topic].iter_errors(document)]


def an_empty_score() -> Score:
    """A score without mentions."""
    return score_of("north", "24h", Totals(), as_of=NOON.timestamp(), few=30)


def a_score() -> Score:
    """A score of one mention."""
    totals = Totals()
    totals.count(a_mention(weight=2.5, gap="negative", touchpoint="price", advocacy="detractor"))
    return with_voice(score_of("north", "1h", totals, as_of=NOON.timestamp(), few=30), 3)


EVERYTHING = an_event(
    type="Question",
    object="@north",
    lang="en",
    url="https://social.example/1",
    in_reply_to="https://social.example/0",
    actor=Actor(id="did:1", name="ann", followers=2**53),
    engagement=Engagement(likes=1, reposts=2, replies=3, views=4),
)

LETTER = Rejected("not_json", "because", "gapwatch.events", 1, 2, NOON, event="{")

RECORDED = [
    pytest.param("events", an_event(), id="event"),
    pytest.param("events", EVERYTHING, id="event-with-everything"),
    pytest.param("events", an_event(text=None, type="Like"), id="event-without-words"),
    pytest.param("events", an_event(text="\u0000\U0001f600"), id="event-with-odd-characters"),
    pytest.param("mentions", a_mention(event=EVERYTHING, suggestion="1"), id="mention"),
    pytest.param(
        "mentions",
        msgspec.structs.replace(a_mention(), labels=neutral_labels("language")),
        id="mention-abstained",
    ),
    pytest.param("scores", a_score(), id="score"),
    pytest.param("scores", an_empty_score(), id="score-of-nothing"),
    pytest.param(
        "hours",
        Hour(
            "north",
            NOON,
            3,
            10**9,
            10**22,
            10**8,
            0,
            3,
            1,
            stages={"creation": 3},
            gaps={"delivery": GapCount(3, below=1, above=1)},
        ),
        id="hour",
    ),
    pytest.param("hours", Hour("north", NOON), id="hour-of-nothing"),
    pytest.param(
        "expectations",
        Expectation("north", NOON, {"delivery": 0.5, "all": 0.7}, (Term("late", 4, 3.5),)),
        id="expectation",
    ),
    pytest.param("alerts", an_alert(), id="alert"),
    pytest.param(
        "alerts",
        an_alert(
            status="resolved",
            cold=True,
            probability=0.0,
            posts=(Post("p1", "ann", "late", NOON, 3, "https://social.example/1"),),
        ),
        id="alert-with-posts",
    ),
    pytest.param(
        "alerts",
        an_alert(
            kind="rival",
            severity=7,
            severity_reason="much",
            unusual="less than once in a hundred years of usual talk",
            changed="3 more posts in 2 minutes",
            usual_share=0.1,
            authors=9,
            touchpoints=("delivery", "support"),
            stages={"creation": 9},
            score_before=31.5,
            score_now=-3.0,
            terms=(Term("monthly fee", 9, 7.1),),
            posts=(Post("p1", "ann", "late", NOON, alike=41),),
            curve=Curve(NOON, 3, (1, 9), (0.2, 0.3)),
            silenced="5f0a1b2c",
            acknowledged="Bo",
            rival="Tern",
            turns=(Turn(NOON, "firing", 9, 5), Turn(NOON, "silenced", by="limit")),
        ),
        id="alert-with-everything",
    ),
    pytest.param("silences", Silence("s1", NOON, at(60), "Ann", "why", "north"), id="silence"),
    pytest.param("silences", Silence("s1", NOON, at(60), "Ann", alert="a1"), id="snooze"),
    pytest.param("acknowledgements", Acknowledgement("a1", "Bo", NOON), id="acknowledgement"),
    pytest.param("rejected", LETTER, id="rejected"),
    pytest.param(
        "rejected",
        msgspec.structs.replace(LETTER, event=None, event_base64="/w=="),
        id="rejected-bytes",
    ),
]


@pytest.mark.parametrize("topic", RECORDS)
def test_a_schema_is_one_of_draft_2020_12(topic: str) -> None:
    schema = json_schema(topic)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:gapwatch:schema:{topic}"
    json.dumps(schema)


@pytest.mark.parametrize(("topic", "record"), RECORDED)
def test_what_is_sent_keeps_its_schema_and_survives_the_way(topic: str, record: object) -> None:
    assert problems(topic, record) == []
    encoded = msgspec.json.encode(record)
    assert msgspec.json.decode(encoded, type=RECORDS[topic]) == record


@pytest.mark.parametrize("activity", ACTIVITY_TYPES)
def test_every_activity_type_is_in_the_schemas(activity: str) -> None:
    event = an_event(type=activity, text=None)
    assert problems("events", event) == []
    mention = msgspec.structs.replace(a_mention(event=event), labels=WORDLESS[activity])
    assert problems("mentions", mention) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"id": None},
        {"id": ""},
        {"id": "x" * 513},
        {"id": 7},
        {"source": None},
        {"source": "two words"},
        {"published": None},
        {"published": 1709553600},
        {"type": "Yodel"},
        {"text": ["a"]},
        {"actor": "ann"},
        {"actor": {"followers": -1}},
        {"actor": {"followers": 2**53 + 1}},
        {"engagement": {"likes": "many"}},
    ],
    ids=str,
)
def test_an_event_that_is_refused_breaks_the_schema_too(fields: dict[str, Any]) -> None:
    raw = raw_event(**fields)
    with pytest.raises(RefusedError):
        read_event(raw, now=NOON.timestamp(), max_ahead=300, max_bytes=10_000)
    assert problems("events", json.loads(raw))


def test_fields_gapwatch_does_not_know_are_welcome() -> None:
    raw = raw_event(mood="good", actor={"id": "a", "shoe_size": 44})
    assert problems("events", json.loads(raw)) == []
    assert read_event(raw, now=NOON.timestamp(), max_ahead=300, max_bytes=10_000).actor.id == "a"


def test_fields_that_say_nothing_are_left_out() -> None:
    event = Event(id="e1", source="test", published=NOON, text="late")
    assert set(json.loads(msgspec.json.encode(event))) == {"id", "source", "published", "text"}


@pytest.mark.parametrize(
    ("actor", "author"),
    [
        (Actor(id="did:1", name="ann"), "test:did:1"),
        (Actor(name="ann"), "test:ann"),
        (Actor(), "test:"),
    ],
)
def test_an_author_is_known_by_source_and_id_or_else_name(actor: Actor, author: str) -> None:
    assert an_event(actor=actor).author == author


def test_an_event_without_type_is_something_created() -> None:
    assert an_event().activity == "Create"
    assert an_event(type="Announce").activity == "Announce"


def test_a_stamp_travels_as_partition_and_offset_and_has_an_order() -> None:
    assert msgspec.json.encode(Stamp(3, 17)) == b"[3,17]"
    assert Stamp(3, 17) < Stamp(3, 18)
