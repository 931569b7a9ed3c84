"""Pseudonyms, and authors who are to be forgotten."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.alerts import State, Watch
from pipeline.domain.deliveries import Delivery, Owed
from pipeline.domain.distinct import hash_author
from pipeline.domain.erasures import Erasures, author_hash
from pipeline.domain.lifecycle import Rules
from pipeline.domain.privacy import Privacy
from pipeline.domain.pseudonyms import Pseudonyms
from pipeline.domain.spikes import Detector
from pipeline.records import Actor, Alert, Erasure, Event, Mention, Post, Rejected, Term
from tests.builders import NOON, a_mention, an_alert, an_event, at

KEY = "a-key-of-at-least-thirty-two-characters"
RULES = Rules(8, 0.1, 30, 60, 6)
SECRET_WORDS = "zeppelin marmalade"

names = st.text(st.characters(codec="utf-8"), max_size=40)
events = st.builds(
    Event,
    id=st.text(min_size=1, max_size=60),
    source=st.sampled_from(["bluesky", "reddit", "x"]),
    published=st.just(NOON),
    text=st.none() | st.text(max_size=40),
    actor=st.builds(Actor, id=names, name=names, followers=st.integers(0, 10**6)),
    url=st.none() | st.text(max_size=60),
    in_reply_to=st.none() | st.text(max_size=60),
)


def forgetting(*authors: tuple[str, str]) -> Erasures:
    """Erasures of these authors, by source and id."""
    erasures = Erasures()
    for source, author in authors:
        erasures.hear(Erasure(author_hash(source, author), NOON, "dpo"))
    return erasures


class TestPseudonyms:
    def test_an_author_has_one_name_whatever_the_post(self) -> None:
        hide = Pseudonyms(KEY).hide
        one = hide(an_event(id="1", text="a", author="ann"))
        other = hide(an_event(id="2", text="b", author="ann", followers=9))
        assert one.actor.id == other.actor.id
        assert one.actor.id.startswith("anon-")
        assert (one.actor.name, other.actor.followers) == ("", 9)

    def test_another_author_source_or_key_gives_another_name(self) -> None:
        pseudonyms = Pseudonyms(KEY)
        made = {
            pseudonyms.of("x", "ann"),
            pseudonyms.of("x", "bob"),
            pseudonyms.of("y", "ann"),
            Pseudonyms(KEY[::-1]).of("x", "ann"),
        }
        assert len(made) == 4

    def test_where_a_source_gives_no_ids_names_tell_authors_apart(self) -> None:
        hide = Pseudonyms(KEY).hide
        ann, bob = (hide(an_event(actor=Actor(name=name))) for name in ("ann", "bob"))
        assert ann.author != bob.author
        assert hide(an_event(actor=Actor())).actor == Actor()

    @given(st.lists(events, max_size=12))
    def test_distinct_authors_stay_as_many(self, posted: list[Event]) -> None:
        hide = Pseudonyms(KEY).hide
        known = {event.author for event in posted}
        assert len({hide(event).author for event in posted}) == len(known)
        assert len({hash_author(hide(event).author) for event in posted}) == len(known)

    @given(events)
    def test_nothing_of_the_author_is_left_but_in_the_words(self, event: Event) -> None:
        hidden = Pseudonyms(KEY).hide(event)
        for name in (event.actor.id, event.actor.name):
            if len(name) >= 3:
                # A hash may hold three letters by chance; an author's name is not put there.
                assert hidden.actor.id != name
                assert name.casefold() not in (hidden.url or "").casefold()
                assert hidden.id != event.id or name.casefold() not in hidden.id.casefold()
        assert hidden.in_reply_to is None
        assert (hidden.text, hidden.published, hidden.source) == (
            event.text, event.published, event.source
        )  # fmt: skip

    def test_ids_and_addresses_stay_where_they_tell_nothing(self) -> None:
        event = an_event(id="post-17", url="https://forum.example/t/17")
        hidden = Pseudonyms(KEY).hide(event)
        assert (hidden.id, hidden.url) == (event.id, event.url)
        telling = an_event(id="at://did:plc:ann/1", url="https://x.example/Ann/1", author="ann")
        hidden = Pseudonyms(KEY).hide(telling)
        assert hidden.id.startswith("anon-")
        assert hidden.url is None
        assert Pseudonyms(KEY).hide(telling).id == hidden.id


class TestErasures:
    def test_an_author_is_known_by_source_and_id_or_name(self) -> None:
        erasures = forgetting(("test", "u1"), ("test", "otto"))
        assert erasures.covers_event(an_event(actor=Actor("u1", "new-name")))
        assert erasures.covers_event(an_event(actor=Actor("u9", "otto")))
        assert not erasures.covers_event(an_event(actor=Actor("u2", "mara")))
        assert not erasures.covers_event(an_event(source="other", actor=Actor("u1", "x")))
        assert not Erasures().covers_event(an_event(actor=Actor("u1")))
        assert not erasures.covers_event(an_event(actor=Actor()))

    def test_the_list_holds_no_name(self) -> None:
        erasure = Erasure(author_hash("bluesky", "did:plc:mara"), NOON, "dpo")
        assert b"mara" not in msgspec.json.encode(erasure)

    def test_what_was_heard_before_is_no_news(self) -> None:
        erasures = forgetting(("test", "u1"))
        revision = erasures.revision
        erasures.hear(Erasure(author_hash("test", "u1"), at(5), "somebody"))
        assert erasures.revision == revision
        erasures.hear(Erasure(author_hash("test", "u1"), at(5), "somebody", also="p"))
        assert erasures.revision == revision + 1

    def test_an_alert_loses_the_posts_and_the_words_only_these_held(self) -> None:
        def post(author: str, text: str) -> Post:
            return Post("p-" + author, author, text, NOON, source="test", author_id=author)

        alert = an_alert(
            posts=(post("ann", f"{SECRET_WORDS} never came"), post("bob", "never came at all")),
            terms=(
                Term(SECRET_WORDS, 2, 9.0),
                Term("zeppelin", 1, 8.0),
                Term("came", 3, 7.0),
                Term("slow", 5, 6.0),
            ),
        )
        scrubbed = forgetting(("test", "ann")).scrubbed(alert)
        assert [post.author for post in scrubbed.posts] == ["bob"]
        assert [(term.text, term.posts) for term in scrubbed.terms] == [("came", 2), ("slow", 5)]
        assert (scrubbed.seen, scrubbed.authors) == (alert.seen, alert.authors)
        alike = msgspec.structs.replace(alert.posts[0], alike=1)  # perhaps Ann's as well
        again = msgspec.structs.replace(alert, posts=(alike,))
        assert [term.text for term in forgetting(("test", "ann")).scrubbed(again).terms] == ["slow"]
        untouched = forgetting(("test", "eve"))
        assert untouched.scrubbed(alert) is alert


def complaint(number: int, author: str, text: str | None = None) -> Mention:
    minutes = number / 4
    return a_mention(
        stamp=(0, number),
        gap="negative",
        touchpoint="delivery",
        event=an_event(
            id=f"c{number}",
            text=text or f"parcel {number} is late again",
            author=author,
            followers=5000 if author == "ann" else 0,  # one to be shown
            published=at(minutes),
        ),
    )


def an_incident(state: dict[bytes, State], erasures: Erasures) -> tuple[Watch, list[Alert]]:
    """A brand's day, then complaints: one by Ann, in words of her own."""
    watch = Watch(state, RULES, Detector(budget=1.0, min_mentions=8), erasures=erasures)
    told: list[Alert] = []
    log = [
        a_mention(stamp=(1, n), event=an_event(id=f"u{n}", published=at(-n * 5), author=f"u{n}"))
        for n in range(300, 0, -1)
    ]
    log = [
        msgspec.structs.replace(mention, stamp=msgspec.structs.replace(mention.stamp, offset=n))
        for n, mention in enumerate(log)
    ]
    log += [
        complaint(n, "ann" if n == 20 else f"a{n}", SECRET_WORDS if n == 20 else None)
        for n in range(40)
    ]
    for mention in log:
        now = mention.event.published.timestamp()
        told += watch.settle(now)[1]
        told += watch.apply(mention, now)[1]
    return watch, told


