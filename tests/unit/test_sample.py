"""The bundled sample: its texts, its brands and its day."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from models.labels import ADVOCACIES, GAPS, STAGES, TOUCHPOINTS
from pipeline.domain.brands import BrandMatcher
from pipeline.records import Event
from pipeline.sample import (
    SampleText,
    incidents,
    labelled_day,
    load_texts,
    sample_brands_path,
    sample_day,
)
from pipeline.sample.texts import for_brand, load_brands
from pipeline.settings import BrandSettings

END = datetime(2026, 3, 12, 23, 30, tzinfo=UTC)
TEXTS = load_texts()
BRANDS: list[dict[str, Any]] = tomllib.loads(sample_brands_path().read_text("utf-8"))["brands"]
KEYS = {brand["key"] for brand in BRANDS}


@pytest.fixture(scope="module")
def day() -> list[tuple[dict[str, Any], SampleText]]:
    return list(labelled_day(end=END))


def published(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["published"])


def matcher(**changed: Any) -> BrandMatcher:
    """A matcher of the sample's brands, with fields of theirs changed."""
    return BrandMatcher([BrandSettings(**{**brand, **changed}) for brand in BRANDS])


def found(text: str, brands: BrandMatcher) -> set[str]:
    return set(brands.match(Event(id="1", source="sample", published=END, text=text)))


def test_texts_are_many_distinct_and_short() -> None:
    words = [text.text for text in TEXTS]
    assert len(set(words)) == len(words) >= 700
    assert len({" ".join(re.findall(r"\w+", text.lower())) for text in words}) >= 700
    assert all(0 < len(text) <= 450 for text in words)


def test_texts_cover_every_label_for_every_brand() -> None:
    for key in KEYS:
        about = [text for text in TEXTS if text.brand in (key, "any")]
        assert {text.stage for text in about} == set(STAGES)
        assert {text.gap for text in about} == set(GAPS)
        assert {text.touchpoint for text in about} == set(TOUCHPOINTS)
        assert {text.advocacy for text in about} == set(ADVOCACIES)
        below = Counter(t.touchpoint for t in about if t.gap == "negative" and t.cue == "ordinary")
        assert all(below[touchpoint] >= 5 for touchpoint in TOUCHPOINTS if touchpoint != "none")
    assert {text.brand for text in TEXTS} == KEYS | {"any", ""}
    assert len({text.lang for text in TEXTS}) >= 5


def test_texts_without_a_brand_have_no_labels_but_a_stage() -> None:
    for text in TEXTS:
        if not text.brand:
            assert (text.gap, text.touchpoint, text.advocacy) == ("none", "none", "passive")


def test_placeholders_are_in_any_texts_only() -> None:
    for text in TEXTS:
        placeholders = set(re.findall(r"\{(.*?)\}", text.text))
        assert placeholders <= {"brand", "handle"}
        assert text.brand == "any" or not placeholders
        assert text.brand != "any" or placeholders or text.own
    assert sum(text.brand == "any" for text in TEXTS) < len(TEXTS) / 3


@pytest.mark.parametrize(
    ("cue", "brand", "least"),
    [
        ("delivery-incident", "larkbasket", 90),
        ("broken-promise", "sorrelbox", 60),
        ("delight", "brambleday", 50),
    ],
)
def test_incidents_have_texts_enough(cue: str, brand: str, least: int) -> None:
    of_cue = [text for text in TEXTS if text.cue == cue]
    assert len(of_cue) >= least
    assert {text.brand for text in of_cue} == {brand}


def test_brand_file_has_the_agreed_keys() -> None:
    for brand in BRANDS:
        assert set(brand) == {
            "key", "name", "aliases", "handles", "hashtags", "accounts", "rivals", "required",
            "forbidden",
        }  # fmt: skip
        assert re.fullmatch(r"[a-z0-9-]+", brand["key"])
        assert set(brand["rivals"]) == KEYS - {brand["key"]}
        assert all(handle.startswith("@") for handle in brand["handles"])
        assert all(hashtag.startswith("#") for hashtag in brand["hashtags"])


