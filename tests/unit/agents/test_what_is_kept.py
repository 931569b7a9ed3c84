"""What agents keep of authors: pseudonyms, and those who are to be forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from pipeline.agents.classify import Classify
from pipeline.agents.notify import Notify
from pipeline.domain.deliveries import Delivery
from pipeline.domain.erasures import Erasures, author_hash
from pipeline.domain.privacy import Privacy
from pipeline.domain.pseudonyms import Pseudonyms
from pipeline.metrics import Metrics
from pipeline.records import Erasure, Mention, Post, Rejected
from pipeline.settings import BrandSettings, Settings
from pipeline.web.view import LiveView
from tests.builders import (
    NOON,
    MemoryProducer,
    MemoryTable,
    a_chunk,
    a_mention,
    an_alert,
    an_event,
    metric,
    raw_event,
    some_labels,
)

KEY = "a-key-of-at-least-thirty-two-characters"
SETTINGS = Settings(
    brands=(BrandSettings(key="north", name="North", accounts=("@north_official",)),)
)


class Neutral:
    version = "neutral-1"

    def classify(self, texts: list[str]) -> list[object]:
        return [some_labels() for _ in texts]

    def close(self) -> None:
        """Nothing to give back."""


class Bench:
    """A classify agent with what may be kept of authors."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self.executor = executor
        self.producer = MemoryProducer()
        self.metrics = Metrics()

    def agent(self, privacy: Privacy) -> Classify:
        return Classify(
            SETTINGS,
            producer=self.producer,  # type: ignore[arg-type]
            classifier=Neutral(),  # type: ignore[arg-type]
            executor=self.executor,
            metrics=self.metrics,
            partitions=4,
            privacy=privacy,
        )


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ThreadPoolExecutor(1) as executor:
        yield Bench(executor)


def forgetting(author: str, source: str = "test") -> Erasures:
    erasures = Erasures()
    erasures.hear(Erasure(author_hash(source, author), NOON, "dpo"))
    return erasures


async def test_mentions_have_pseudonyms_and_brands_still_know_their_own_accounts(bench):
    events = [
        raw_event(id="1", actor={"id": "u1", "name": "ann", "followers": 7}),
        raw_event(id="2", actor={"id": "u1", "name": "ann-renamed"}),
        raw_event(id="3", actor={"id": "u0", "name": "north_official"}),
        b'{"id": "4", "actor": {"id": "u1", "name": "ann"}}',
        b"ann?",
    ]
    await bench.agent(Privacy(key=KEY)).handle(a_chunk(events))
    first, second = bench.producer.to("gapwatch.mentions", Mention)
    assert first.event.actor.id == second.event.actor.id == Pseudonyms(KEY).of("test", "u1")
    assert (first.event.actor.name, first.event.actor.followers) == ("", 7)
    letters = bench.producer.to("gapwatch.rejected", Rejected)
    assert [letter.reason for letter in letters] == ["invalid", "not_json"]
    assert letters[1].event is None
    sent = b"".join(value or b"" for _, _, _, value in bench.producer.sent)
    assert b"ann" not in sent
    assert b'"u1"' not in sent


async def test_posts_of_who_is_to_be_forgotten_become_no_mentions(bench):
    events = [
        raw_event(id="1", actor={"id": "u1", "name": "ann"}),
        raw_event(id="2", actor={"id": "u2", "name": "bob"}),
        raw_event(id="3", actor={"id": "u1"}, text="of no brand"),
        raw_event(id="4", actor={"id": "u1"}, published="yesterday"),
    ]
    await bench.agent(Privacy(forgetting("u1"))).handle(a_chunk(events))
    (mention,) = bench.producer.to("gapwatch.mentions", Mention)
    assert mention.event.id == "2"
    (letter,) = bench.producer.to("gapwatch.rejected", Rejected)
    assert (letter.event, letter.offset) == (None, 3)
    assert metric(bench.metrics, "gapwatch_erased_total") == 1
    assert metric(bench.metrics, "gapwatch_unmatched_total") == 1


async def test_nothing_is_taken_in_until_it_is_known_who_is_to_be_forgotten(bench):
    erasures = Erasures()

    async def ready() -> None:
        erasures.hear(Erasure(author_hash("test", "u1"), NOON, "dpo"))

    agent = bench.agent(Privacy(erasures))
    agent._ready = ready
    await agent.handle(a_chunk([raw_event(actor={"id": "u1"})]))
    assert bench.producer.to("gapwatch.mentions", Mention) == []


POST = Post("p", "ann", "zeppelin", NOON, source="test", author_id="u1")


class Silent:
    """A receiver that is never asked here."""

    rate = None
    folds = refreshes = True


async def test_what_is_owed_to_receivers_is_rid_of_posts():
    erasures = Erasures()
    settings = Settings(
        receivers=({"name": "chat", "kind": "webhook", "url": "https://chat.example"},)
    )
    notify = Notify(
        settings,
        receivers={"chat": Silent()},  # type: ignore[dict-item]
        metrics=Metrics(),
        erasures=erasures,
    )
    table = notify.table = MemoryTable(Delivery)  # type: ignore[assignment]
    notify._wake = {}
    alert = an_alert(posts=(POST,))
    await notify.handle(a_chunk([msgspec.json.encode(alert)]))
    assert b"zeppelin" in (table.changelog[-1][2] or b"")
    await notify.forget_authors()
    assert len(table.changelog) == 1
    erasures.hear(Erasure(author_hash("test", "u1"), NOON, "dpo"))
    await notify.forget_authors()
    assert b"zeppelin" not in (table.changelog[-1][2] or b"")
    later = an_alert(posts=(POST,), status="escalated")
    await notify.handle(a_chunk([msgspec.json.encode(later)], first=1))
    assert b"escalated" in (table.changelog[-1][2] or b"")
    assert b"zeppelin" not in (table.changelog[-1][2] or b"")


def test_the_page_shows_nobody_who_is_to_be_forgotten():
    erasures = Erasures()
    view = LiveView(erasures)
    mention = a_mention(event=an_event(author="u1", text="zeppelin"))
    alert = an_alert(posts=(POST,))
    view.on_mention(mention)
    view.on_alert(alert)
    assert view.snapshot().count(b"zeppelin") == 2
    revision = view.revision
    erasures.hear(Erasure(author_hash("test", "u1"), NOON, "dpo"))
    view.forget_authors()
    assert view.revision > revision
    view.on_mention(mention)  # read again from the topic
    view.on_alert(alert)
    assert b"zeppelin" not in view.snapshot()