class TestState:
    def test_posts_leave_an_open_alert_and_its_numbers_stay(self) -> None:
        erasures = Erasures()
        state: dict[bytes, State] = {}
        watch, _ = an_incident(state, erasures)
        (before,) = watch.open_alerts()
        assert SECRET_WORDS.encode() in msgspec.json.encode(state)
        erasures.hear(Erasure(author_hash("test", "ann"), NOON, "dpo"))
        changed, alerts = watch.forget_authors()
        assert changed == {b"north|gap"}
        left = msgspec.json.encode(state)
        assert b"zeppelin" not in left
        assert b'"ann"' not in left
        (after,) = watch.open_alerts()
        assert (after.seen, after.authors, after.reach) == (
            before.seen, before.authors, before.reach
        )  # fmt: skip
        assert any(post.author == "ann" for post in before.posts)
        assert [alert.id for alert in alerts] == [before.id]
        assert all(post.author != "ann" for alert in alerts for post in alert.posts)
        assert watch.forget_authors() == (set(), [])

    def test_a_restored_state_is_cleaned_too(self) -> None:
        state: dict[bytes, State] = {}
        an_incident(state, Erasures())
        restored = msgspec.json.decode(msgspec.json.encode(state), type=dict[bytes, State])
        watch = Watch(
            restored,
            RULES,
            Detector(budget=1.0, min_mentions=8),
            erasures=forgetting(("test", "ann")),
        )
        assert watch.forget_authors()[0] == {b"north|gap"}
        assert b"zeppelin" not in msgspec.json.encode(restored)

    def test_what_comes_later_counts_and_is_not_remembered(self) -> None:
        state: dict[bytes, State] = {}
        _, told = an_incident(state, forgetting(("test", "ann")))
        as_ever: dict[bytes, State] = {}
        _, usual = an_incident(as_ever, Erasures())
        assert b"zeppelin" not in msgspec.json.encode(state)
        assert b"zeppelin" in msgspec.json.encode(as_ever)
        assert [(a.id, a.status, a.seen, a.authors) for a in told] == [
            (a.id, a.status, a.seen, a.authors) for a in usual
        ]

    def test_what_is_owed_is_owed_without_them(self) -> None:
        post = Post("p", "ann", SECRET_WORDS, NOON, source="test", author_id="ann")
        delivery = Delivery(owed=[Owed("chat", an_alert(posts=(post,)), 0.0, "n")])
        assert delivery.forget_authors(forgetting(("test", "ann")))
        assert not delivery.forget_authors(forgetting(("test", "ann")))
        assert delivery.owed[0].alert.posts == ()


