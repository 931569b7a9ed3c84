"""The sample's day: a rhythm, an ordinary mix of posts, and the incidents laid over it."""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

import msgspec

from pipeline.sample.incidents import SHAPES
from pipeline.sample.people import HOST, People, Person
from pipeline.sample.plan import Step, plan
from pipeline.sample.texts import (
    Deck,
    SampleBrand,
    SampleText,
    Wording,
    for_brand,
    load_brands,
    load_texts,
)

_VOICE: Final = {"larkbasket": 0.42, "sorrelbox": 0.33, "brambleday": 0.25}
"""How much of the ordinary talk is about each brand."""

_GAPS: Final = {"negative": 0.17, "none": 0.73, "positive": 0.10}
"""Shares of the expectation gaps in ordinary posts."""

_WORDLESS: Final = {
    "Like": ("curation", 0.42),
    "View": ("consumption", 0.25),
    "Follow": ("curation", 0.17),
    "Read": ("consumption", 0.06),
    "Join": ("collaboration", 0.06),
    "Invite": ("collaboration", 0.04),
}
"""Activities without words: the stage of each and its share."""

_OWN_ACCOUNT: Final = 0.45
"""Share of answers that a brand's own account gives."""


@dataclass(frozen=True, slots=True)
class _Post:
    """A post that others can repost or answer."""

    id: str
    author: Person
    words: str
    label: SampleText


@dataclass(slots=True)
class _Memory:
    """What was posted so far, as far as later events refer to it."""

    ordinary: deque[_Post] = field(default_factory=lambda: deque(maxlen=300))
    to_answer: dict[str, deque[_Post]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=40))
    )
    of_cue: dict[str, list[_Post]] = field(default_factory=lambda: defaultdict(list))


def sample_day(
    *, end: datetime, seed: int = 7, events: int = 6000, hours: float = 24.0
) -> Iterator[dict[str, Any]]:
    """A day of social events about the sample's brands, in order of `published`.

    The same arguments give the same events. An incident takes a share of `events`, so a smaller
    day has smaller incidents; with other than 24 `hours` all of it shrinks or stretches. The texts
    speak of an evening: they read best where `end` is near midnight.

    Args:
        end: When the last event was published, with a time zone.
        seed: Another seed is another day with the same incidents.
        events: How many events.
        hours: How long the day is.

    Yields:
        Events as dictionaries ready for JSON.
    """
    for event, _ in labelled_day(end=end, seed=seed, events=events, hours=hours):
        yield event


