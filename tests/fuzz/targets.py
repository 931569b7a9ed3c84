"""What is fuzzed: everything that reads what others write.

A target takes bytes and raises only where the product is at fault. The bytes are what stands in the
corpus, so a finding is replayed whatever generates inputs by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from models.labels import HEADS
from models.normalise import MAX_CHARACTERS, normalise
from pipeline.agents.classify import Classify
from pipeline.agents.detect import Detect
from pipeline.agents.score import Scores, Voices
from pipeline.domain.alerts import State, decode_state, latest
from pipeline.domain.brands import BrandMatcher
from pipeline.domain.buckets import Bucket, further
from pipeline.domain.deliveries import Delivery, merged
from pipeline.domain.history import History
from pipeline.domain.intake import RefusedError, dead_letter, read_event
from pipeline.domain.likeness import likeness, shingles
from pipeline.domain.repeats import Block, Repeats, fuller
from pipeline.domain.silences import Orders
from pipeline.domain.terms import terms_of
from pipeline.domain.text import fold
from pipeline.following import NO_RECORD, taker
from pipeline.metrics import Metrics
from pipeline.receivers import (
    Notice,
    alertmanager,
    discord,
    pagerduty,
    receiver_from,
    slack,
    telegram,
)
from pipeline.receivers.curve import picture
from pipeline.receivers.email import compose
from pipeline.receivers.http import LONGEST_RETRY_AFTER, Answer
from pipeline.receivers.settings import (
    DiscordReceiver,
    MattermostReceiver,
    SlackReceiver,
    TelegramReceiver,
)
from pipeline.receivers.story import story_of
from pipeline.receivers.text import clean, link_to
from pipeline.receivers.webhook import message as webhook_message
from pipeline.records import RECORDS, Actor, Alert, Event, Score
from pipeline.settings import BrandSettings, Settings, SettingsError, load_settings
from pipeline.sources.files import SourceError, read_events
from pipeline.topics import topic_specs
from pipeline.web.view import LiveView
from tests.builders import (
    NOON,
    ARecord,
    MemoryProducer,
    MemoryTable,
    a_chunk,
    an_alert,
    some_labels,
)
from tests.fuzz.shapes import JUNK, TEXTS, TIMES, documents, encoded
from tests.unit.receivers.hostile import LINKS
from tests.unit.receivers.test_channels import CHANNELS, check

NOW: Final = NOON.timestamp()
MAX_BYTES: Final = 512 * 1024

SLOW: Final = 5.0
"""Seconds of processor time that nothing may take; what an author can make slow, he can stop."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something that reads hostile bytes, and bytes that get past its first checks."""

    run: Callable[[bytes], None]
    inputs: st.SearchStrategy[bytes]


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """What is done within may not take long."""
    began = time.process_time()
    yield
    spent = time.process_time() - began
    assert spent < SLOW, f"took {spent:.1f} s of processor time"


def event(raw: bytes) -> None:
    """An event is read, or refused with a reason; a dead letter holds it whole."""
    with quick():
        try:
            read = read_event(raw, now=NOW, max_ahead=300, max_bytes=MAX_BYTES)
        except RefusedError as refused:
            letter = dead_letter(refused, ARecord(7, raw, timestamp=-(2**62)), "t", 0)
            back = msgspec.json.decode(msgspec.json.encode(letter), type=type(letter))
            assert back == letter
            kept = back.event.encode() if back.event is not None else None
            assert kept == raw or back.event_base64
            return
    again = msgspec.json.encode(read)
    assert msgspec.json.decode(again, type=Event) == read
    (hash(read.author), read.activity)


def file(raw: bytes) -> None:
    """A file is read, record by record, or refused."""
    for format_ in ("auto", "jsonl", "csv"):
        with quick(), contextlib.suppress(SourceError):
            for record in read_events(io.BytesIO(raw), name="-", format=format_):  # type: ignore[arg-type]
                assert record.key


def brands(raw: bytes) -> None:
    """Brands are refused when they are set, or found in any text."""
    try:
        given = json.loads(raw)
        listed = [BrandSettings(**each) for each in given["brands"]]
        texts = [given["text"], given["object"], given["author"]]
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError):
        return
    if not all(isinstance(text, str) for text in texts):
        return
    with quick():
        try:
            matcher = BrandMatcher(listed)
        except ValueError:
            return
        text, thing, author = texts
        found = matcher.match(
            Event("1", "s", NOON, text=text, object=thing, actor=Actor(id=author, name=author))
        )
    assert set(found) <= {brand.key for brand in listed}