def test_brand_words_find_what_is_about_a_brand_and_nothing_else() -> None:
    brands = matcher()
    for text in TEXTS:
        if text.own:
            continue
        if not text.brand:
            assert not found(text.text, brands), text.text
        for key in KEYS:
            if text.brand in (key, "any"):
                filled = for_brand(text, load_brands()[key])
                assert key in found(filled.text, brands), filled.text


def test_some_texts_name_two_brands() -> None:
    brands = matcher()
    assert sum(len(found(text.text, brands)) > 1 for text in TEXTS) >= 10


@pytest.mark.parametrize("words", ["required", "forbidden"])
def test_homonyms_are_kept_out_by_required_and_by_forbidden_words(words: str) -> None:
    loosened = matcher(**{words: ()})
    caught = [found(text.text, loosened) for text in TEXTS if not text.brand]
    assert set().union(*caught) == KEYS


def test_day_is_the_same_for_the_same_arguments() -> None:
    first = list(sample_day(end=END, events=400))
    assert first == list(sample_day(end=END, events=400))
    assert first != list(sample_day(end=END, events=400, seed=8))


@pytest.mark.parametrize(("events", "hours"), [(6000, 24.0), (300, 24.0), (500, 2.0), (1, 24.0)])
def test_day_is_in_order_and_in_bounds(events: int, hours: float) -> None:
    made = list(sample_day(end=END, events=events, hours=hours))
    times = [published(event) for event in made]
    assert len(made) == events
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert times[-1] == END
    assert times[0] >= END - timedelta(hours=hours)
    assert len({event["id"] for event in made}) == events


def test_empty_day_and_bad_arguments() -> None:
    assert list(sample_day(end=END, events=0)) == []
    with pytest.raises(ValueError, match="time zone"):
        next(sample_day(end=END.replace(tzinfo=None)))
    with pytest.raises(ValueError, match="positive"):
        next(sample_day(end=END, hours=0))


def test_ids_of_different_days_differ() -> None:
    today = {event["id"] for event in sample_day(end=END, events=50)}
    tomorrow = {event["id"] for event in sample_day(end=END + timedelta(days=1), events=50)}
    assert not today & tomorrow


def test_events_are_valid_records(day: list[tuple[dict[str, Any], SampleText]]) -> None:
    for event, _ in day:
        record = msgspec.json.decode(json.dumps(event), type=Event)
        assert record.text or record.object
        assert len(record.text or "") <= 500
        assert event["published"].endswith("Z")
        assert record.engagement.reposts <= record.engagement.likes <= record.engagement.views


def test_only_example_domains_appear(day: list[tuple[dict[str, Any], SampleText]]) -> None:
    for event, _ in day:
        hosts = re.findall(r"https?://([^/\s]+)", json.dumps(event, ensure_ascii=False))
        assert set(hosts) <= {"example.com", "social.example"}
        assert not re.search(r"[\w.]+@[\w-]+\.\w+", event.get("text", ""))  # no e-mail address


def test_handles_in_texts_are_invented_ones(
    day: list[tuple[dict[str, Any], SampleText]],
) -> None:
    known = {event["actor"]["name"] for event, _ in day}
    known |= {handle[1:] for brand in BRANDS for handle in brand["handles"]}
    for event, _ in day:
        assert set(re.findall(r"(?<![\w/])@([\w.]*\w)", event.get("text", ""))) <= known


