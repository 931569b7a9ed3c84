"""Events over HTTP: `POST /api/events`, for who has no Kafka client at hand.

The body is NDJSON, a JSON array or one event, plain or gzipped. An answer of 202 means that the
brokers have confirmed every event it counts as accepted. What fails half-way may be sent again as
it is: an id counts once within 24 hours.

What cannot be used is told to whoever sent it, with its place and the reason, and is kept whole in
the rejected topic as an event from anywhere is. It does not enter the events topic: a sender that
is out of order shall not stop the workers (`intake.max_reject_share`). Only what is over the size
limit is not kept.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Final, Literal

import msgspec
from aiohttp import web

from pipeline.domain.intake import RefusedError, dead_letter, read_event
from pipeline.domain.privacy import Privacy
from pipeline.metrics import Metrics
from pipeline.producer import ProduceError, Producer, partition_of
from pipeline.records import RejectReason
from pipeline.settings import Settings
from pipeline.sources.files import SourceRecord, read_events, record_of
from pipeline.topics import partitions_of
from pipeline.web.access import Tokens

PATH: Final = "/api/events"

AT_ONCE: Final = 16
"""Requests of one sender in work at a time."""

PART: Final = 500
"""Events read and sent together; between two parts others have their turn."""

ERRORS_TOLD: Final = 100

_PIECE: Final = 64 * 1024
"""Bytes uncompressed at a time: what is too much is noticed before it is there."""

_CLOSE_SECONDS: Final = 5.0

_LINES: Final = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
_JSON: Final = "application/json"

_encode: Final = msgspec.json.Encoder().encode


class Fault(msgspec.Struct, frozen=True):
    """An event that cannot be used.

    Attributes:
        place: Its line, or its place in the array, from 1.
    """

    place: int
    reason: RejectReason
    detail: str


class Receipt(msgspec.Struct, omit_defaults=True):
    """What became of the events of a request.

    Attributes:
        accepted: Confirmed by the brokers; repeats too, which count once.
        rejected: Cannot be used.
        erased: Left out: their authors are to be forgotten.
        errors: Why, for the first so many of those rejected.
        errors_left_out: How many more there are.
    """

    accepted: int
    rejected: int
    erased: int = 0
    errors: list[Fault] = msgspec.field(default_factory=list)
    errors_left_out: int = 0

    def reject(self, place: int, refused: RefusedError) -> None:
        """Note an event that cannot be used."""
        self.rejected += 1
        if len(self.errors) < ERRORS_TOLD:
            self.errors.append(Fault(place, refused.reason, refused.detail))
        else:
            self.errors_left_out += 1


@dataclass(frozen=True, slots=True)
class _Came:
    """An event as a record that is in no log (`streaming.Record`)."""

    offset: int
    timestamp: int
    key: bytes
    value: bytes


class Ingest:
    """Takes events over HTTP; off where the settings have no token for it.

    Args:
        producer: What the worker sends with; used between `open` and `close`.
        wall: Epoch seconds.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        producer: Producer,
        metrics: Metrics,
        privacy: Privacy,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """As above.

        Raises:
            SettingsError: A token cannot be used.
        """
        self._limits = settings.ingest
        self._intake = settings.intake
        self._producer = producer
        self._metrics = metrics
        self._privacy = privacy
        self._wall = wall
        self._events = settings.topic("events")
        self._rejected = settings.topic("rejected")
        self._partitions = {
            self._events: partitions_of(settings, "events"),
            self._rejected: partitions_of(settings, "rejected"),
        }
        secrets = settings.ingest.secrets()
        self._tokens = Tokens(secrets)
        self._off = not secrets
        self._is_open = False
        self._bytes = 0
        self._busy: Counter[str] = Counter()
        self._idle = asyncio.Event()
        self._idle.set()
        for client in secrets:
            for outcome in ("accepted", "rejected"):
                metrics.ingest_events.labels(client, outcome)
            metrics.ingest_requests.labels(client, "202")

    @property
    def paths(self) -> frozenset[str]:
        """What it answers at, with tokens of its own."""
        return frozenset() if self._off else frozenset({PATH})

    def routes(self) -> Iterator[web.RouteDef]:
        """What is to be served."""
        for path in self.paths:
            yield web.post(path, self.handle)

    def open(self) -> None:
        """Take events from now on: the producer is connected."""
        self._is_open = True

    async def close(self) -> None:
        """Take no more events, and let those in work be confirmed."""
        self._is_open = False
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), _CLOSE_SECONDS)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request."""
        client, code, started = "unknown", 500, time.perf_counter()
        try:
            client = self._tokens.bearer(request)
            with self._turn(client):
                receipt = await self._take(client, request)
            # Nothing was of use: a sender that looks at the status alone should know.
            code = 422 if receipt.rejected and not receipt.accepted else 202
        except web.HTTPException as error:
            code = error.status
            raise
        except ConnectionError:
            code = 499  # as nginx has it: the sender hung up
            raise
        finally:
            self._metrics.ingest_requests.labels(client, str(code)).inc()
            self._metrics.ingest_seconds.labels(client).observe(time.perf_counter() - started)
        return web.Response(
            body=_encode(receipt),
            status=code,
            content_type=_JSON,
            headers={"Cache-Control": "no-store"},
        )

    @contextmanager
    def _turn(self, client: str) -> Iterator[None]:
        """Hold one of the sender's turns.

        Raises:
            HTTPServiceUnavailable: The worker starts or stops.
            HTTPTooManyRequests: All turns are taken.
        """
        if not self._is_open:
            raise _unavailable("This worker is starting or stopping.", 2)
        if self._busy[client] >= AT_ONCE:
            raise web.HTTPTooManyRequests(
                text=f"{AT_ONCE} of your requests are in work; send again when one is answered.",
                headers={"Retry-After": "1"},
            )
        self._busy[client] += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._busy[client] -= 1
            if not self._busy.total():
                self._idle.set()

    async def _take(self, client: str, request: web.Request) -> Receipt:
        form = _form(request)
        gzipped = _is_gzipped(request)
        with self._room() as hold:
            try:
                async with asyncio.timeout(self._limits.timeout):
                    body = await self._read(request, gzipped, hold)
            except TimeoutError:
                raise web.HTTPRequestTimeout(
                    text=f"The body took over {self._limits.timeout:g} s (ingest.timeout)."
                ) from None
            receipt = Receipt(0, 0)
            records = _records(body, form)
            try:
                async with asyncio.timeout(self._limits.timeout):
                    while part := list(islice(records, PART)):
                        await self._send(client, part, receipt)
            except (ProduceError, TimeoutError):
                raise _unavailable(
                    f"The brokers have confirmed {receipt.accepted} events and not the others. "
                    "Send all of them again: an id counts once.",
                    5,
                ) from None
        if not receipt.accepted and not receipt.rejected and not receipt.erased:
            raise web.HTTPBadRequest(text="There is no event in the body.")
        return receipt

    @contextmanager
    def _room(self) -> Iterator[Callable[[int], None]]:
        """Give what counts bytes as held until the end.

        What it gives raises HTTPServiceUnavailable where all requests together would hold too many.
        """
        held = 0

        def hold(more: int) -> None:
            nonlocal held
            if self._bytes + more > self._limits.max_in_flight_bytes:
                raise _unavailable("Too much is in work at this worker.", 1)
            held += more
            self._bytes += more
            self._metrics.ingest_bytes.set(self._bytes)

        try:
            yield hold
        finally:
            self._bytes -= held
            self._metrics.ingest_bytes.set(self._bytes)

    async def _read(
        self, request: web.Request, gzipped: bool, hold: Callable[[int], None]
    ) -> bytearray:
        """The body, uncompressed.

        Raises:
            HTTPRequestEntityTooLarge: It is larger than settings allow.
            HTTPBadRequest: It is no gzip, though it says so.
        """
        most = self._limits.max_body_bytes
        if (request.content_length or 0) > most:
            raise web.HTTPRequestEntityTooLarge(most, request.content_length or 0)
        body, came = bytearray(), 0
        pieces = request.content.iter_any()
        async for piece, raw in _inflated(pieces) if gzipped else _plain(pieces):
            came += raw
            if len(body) + len(piece) > most or came > most:
                raise web.HTTPRequestEntityTooLarge(most, max(came, len(body) + len(piece)))
            hold(len(piece))
            body += piece
        return body

    async def _send(self, client: str, part: list[SourceRecord], receipt: Receipt) -> None:
        """Sort some events, and send them where they belong; returns when that is confirmed."""
        now, good, erased = self._wall(), 0, 0
        reasons: Counter[RejectReason] = Counter()
        sent: dict[tuple[str, int], list[tuple[bytes | None, bytes | None]]] = defaultdict(list)

        def place(topic: str, key: bytes) -> tuple[str, int]:
            return topic, partition_of(key, self._partitions[topic])

        for record in part:
            try:
                event = read_event(
                    record.value,
                    now=now,
                    max_ahead=self._intake.max_ahead,
                    max_bytes=self._intake.max_event_bytes,
                )
            except RefusedError as refused:
                receipt.reject(record.line, refused)
                reasons[refused.reason] += 1
                if refused.reason != "too_large":
                    came = _Came(record.line, int(now * 1000), record.key, record.value)
                    letter = dead_letter(refused, came, f"http:{client}", -1)
                    key, letter = self._privacy.keep_letter(record.key, letter)
                    sent[place(self._rejected, record.key)].append((key, _encode(letter)))
                continue
            if self._privacy.is_erased(event):
                erased += 1
            else:
                good += 1
                sent[place(self._events, record.key)].append((record.key, record.value))
        await asyncio.gather(
            *(
                self._producer.send(topic, partition, records)
                for (topic, partition), records in sent.items()
            )
        )
        receipt.accepted += good
        receipt.erased += erased
        metrics = self._metrics
        metrics.erased.inc(erased)
        for reason, count in reasons.items():
            metrics.rejected.labels(reason).inc(count)
        for outcome, count in (
            ("accepted", good),
            ("rejected", reasons.total()),
            ("erased", erased),
        ):
            metrics.ingest_events.labels(client, outcome).inc(count)


def _form(request: web.Request) -> Literal["lines", "json"]:
    if request.content_type in _LINES:
        return "lines"
    if request.content_type == _JSON:
        return "json"
    raise web.HTTPUnsupportedMediaType(
        text="Send application/x-ndjson (an event a line) or application/json (an event, or an "
        "array of events).",
        headers={"Accept": f"application/x-ndjson, {_JSON}"},
    )


def _is_gzipped(request: web.Request) -> bool:
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip", "x-gzip"):
        raise web.HTTPUnsupportedMediaType(
            text="Send the body as it is, or with gzip.", headers={"Accept-Encoding": "gzip"}
        )
    return coding != "identity"


def _records(body: bytearray, form: Literal["lines", "json"]) -> Iterator[SourceRecord]:
    """The events of a body, legible or not.

    Raises:
        HTTPBadRequest: An array is no JSON: nobody can say where its events begin.
    """
    if form == "lines":
        return read_events(BytesIO(body), name="-", format="jsonl")
    value = bytes(body).strip()
    if not value.startswith(b"["):
        return iter([record_of(value, 1)] if value else [])
    try:
        parts = msgspec.json.decode(value, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise web.HTTPBadRequest(text=f"The array is not JSON: {error}") from None
    return (record_of(bytes(part), place) for place, part in enumerate(parts, start=1))


async def _plain(pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, int]]:
    """Pieces of a body, each with the bytes it came as."""
    async for piece in pieces:
        yield piece, len(piece)


async def _inflated(pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, int]]:
    """Pieces of a gzipped body uncompressed, each of bounded size."""
    inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        async for piece in pieces:
            came, rest = len(piece), piece
            while out := inflate.decompress(rest, _PIECE):
                yield out, came
                came, rest = 0, inflate.unconsumed_tail
            yield b"", came
    except zlib.error:
        raise web.HTTPBadRequest(text="The body is not gzip.") from None
    if not inflate.eof or inflate.unused_data:
        raise web.HTTPBadRequest(text="The body is not one gzip, whole and with nothing after it.")


def _unavailable(words: str, seconds: int) -> web.HTTPServiceUnavailable:
    return web.HTTPServiceUnavailable(text=words, headers={"Retry-After": str(seconds)})