def a_letter(event: dict[str, Any] | None = None, text: str | None = None) -> Rejected:
    return Rejected(
        reason="invalid",
        detail="why",
        topic="gapwatch.events",
        partition=0,
        offset=7,
        received=NOON + timedelta(seconds=1),
        event=json.dumps(event) if event is not None else text,
    )


ANN: Final[dict[str, Any]] = {
    "id": "at://ann/1",
    "source": "test",
    "published": "yesterday",
    "text": "late",
    "in_reply_to": "at://bob/1",
    "url": "https://x.example/ann/1",
    "actor": {"id": "ann", "name": "Ann A.", "followers": 3, "avatar": "https://x/ann.png"},
}


class TestDeadLetters:
    def test_without_a_key_and_a_list_they_are_whole(self) -> None:
        letter = a_letter(ANN)
        assert Privacy().keep_letter(b"k", letter) == (b"k", letter)

    def test_with_a_key_they_name_nobody(self) -> None:
        key, letter = Privacy(key=KEY).keep_letter(b"at://ann/1", a_letter(ANN))
        assert key is None
        assert letter.event is not None
        assert "ann" not in letter.event.lower()
        kept = json.loads(letter.event)
        assert (kept["published"], kept["text"]) == ("yesterday", "late")
        assert kept["actor"] == {"id": Pseudonyms(KEY).of("test", "ann"), "followers": 3}

    @pytest.mark.parametrize("text", ["{", "[1]", "7", '"ann"', ""])
    def test_with_a_key_what_cannot_be_read_is_not_kept(self, text: str) -> None:
        _, letter = Privacy(key=KEY).keep_letter(b"k", a_letter(text=text))
        assert (letter.event, letter.event_base64, letter.offset) == (None, None, 7)

    @pytest.mark.parametrize("actor", [7, None, [], "ann", {"id": 7, "name": ["ann"]}, {}])
    def test_an_actor_that_is_none_does_no_harm(self, actor: Any) -> None:
        event = ANN | {"actor": actor, "id": "1", "url": None}
        _, letter = Privacy(forgetting(("test", "bob")), KEY).keep_letter(None, a_letter(event))
        assert "ann" not in (letter.event or "")

    def test_of_who_is_forgotten_only_the_place_is_kept(self) -> None:
        for key in (None, KEY):
            privacy = Privacy(forgetting(("test", "ann")), key)
            _, letter = privacy.keep_letter(b"at://ann/1", a_letter(ANN))
            assert (letter.event, letter.offset) == (None, 7)

    def test_others_letters_are_whole_where_somebody_is_forgotten(self) -> None:
        letter = a_letter(ANN)
        privacy = Privacy(forgetting(("test", "bob")))
        assert privacy.keep_letter(b"k", letter) == (b"k", letter)