def test_day_is_a_believable_mix(day: list[tuple[dict[str, Any], SampleText]]) -> None:
    count = len(day)
    types = Counter(event["type"] for event, _ in day)
    cues = Counter(label.cue for _, label in day)
    brands = Counter(label.brand for _, label in day if label.cue != "noise")
    authors = Counter(event["actor"]["id"] for event, _ in day)
    assert {"Create", "Announce", "Question", "Like", "View", "Follow", "Join", "Invite"} <= set(
        types
    )
    assert 0.13 < types["Announce"] / count < 0.20
    assert 0.01 < cues["noise"] / count < 0.03
    assert 0.02 < brands[""] / count < 0.045
    assert 300 < len(authors) < 3000
    assert authors.most_common(1)[0][1] < 0.03 * count
    followers = sorted({e["actor"]["id"]: e["actor"]["followers"] for e, _ in day}.values())
    assert followers[-1] > 100 * followers[len(followers) // 2] > 0
    assert {label.stage for _, label in day} == set(STAGES)


def test_reposts_and_answers_refer_to_earlier_posts(
    day: list[tuple[dict[str, Any], SampleText]],
) -> None:
    own = {brand["key"]: set(brand["accounts"]) for brand in BRANDS}
    ids: set[str] = set()
    texts: set[str] = set()
    answered = 0
    for event, label in day:
        if event["type"] == "Announce":
            assert event.get("text", "") in texts
        if "in_reply_to" in event:
            answered += 1
            assert event["in_reply_to"] in ids
        if label.own:
            assert event["actor"]["name"] in own[label.brand]
        ids.add(event["id"])
        texts.add(event.get("text", ""))
    assert answered > 100


def test_same_words_are_rarely_posted_by_two_authors(
    day: list[tuple[dict[str, Any], SampleText]],
) -> None:
    posted = Counter(
        event.get("text", "")
        for event, label in day
        if event["type"] in ("Create", "Question") and not label.own
    )
    assert sum(times - 1 for times in posted.values()) <= 0.01 * posted.total()


def test_incidents_stand_out_from_the_hour_before(
    day: list[tuple[dict[str, Any], SampleText]],
) -> None:
    for incident in incidents(END):
        gap = "positive" if incident.cue == "delight" else "negative"
        minutes = [
            (published(event) - incident.onset) / timedelta(minutes=1)
            for event, label in day
            if (label.brand, label.gap, label.touchpoint)
            == (incident.brand, gap, incident.touchpoint)
        ]
        before = sum(-60 <= minute < 0 for minute in minutes)
        busiest = max(sum(at <= m < at + 60 for m in minutes) for at in range(0, 180, 15))
        assert busiest >= 5 * max(before, 1), (incident, before, busiest)
        assert busiest >= 20


def test_incidents_keep_their_order_and_their_place() -> None:
    expected = incidents(END, hours=10.0)
    assert [incident.cue for incident in expected] == [
        "broken-promise",
        "delivery-incident",
        "delight",
    ]
    assert expected[1].onset == END - timedelta(hours=3)
    for event, label in labelled_day(end=END, hours=10.0, events=1000):
        for incident in expected:
            if label.cue == incident.cue:
                assert published(event) >= incident.onset - timedelta(milliseconds=1)


def test_delivery_incident_rises_within_minutes(
    day: list[tuple[dict[str, Any], SampleText]],
) -> None:
    onset = next(i.onset for i in incidents(END) if i.cue == "delivery-incident")
    late = [
        (published(event) - onset) / timedelta(minutes=1)
        for event, label in day
        if label.cue == "delivery-incident"
    ]
    assert sum(minute < 30 for minute in late) >= 60
    assert sum(minute > 180 for minute in late) >= 20
    shared = sum(
        event["type"] == "Announce" for event, label in day if label.cue == "delivery-incident"
    )
    assert shared >= 0.4 * len(late)


def test_letdowns_happen_all_day_everywhere(
    day: list[tuple[dict[str, Any], SampleText]],
) -> None:
    before = incidents(END)[0].onset
    quiet = [
        label
        for event, label in day
        if published(event) < before and label.gap == "negative" and label.cue == "ordinary"
    ]
    assert {label.touchpoint for label in quiet} == set(TOUCHPOINTS) - {"none"}
    series = Counter((label.brand, label.touchpoint) for label in quiet)
    assert len(series) == 18
    assert max(series.values()) < 60