def settings(raw: bytes) -> None:
    """Settings are loaded, or refused in words that hold no secret."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gapwatch.toml"
        path.write_bytes(raw)
        with quick():
            try:
                loaded = load_settings(path)
            except SettingsError as error:
                assert SECRET not in str(error), str(error)
                return
            assert SECRET not in repr(loaded)
            topic_specs(loaded)
            with contextlib.suppress(ValueError):
                BrandMatcher(loaded.brands)
            for receiver in loaded.receivers:
                with contextlib.suppress(ValueError, OSError):
                    receiver.check()
                assert receiver.opens(NOW) >= NOW


_STATES: Final[tuple[tuple[Callable[[bytes], Any], Callable[[Any, Any], Any]], ...]] = (
    (msgspec.json.Decoder(Block).decode, fuller),
    (msgspec.json.Decoder(Bucket).decode, further),
    (decode_state, latest),
    (msgspec.json.Decoder(Delivery).decode, merged),
)


def state(raw: bytes) -> None:
    """State is decoded and merged, or is none; what is written is read back the same."""
    for decode, merge in _STATES:
        with quick():
            try:
                value = decode(raw)
            except NO_RECORD:
                continue
            again = decode(msgspec.json.encode(value))
            assert again == value
            both = merge(value, again)
            assert merge(both, value) == both
            if isinstance(value, Block):
                Repeats(1000, {b"7": value}).forget(NOW)


def followed(raw: bytes) -> None:
    """A record of any topic is taken by those who follow it, or is none."""
    view, orders, voices = LiveView(), Orders(), Voices()

    def take_score(score: Score) -> None:
        view.on_score(score)
        voices.hear(score)

    takes: dict[str, Callable[[Any], None]] = {
        "mentions": view.on_mention,
        "alerts": view.on_alert,
        "scores": take_score,
        "silences": orders.hear_silence,
        "acknowledgements": orders.hear_acknowledgement,
    }
    for topic, take in takes.items():
        with quick(), contextlib.suppress(*NO_RECORD):
            taker(RECORDS[topic], take)(raw)


_TOLD: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"told": True, "quiet": True},
    {"told": True, "silence": "begun"},
    {"sample": True},
)


def alert(raw: bytes) -> None:
    """An alert is shown in every channel, and nothing of it comes alive."""
    try:
        decoded = msgspec.json.decode(raw, type=Alert)
    except NO_RECORD:
        return
    show(decoded)


def show(shown: Alert) -> None:
    """Have an alert shown in every channel, on every occasion."""
    with quick():
        story = story_of(Notice(shown, shown.notification), LINKS)
        for name, render in CHANNELS.items():
            if name != "pagerduty" or shown.status != "resolved":  # which is told without words
                check(render(story))
    image = picture(shown.curve) if shown.curve else None
    for occasion in _TOLD:
        notice = Notice(shown, shown.notification, **occasion)
        told = story_of(notice, LINKS)
        payloads = [
            slack.news(told),
            discord.news(told),
            telegram.news(told),
            pagerduty.event_of(notice, told),
            alertmanager.alert_of(notice, told, alertmanager.labels_of(notice, {})),
            webhook_message(notice, told.links),
        ]
        for payload in payloads:
            json.loads(msgspec.json.encode(payload))
        mail = compose(notice, told, image, sender="a@gapwatch.example", to=("b@x.example",))
        assert mail.as_bytes().isascii()
        assert mail["To"] == "b@x.example"
        assert mail["Bcc"] is None


_BOTS: Final = (
    SlackReceiver(name="a", kind="slack", token=SecretStr("xoxb-1"), channel="C0123456789"),
    TelegramReceiver(name="b", kind="telegram", token=SecretStr("1:a"), chat="-100"),
    DiscordReceiver(
        name="c", kind="discord", url=SecretStr("https://discord.example/api/webhooks/1/a")
    ),
    MattermostReceiver(name="d", kind="mattermost", url=SecretStr("https://m.example/hooks/a")),
)
"""Those whose answers are read."""


def answer(raw: bytes) -> None:
    """Whatever a receiver answers, to the first message and to the next, is an outcome."""
    status, _, rest = raw.partition(b"\n")
    header, _, body = rest.partition(b"\n")
    code = int(status) if len(status) == 3 and status.isdigit() else 503
    given = Answer(code, {"Retry-After": header.decode("latin-1")}, body, "https://x.example/T0")
    with quick():
        asyncio.run(_answered(given))


async def _answered(answer: Answer) -> None:
    async def call(*_args: object, **_options: object) -> Answer:
        return answer

    handle = None
    for settings in _BOTS:
        receiver: Any = receiver_from(settings, LINKS)
        receiver._http.call = call
        try:
            for _ in range(2):
                outcome = await receiver.send(Notice(an_alert(), "n1", handle=handle))
                wait, handle = outcome.retry_after, outcome.handle
                assert wait is None or 0 <= wait <= LONGEST_RETRY_AFTER
                msgspec.json.encode(outcome.detail)
        finally:
            await receiver.close()
            handle = None


def text(raw: bytes) -> None:
    """Text of any kind is cleaned, folded and compared within bounds."""
    try:
        given = raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        given = raw.decode("utf-8", "replace")
    with quick():
        normal = normalise(given)
        assert len(normal) <= MAX_CHARACTERS
        normal.encode()
        folded = fold(given)
        assert fold(folded) == folded
        terms = terms_of(given)
        assert len(terms) == len(set(terms))
        mine = shingles(given)
        assert likeness(mine, shingles(folded)) <= likeness(mine, mine) == 1.0
        for limit in (1, 40, 500):
            assert len(clean(given, limit)) <= limit
        link = link_to(given)
        assert link is None or link_to(link.url) == link


class _Angry:
    """A classifier that hears of falling short in all that is said."""

    version = "fuzz"

    def classify(self, texts: list[str]) -> list[Any]:
        names = [name for name in HEADS["touchpoint"] if name != "none"]
        return [
            some_labels(gap="negative", touchpoint=names[len(each) % len(names)]) for each in texts
        ]


_THREAD: Final = ThreadPoolExecutor(1)
_FLOW: Final = Settings(
    alerts={"min_mentions": 1, "min_share": 0.0, "kinds": ("gap", "delight", "score", "rival")},  # type: ignore[arg-type]
    brands=(  # type: ignore[arg-type]
        {"key": "north", "name": "North", "rivals": ("south",)},
        {"key": "south", "name": "South"},
    ),
)


def flow(raw: bytes) -> None:
    """Events, one a line, go all the way: to mentions, scores and alerts that can be shown."""
    with quick():
        asyncio.run(_flow(raw.split(b"\n")[:200]))


async def _flow(lines: list[bytes]) -> None:
    producer = MemoryProducer()
    metrics = Metrics()
    common: dict[str, Any] = {"producer": producer, "metrics": metrics, "partitions": 1}
    # Whoever sends only what cannot be processed is found out, as he should be.
    calm = _FLOW.model_copy(
        update={"intake": _FLOW.intake.model_copy(update={"max_reject_share": 1.0})}
    )
    classify = Classify(calm, classifier=_Angry(), executor=_THREAD, **common)  # type: ignore[arg-type]
    classify.table = MemoryTable(Block)  # type: ignore[assignment]
    scores = Scores(calm, voices=Voices(), history=History(), history_known=lambda: True, **common)
    scores.table = MemoryTable(Bucket)  # type: ignore[assignment]

    async def ready() -> bool:
        return True

    detect = Detect(calm, orders=Orders(), ready=ready, **common)
    detect.table = MemoryTable(State)  # type: ignore[assignment, arg-type]
    if not lines:
        return
    await classify.handle(a_chunk(lines))
    said = [value for topic, _, _, value in producer.sent if topic == calm.topic("mentions")]
    if said:
        for agent in (scores, detect):
            await agent.handle(a_chunk(said))
        await scores.publish()
        await detect.settle()
    for score in producer.to(calm.topic("scores"), Score):
        assert score.score is None or -100 <= score.score <= 100
    for each in producer.to(calm.topic("alerts"), Alert)[:3]:
        show(each)


SECRET: Final = "hunter2-very-secret"


def _toml(tables: dict[str, Any]) -> bytes:
    """TOML of tables of values; JSON's notation is TOML's for what is used here."""
    lines = []
    for name, table in tables.items():
        for each in table if isinstance(table, list) else [table]:
            if isinstance(each, dict):
                lines.append(f"[[{name}]]" if isinstance(table, list) else f"[{name}]")
                lines += [f"{key} = {json.dumps(value)}" for key, value in each.items()]
    return "\n".join(lines).encode("utf-8", "replace")


_SETTING: Final = st.one_of(
    st.integers(-5, 10**6), st.floats(allow_nan=False, allow_infinity=False), st.booleans(),
    st.text(max_size=12), st.lists(st.text(max_size=8), max_size=2),
    st.sampled_from(["north", "mon-fri 08:00-18:00", "Europe/Berlin", "https://x.example/{brand}"]),
)  # fmt: skip
_NAMED: Final = {
    "url": st.sampled_from([f"https://x.example/{SECRET}", f"http://{SECRET}", f"[{SECRET}"]),
    "token": st.just(SECRET),
    "password": st.just(SECRET),
    "sasl_password": st.just(SECRET),
    "secrets": st.just([SECRET]),
    "routing_key": st.just(SECRET),
}


def _section(model: Any, **always: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    fields = {name: _NAMED.get(name, _SETTING) | _SETTING for name in model.model_fields}
    optional = {name: value for name, value in fields.items() if name not in always}
    return st.fixed_dictionaries(always, optional=optional)


def _settings_files() -> st.SearchStrategy[bytes]:
    from pipeline.settings import _RECEIVERS

    tables: dict[str, Any] = {
        name: _section(field.annotation)
        for name, field in Settings.model_fields.items()
        if hasattr(field.annotation, "model_fields")
    }
    brand = _section(BrandSettings, key=st.just("north"), name=st.text(max_size=9))
    receivers = [
        _section(model, kind=st.just(kind), name=st.sampled_from(["a", "b"]))
        for kind, model in _RECEIVERS.items()
    ]
    tables["brands"] = st.lists(brand, max_size=2)
    tables["receivers"] = st.lists(st.one_of(receivers), max_size=2)
    return st.fixed_dictionaries({}, optional=tables).map(_toml)


_WORDS: Final = st.lists(
    st.sampled_from(["North", "nörth", "@north", "#north", "北", "の", "'s", "-", ".", " ", "Face"])
    | st.text(max_size=4),
    max_size=12,
).map("".join)
_BRANDS: Final = st.fixed_dictionaries(
    {
        "brands": st.lists(
            st.fixed_dictionaries(
                {"key": st.sampled_from(["north", "south"]), "name": _WORDS},
                optional={
                    field: st.lists(_WORDS, max_size=3)
                    for field in ("aliases", "handles", "hashtags", "accounts", "required",
                                  "forbidden")
                },
            ),
            max_size=2,
        ),
        "text": _WORDS | TEXTS,
        "object": _WORDS,
        "author": _WORDS,
    }
)  # fmt: skip

_EVENTS: Final = documents(
    Event,
    source=st.just("test"),
    text=TEXTS.map(lambda words: f"North {words}"),
    published=st.integers(0, 7200).map(lambda s: datetime.fromtimestamp(NOW - s, UTC).isoformat())
    | TIMES,
)
_MOMENTS: Final = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)).map(
    lambda moment: moment.isoformat() + "Z"
)
_ALERTS: Final = documents(
    Alert,
    counted=True,
    # What the settings and the code give; all else others may have had a say in.
    id=st.just("north.delivery.20240304T1200Z"),
    notification=st.just("north.delivery.20240304T1200Z.firing"),
    brand=st.just("north"),
    touchpoint=st.sampled_from(["delivery", "all"]),
    team=st.sampled_from(["Operations", "none"]),
    **dict.fromkeys(("onset", "updated", "published", "start"), _MOMENTS),
)
_HEADERS: Final = st.one_of(
    st.text("0123456789.-+eE ", max_size=24),
    st.builds(
        "Mon, {} Jan {} {}:00:00 {}".format,
        st.integers(-1, 40), st.integers(0, 10**6), st.integers(0, 99),
        st.sampled_from(["GMT", "+0000", "-9999", "+99999999999999999999", ""]),
    ),
)  # fmt: skip
_ANSWERS: Final = st.builds(
    lambda *parts: b"\n".join(parts),
    st.sampled_from([b"200", b"204", b"302", b"400", b"404", b"410", b"429", b"503"]),
    _HEADERS.map(str.encode),
    st.one_of(
        st.binary(max_size=80),
        documents(telegram._Said),
        documents(discord._Said),
        documents(slack._Said),
        st.fixed_dictionaries({"ok": st.booleans(), "result": JUNK}).map(encoded),
    ),
)

TARGETS: Final[dict[str, Target]] = {
    "event": Target(event, documents(Event) | st.binary()),
    "file": Target(
        file,
        st.lists(
            st.sampled_from([b"id,text,published\n", b'"', b",", b"\n", b"\r", b"\xff", b"{}"])
            | st.binary(max_size=8)
            | documents(Event)
        ).map(b"".join),
    ),
    "brands": Target(brands, _BRANDS.map(encoded)),
    "settings": Target(settings, _settings_files() | st.text(max_size=60).map(str.encode)),
    "state": Target(
        state,
        st.one_of([documents(kind) for kind in (Block, Bucket, State, Delivery)]),
    ),
    "followed": Target(followed, st.one_of([documents(kind) for kind in RECORDS.values()])),
    "alert": Target(alert, _ALERTS),
    "answer": Target(answer, _ANSWERS),
    "text": Target(text, TEXTS.map(lambda t: t.encode("utf-8", "surrogatepass")) | st.binary()),
    "flow": Target(flow, st.lists(_EVENTS, max_size=12).map(b"\n".join)),
}
