"""Events over HTTP: a real server, a real broker, and what a sender is told."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from pipeline.broker.client import client_options
from pipeline.broker.embedded import EmbeddedBroker
from pipeline.domain.erasures import Erasures, author_hash
from pipeline.domain.privacy import Privacy
from pipeline.metrics import Metrics
from pipeline.producer import Producer
from pipeline.records import Erasure, Rejected
from pipeline.settings import KafkaSettings, Settings
from pipeline.topics import create_topics
from pipeline.web.ingest import AT_ONCE, ERRORS_TOLD, PATH, Ingest
from tests.builders import metric, until
from tests.worker import read_topic

TOKENS = {"shop": "shop-token-of-some-length", "desk": "desk-token-of-some-length"}
NDJSON = "application/x-ndjson"
JSON = "application/json"


def an_event(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"e{number}",
        "source": "shop",
        "published": "2026-03-01T18:04:05Z",
        "text": "North is late again",
        "actor": {"id": "u1", "name": "mara"},
        **fields,
    }


def lines(*events: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(event).encode() for event in events)


class Door:
    """An `Ingest` that is served, on topics of its own."""

    def __init__(self, kafka: KafkaSettings, privacy: Privacy | None, **limits: Any) -> None:
        self.settings = Settings(
            kafka=kafka.model_copy(update={"topic_prefix": f"in-{uuid.uuid4().hex[:12]}"}),
            ingest={"tokens": TOKENS, **limits},
        )
        self.metrics = Metrics()
        self.producer = Producer(
            client_options(self.settings.kafka), idempotent=self.settings.kafka.idempotent
        )
        self.ingest = Ingest(
            self.settings,
            producer=self.producer,
            metrics=self.metrics,
            privacy=privacy or Privacy(),
        )
        self.client: aiohttp.ClientSession
        self.sending: list[asyncio.Task[tuple[int, dict[str, Any]]]] = []

    async def send(
        self, body: Any, kind: str = NDJSON, *, client: str = "shop", **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """Status of a request, and what it was told."""
        sent = {
            "Authorization": f"Bearer {TOKENS.get(client, client)}",
            "Content-Type": kind,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        async with self.client.post(PATH, data=body, headers=sent) as answer:
            told = await answer.read()
            if answer.content_type == JSON:
                return answer.status, json.loads(told)
            return answer.status, {"words": told.decode(), **answer.headers}

    async def events(self) -> list[dict[str, Any]]:
        """What stands in the events topic, each by its own id."""
        found = await read_topic(self.settings, "events")
        events = [json.loads(value) for _, value in found]
        assert [key.decode() for key, _ in found] == [event["id"] for event in events]
        return sorted(events, key=lambda event: str(event["id"]))


@asynccontextmanager
async def open_door(
    kafka: KafkaSettings, privacy: Privacy | None = None, **limits: Any
) -> AsyncIterator[Door]:
    door = Door(kafka, privacy, **limits)
    await create_topics(door.settings, say=lambda _: None)
    await door.producer.start()
    app = web.Application()
    app.router.add_routes(list(door.ingest.routes()))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    door.ingest.open()
    try:
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(address) as door.client:
            yield door
    finally:
        await runner.cleanup()
        await door.producer.stop()


@pytest.fixture
async def door(embedded: EmbeddedBroker) -> AsyncIterator[Door]:
    async with open_door(embedded.kafka_settings()) as door:
        yield door


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (lines(an_event(1), an_event(2)) + b"\n", NDJSON),
        (b"\n" + lines(an_event(1)) + b"\r\n\n" + lines(an_event(2)), "application/jsonl"),
        (json.dumps([an_event(1), an_event(2)], indent=2).encode(), JSON),
        (json.dumps([an_event(1), an_event(2)]).encode(), "application/json; charset=utf-8"),
    ],
)
async def test_events_are_confirmed_and_stand_in_the_topic_by_their_ids(door, body, kind):
    assert await door.send(body, kind) == (202, {"accepted": 2, "rejected": 0})
    assert await door.events() == [an_event(1), an_event(2)]


async def test_one_event_by_itself_and_gzipped(door):
    body = gzip.compress(json.dumps(an_event()).encode())
    assert (await door.send(body, JSON, Content_Encoding="gzip"))[0] == 202
    assert await door.events() == [an_event()]


async def test_many_events_come_through_whole(door):
    events = [an_event(number, text="North " + "é" * 50) for number in range(3000)]
    body = gzip.compress(lines(*events))
    status, told = await door.send(body, Content_Encoding="gzip")
    assert (status, told["accepted"]) == (202, 3000)
    assert len(await door.events()) == 3000
    assert metric(door.metrics, "gapwatch_ingest_bytes") == 0
    counted = {"client": "shop", "outcome": "accepted"}
    assert metric(door.metrics, "gapwatch_ingest_events_total", **counted) == 3000


async def test_what_cannot_be_used_is_told_with_its_place_and_kept_whole(door):
    late = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    bad = {
        2: (b"{", "not_json"),
        4: (b'{"id": "x"}', "invalid"),
        5: (lines(an_event(5, published=late)), "too_early"),
        6: (b'{"id": "\xff"}', "not_utf8"),
        7: (lines(an_event(7, text=None)), "nothing_said"),
    }
    good = {1: lines(an_event(1)), 3: lines(an_event(3))}
    body = b"\n".join({**good, **{place: value for place, (value, _) in bad.items()}}[at]
                      for at in range(1, 8))  # fmt: skip
    status, told = await door.send(body)
    assert (status, told["accepted"], told["rejected"]) == (202, 2, 5)
    assert {error["place"]: error["reason"] for error in told["errors"]} == {
        place: reason for place, (_, reason) in bad.items()
    }
    assert all(error["detail"] for error in told["errors"])
    assert await door.events() == [an_event(1), an_event(3)]
    letters = [letter for _, letter in await read_topic(door.settings, "rejected", Rejected)]
    assert {(letter.topic, letter.partition) for letter in letters} == {("http:shop", -1)}
    kept = {letter.offset: letter for letter in letters}
    assert {place: kept[place].reason for place in bad} == {p: r for p, (_, r) in bad.items()}
    assert kept[4].event == '{"id": "x"}'
    assert kept[6].event_base64
    assert metric(door.metrics, "gapwatch_rejected_total", reason="not_json") == 1


async def test_places_in_an_array_are_told_likewise(door):
    status, told = await door.send(json.dumps([an_event(), 7, {}]).encode(), JSON)
    assert (status, told["accepted"]) == (202, 1)
    assert [error["place"] for error in told["errors"]] == [2, 3]


async def test_where_nothing_was_of_use_the_status_says_so(door):
    status, told = await door.send(b"\n".join([b"nonsense"] * (ERRORS_TOLD + 5)))
    assert (status, told["accepted"], told["rejected"]) == (422, 0, ERRORS_TOLD + 5)
    assert (len(told["errors"]), told["errors_left_out"]) == (ERRORS_TOLD, 5)


async def test_an_event_over_the_limit_is_told_and_not_kept(embedded):
    async with open_door(embedded.kafka_settings()) as door:
        large = an_event(2, text="x" * door.settings.intake.max_event_bytes)
        status, told = await door.send(lines(an_event(1), large))
        assert (status, told["errors"][0]["reason"]) == (202, "too_large")
        assert await read_topic(door.settings, "rejected") == []


@pytest.mark.parametrize(
    ("body", "kind", "headers", "status"),
    [
        (lines(an_event()), "text/csv", {}, 415),
        (lines(an_event()), "application/x-www-form-urlencoded", {}, 415),
        (lines(an_event()), NDJSON, {"Content_Encoding": "br"}, 415),
        (lines(an_event()), NDJSON, {"Content_Encoding": "gzip"}, 400),
        (gzip.compress(lines(an_event()))[:-9], NDJSON, {"Content_Encoding": "gzip"}, 400),
        (gzip.compress(b"{}") + b"more", NDJSON, {"Content_Encoding": "gzip"}, 400),
        (b"[1, 2", JSON, {}, 400),
        (b"[" * 100_000, JSON, {}, 400),
        (b"", NDJSON, {}, 400),
        (b"\n \n", NDJSON, {}, 400),
        (b"  ", JSON, {}, 400),
        (b"[]", JSON, {}, 400),
    ],
)
async def test_bodies_that_cannot_be_read_are_refused_whole(door, body, kind, headers, status):
    assert (await door.send(body, kind, **headers))[0] == status
    assert await door.events() == []


async def test_a_body_may_not_grow_beyond_the_limit(embedded):
    async with open_door(embedded.kafka_settings(), max_body_bytes=10_000) as door:
        assert (await door.send(b"x" * 10_001))[0] == 413

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b" " * 1000

        assert (await door.send(endless()))[0] == 413
        bomb = gzip.compress(b" " * 50_000_000)
        assert len(bomb) > 10_000  # turned away by its length
        assert (await door.send(bomb, Content_Encoding="gzip"))[0] == 413
        bomb = gzip.compress(b" " * 5_000_000)
        assert len(bomb) < 10_000
        assert (await door.send(bomb, Content_Encoding="gzip"))[0] == 413
        assert metric(door.metrics, "gapwatch_ingest_bytes") == 0


async def test_each_sender_has_a_token_and_the_others_are_turned_away(door):
    assert (await door.send(lines(an_event()), client="desk"))[0] == 202
    for wrong in ("", "shoe", "shop-token-of-some-lengt"):
        status, told = await door.send(lines(an_event()), client=wrong)
        assert (status, "WWW-Authenticate" in told) == (401, True)
    counted = {"client": "unknown", "code": "401"}
    assert metric(door.metrics, "gapwatch_ingest_requests_total", **counted) == 3


async def test_who_guesses_tokens_is_slowed(door):
    statuses = [(await door.send(b"{}", client=f"guess-{n}"))[0] for n in range(7)]
    assert statuses == [401] * 5 + [429] * 2


async def stalled(door: Door, body: bytes, client: str = "shop") -> asyncio.Event:
    """A request that has sent `body` and waits until the event is set; sent when it returns."""
    go_on, started = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield body
        started.set()
        await go_on.wait()

    door.sending.append(asyncio.create_task(door.send(slow(), client=client)))
    await started.wait()
    return go_on


async def until_held(door: Door, held: int) -> None:
    await until(lambda: metric(door.metrics, "gapwatch_ingest_bytes") >= held)


async def test_more_than_there_is_room_for_is_told_to_wait(embedded):
    event = lines(an_event())
    async with open_door(embedded.kafka_settings(), max_in_flight_bytes=1024) as door:
        go_on = await stalled(door, event + b"\n" + b" " * 800)
        await until_held(door, 800)
        status, told = await door.send(event, client="desk")
        assert (status, told["Retry-After"]) == (503, "1")
        go_on.set()
        assert await door.sending[0] == (202, {"accepted": 1, "rejected": 0})
        assert (await door.send(event, client="desk"))[0] == 202


async def test_a_sender_cannot_have_all_turns(door):
    waiting = [await stalled(door, lines(an_event(n)) + b"\n") for n in range(AT_ONCE)]
    await until_held(door, AT_ONCE * len(lines(an_event(1))))
    status, told = await door.send(lines(an_event(99)))
    assert (status, told["Retry-After"]) == (429, "1")
    assert (await door.send(lines(an_event(99)), client="desk"))[0] == 202
    for go_on in waiting:
        go_on.set()
    assert [status for status, _ in await asyncio.gather(*door.sending)] == [202] * AT_ONCE
    assert (await door.send(lines(an_event(99))))[0] == 202


async def test_a_body_that_does_not_come_is_not_waited_for(embedded):
    async with open_door(embedded.kafka_settings(), timeout=0.2) as door:
        await stalled(door, b"{")
        assert (await door.sending[0])[0] == 408


async def test_what_the_brokers_do_not_confirm_is_to_be_sent_again():
    async with EmbeddedBroker() as broker, open_door(broker.kafka_settings(), timeout=1.0) as door:
        assert (await door.send(lines(an_event(1))))[0] == 202
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            status, told = await door.send(lines(an_event(2)))
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        assert (status, told["Retry-After"]) == (503, "5")
        assert "0 events" in told["words"]
        assert metric(door.metrics, "gapwatch_ingest_bytes") == 0
        assert (await door.send(lines(an_event(2))))[0] == 202


async def test_before_and_after_its_time_nothing_is_taken(door):
    await door.ingest.close()
    assert (await door.send(lines(an_event())))[0] == 503
    door.ingest.open()
    assert (await door.send(lines(an_event())))[0] == 202


async def test_authors_to_be_forgotten_do_not_even_enter_the_log(embedded):
    erasures = Erasures()
    erasures.hear(Erasure(author_hash("shop", "u1"), datetime.now(UTC), "ann"))
    async with open_door(embedded.kafka_settings(), Privacy(erasures)) as door:
        other = an_event(2, actor={"id": "u2"})
        rejected = {**an_event(3), "published": "yesterday"}
        status, told = await door.send(lines(an_event(1), other, rejected))
        assert (status, told["accepted"], told["erased"], told["rejected"]) == (202, 1, 1, 1)
        assert await door.events() == [other]
        ((key, letter),) = await read_topic(door.settings, "rejected", Rejected)
        assert (key, letter.event, letter.event_base64) == (None, None, None)


def test_without_a_token_there_is_nothing_to_send_to() -> None:
    settings = Settings()
    ingest = Ingest(
        settings,
        producer=Producer({}, idempotent=False),
        metrics=Metrics(),
        privacy=Privacy(),
    )
    assert list(ingest.routes()) == []
    assert ingest.paths == frozenset()