def labelled_day(
    *, end: datetime, seed: int = 7, events: int = 6000, hours: float = 24.0
) -> Iterator[tuple[dict[str, Any], SampleText]]:
    """The events of `sample_day`, each with its labels as a reader would give them."""
    if end.tzinfo is None:
        raise ValueError("end needs a time zone")
    if events < 0 or hours <= 0:
        raise ValueError("events must not be negative, hours must be positive")
    rng = random.Random(seed)  # noqa: S311 - a made-up day, no secrets
    last = end.astimezone(UTC)
    last = last.replace(microsecond=last.microsecond // 1000 * 1000)
    named = f"{last.isoformat()} {seed} {events} {hours}"
    day = _Day(rng, blake2b(named.encode(), digest_size=4).hexdigest())
    for number, step in enumerate(plan(rng, last, events, hours)):
        yield day.event(number, step)


class _Day:
    """Turns steps into events, one after the other."""

    def __init__(self, rng: random.Random, name: str) -> None:
        self._rng = rng
        self._name = name
        self._brands = load_brands()
        self._people = People(rng, [brand.account for brand in self._brands.values()])
        self._wording = Wording(rng)
        self._memory = _Memory()
        texts = load_texts()
        self._cue = {
            cue: Deck([text for text in texts if text.cue == cue], rng)
            for cue in ("noise", *(shape.cue for shape in SHAPES))
        }
        self._unbranded = Deck([t for t in texts if t.cue == "ordinary" and not t.brand], rng)
        self._ordinary: dict[tuple[str, str], Deck] = {}
        self._answers: dict[tuple[str, bool], Deck] = {}
        for brand in self._brands.values():
            about = [for_brand(t, brand) for t in texts if t.brand in ("any", brand.key)]
            for gap in _GAPS:
                dealt = [t for t in about if t.cue == "ordinary" and t.gap == gap]
                self._ordinary[brand.key, gap] = Deck(dealt, rng)
            for own in (False, True):
                dealt = [t for t in about if t.cue == "answer" and t.own is own]
                self._answers[brand.key, own] = Deck(dealt, rng)

    def event(self, number: int, step: Step) -> tuple[dict[str, Any], SampleText]:
        """The event of a step, with its labels."""
        event_id = f"sample-{self._name}-{number:06d}"
        if step.kind == "repost":
            made = self._repost(event_id, step)
            if made is not None:
                return made
        if step.kind == "answer":
            return self._answer(event_id, step)
        if step.kind == "wordless":
            return self._wordless(event_id, step)
        return self._post(event_id, step)

    def _post(self, event_id: str, step: Step) -> tuple[dict[str, Any], SampleText]:
        label = self._deal(step)
        author = self._people.spammer() if step.kind == "noise" else self._people.anyone(label.lang)
        words = self._wording.of(label, step.at)
        asks = "?" in words and label.stage in ("consumption", "creation")
        activity = "Question" if asks and label.gap == "none" and self._happens(0.4) else "Create"
        post = _Post(event_id, author, words, label)
        if step.shape is not None:
            self._memory.of_cue[step.shape.cue].append(post)
        elif step.kind != "noise" and label.stage != "consumption":
            self._memory.ordinary.append(post)
        if label.gap == "negative" or asks:
            self._memory.to_answer[label.brand].append(post)
        return self._event(event_id, step.at, activity, author, words, label), label

    def _deal(self, step: Step) -> SampleText:
        if step.shape is not None:
            return self._cue[step.shape.cue].deal()
        if step.kind == "noise":
            return self._cue["noise"].deal()
        if step.kind == "unbranded":
            return self._unbranded.deal()
        gap = self._rng.choices(list(_GAPS), list(_GAPS.values()))[0]
        return self._ordinary[self._some_brand().key, gap].deal()

    def _repost(self, event_id: str, step: Step) -> tuple[dict[str, Any], SampleText] | None:
        """A repost; none where there is nothing yet to repost."""
        memory = self._memory
        posts = memory.of_cue[step.shape.cue] if step.shape else memory.ordinary
        if not posts:
            return None
        post = self._rng.choice(posts)
        if step.shape:
            posts.append(post)  # what is shared is seen, and shared the more
        author = self._people.anyone(post.label.lang)
        if author == post.author:
            author = self._people.anyone()
        label = msgspec.structs.replace(post.label, stage="curation")
        return self._event(event_id, step.at, "Announce", author, post.words, label), label

    def _answer(self, event_id: str, step: Step) -> tuple[dict[str, Any], SampleText]:
        brand = self._some_brand()
        own = self._happens(_OWN_ACCOUNT)
        label = self._answers[brand.key, own].deal()
        waiting = self._memory.to_answer[brand.key]
        fitting = [post for post in waiting if post.label.touchpoint == label.touchpoint]
        target = None
        if fitting:
            target = self._rng.choice(fitting[-6:])
        elif own and waiting:
            target = waiting[-1]
        if target is not None:
            waiting.remove(target)
        words = label.text if own else self._wording.of(label, step.at)
        if own and target is not None:
            words = f"@{target.author.name} {words}"
        author = self._people.account(brand.account) if own else self._people.anyone(label.lang)
        event = self._event(event_id, step.at, "Create", author, words, label)
        if target is not None:
            event["in_reply_to"] = target.id
        return event, label

    def _wordless(self, event_id: str, step: Step) -> tuple[dict[str, Any], SampleText]:
        brand = self._some_brand()
        chances = [share for _, share in _WORDLESS.values()]
        activity = self._rng.choices(list(_WORDLESS), chances)[0]
        label = SampleText(
            text=brand.handle,
            brand=brand.key,
            stage=_WORDLESS[activity][0],
            gap="none",
            touchpoint="none",
            advocacy="passive",
            cue="ordinary",
        )
        author = self._people.anyone()
        event = self._event(event_id, step.at, activity, author, brand.handle, label)
        event["object"] = event.pop("text")  # what was liked or followed; nothing was said
        return event, label

    def _event(
        self,
        event_id: str,
        at: datetime,
        activity: str,
        author: Person,
        words: str,
        label: SampleText,
    ) -> dict[str, Any]:
        return {
            "id": event_id,
            "source": "sample",
            "type": activity,
            "published": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z",
            "actor": author.actor(),
            "text": words,
            "lang": label.lang,
            "url": f"{HOST}/@{author.name}/{event_id}",
            "engagement": self._engagement(activity, author, label),
        }

    def _engagement(self, activity: str, author: Person, label: SampleText) -> dict[str, int]:
        """How others reacted: more to the widely followed, and to what stirs people."""
        if activity not in ("Create", "Question"):
            return {"likes": 0, "reposts": 0, "replies": 0, "views": 0}
        stir = {"negative": 1.6, "none": 0.7, "positive": 1.4}[label.gap]
        stir *= 0.1 if label.cue == "noise" else 1.0
        seen = (8 + 0.3 * author.followers) * stir * self._rng.lognormvariate(0.0, 0.9)
        likes = seen * 0.03 * self._rng.lognormvariate(0.0, 0.6)
        return {
            "likes": int(likes),
            "reposts": int(likes * self._rng.uniform(0.02, 0.35)),
            "replies": int(likes * self._rng.uniform(0.02, 0.30)),
            "views": int(seen),
        }

    def _some_brand(self) -> SampleBrand:
        return self._brands[self._rng.choices(list(_VOICE), list(_VOICE.values()))[0]]

    def _happens(self, probability: float) -> bool:
        return self._rng.random() < probability
