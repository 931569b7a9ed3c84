"""The JSON API: what the pages show, and what people ask of alerts.

Every endpoint stands in `ENDPOINTS` with the types of what it takes and gives; the handlers, the
checks of what comes in and the OpenAPI document (`pipeline/web/openapi.py`) all follow from there.

What is asked of alerts is written to the topics that the command line writes to, and is answered
once the broker has confirmed it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from models.labels import TEAM_OF_TOUCHPOINT
from pipeline.domain.buckets import HOURS_KEPT
from pipeline.domain.history import Step
from pipeline.domain.silences import Orders, fits, in_force, new_silence_id, snooze_of
from pipeline.producer import ProduceError
from pipeline.receivers.links import LinkTemplates
from pipeline.records import Acknowledgement, Alert, Comment, Instant, Name, Score, Silence, Term
from pipeline.web.problems import ProblemError
from pipeline.web.view import RESOLVED_KEPT, LiveView, ShownBrand

Write = Callable[[str, str, Struct], Awaitable[None]]
"""Writes a record to a topic (without prefix) under a key; returns once it is confirmed."""

CONFIRM_SECONDS: Final = 15.0
"""How long a write may take: as long as somebody waits before pressing again."""

BODY_BYTES: Final = 16 * 1024

T = TypeVar("T")

Window = Literal["1h", "24h", "7d"]
Touchpoint = Literal["product", "delivery", "support", "warranty", "price", "marketing", "all"]
Team = Literal["Marketing", "Operations"]
Minutes = Annotated[int, Meta(ge=1, le=366 * 24 * 60, description="A year at most.")]


class HistoryQuery(Struct, frozen=True):
    """How much of a brand's history is wanted, how fine, and over which window its score."""

    hours: Annotated[int, Meta(ge=1, le=HOURS_KEPT)] = 168
    step: Annotated[int, Meta(ge=1, le=24, description="Hours a step.")] = 1
    window: Window = "24h"


class AlertsQuery(Struct, frozen=True):
    """Which alerts are wanted."""

    brand: str | None = None
    resolved: Annotated[
        int, Meta(ge=0, le=RESOLVED_KEPT, description="So many of the last resolved.")
    ] = 20


class History(Struct, frozen=True):
    """A brand's course over time.

    Attributes:
        brand: Its key.
        window: Window of the scores.
        step_hours: Hours a step.
        steps: Oldest first; the last one still runs.
        teams: The team that answers for each touchpoint.
        terms: What lately set its talk below expectation apart from its ordinary talk. The authors'
            words.
    """

    brand: str
    window: Window
    step_hours: int
    steps: list[Step]
    teams: dict[str, str]
    terms: tuple[Term, ...]


class Delivered(Struct, frozen=True, omit_defaults=True):
    """A notification to a receiver, and what became of it.

    Attributes:
        receiver: Its name in the settings.
        notification: Id of the notification.
        what: The change it tells: a status, `silenced.ID` or `unsilenced.ID`.
        state: `waiting` to be delivered, `delivered`, or `given_up`.
        at: Since when.
        detail: Why it still waits, or was given up.
    """

    receiver: str
    notification: str
    what: str
    state: Literal["waiting", "delivered", "given_up"]
    at: Instant
    detail: str = ""


class AlertLinks(Struct, frozen=True):
    """Where to read on, as the settings have it."""

    dashboard: str | None = None
    runbook: str | None = None


class AlertStory(Struct, frozen=True):
    """An alert with all that happened to it.

    Attributes:
        acknowledgement: Who has taken it on, if anyone has.
        silences: Those that keep it quiet, now or later.
        deliveries: What its receivers were told; remembered for a day after its end.
    """

    alert: Alert
    acknowledgement: Acknowledgement | None
    silences: list[Silence]
    deliveries: list[Delivered]
    links: AlertLinks


class Take(Struct, frozen=True, forbid_unknown_fields=True):
    """Who takes an alert on."""

    author: Name
    comment: Comment = ""


class Snooze(Struct, frozen=True, forbid_unknown_fields=True):
    """Who wants to hear nothing more of an alert, and for how long."""

    author: Name
    minutes: Minutes
    comment: Comment = ""


class NewSilence(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be silenced from now on: all that is given must fit an alert; one must be."""

    author: Name
    minutes: Minutes
    brand: str | None = None
    touchpoint: Touchpoint | None = None
    team: Team | None = None
    comment: Comment = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing the API does.

    Attributes:
        name: Of the method of `Api` that does it.
        summary: What it does, in a line.
        gives: Type of the answer's body.
        takes: Type of the request's body.
        query: Type of the query.
        status: Of an answer that is no problem.
        problems: Statuses of those that may be, and when.
    """

    method: Literal["GET", "POST"]
    path: str
    name: str
    summary: str
    gives: Any
    takes: type[Struct] | None = None
    query: type[Struct] | None = None
    status: int = 200
    problems: tuple[tuple[int, str], ...] = ()


_UNKNOWN_BRAND: Final = (404, "No such brand is shown here.")
_UNKNOWN_ALERT: Final = (404, "No such alert is open or was resolved lately.")
_UNKNOWN_SILENCE: Final = (404, "There is no such silence.")
_OVER: Final = (409, "It is over already.")
_UNUSABLE_QUERY: Final = (400, "The query cannot be used.")
_UNUSABLE_BODY: Final = (400, "The body cannot be used.")
_UNCONFIRMED: Final = (503, "Kafka did not confirm the write.")

ENDPOINTS: Final = (
    Endpoint("GET", "/api/brands", "brands", "The brands with their latest scores",
             list[ShownBrand]),
    Endpoint("GET", "/api/brands/{brand}", "brand", "A brand with its latest scores",
             ShownBrand, problems=(_UNKNOWN_BRAND,)),
    Endpoint("GET", "/api/brands/{brand}/history", "history",
             "A brand's score, stages and gaps over time, against what was expected",
             History, query=HistoryQuery, problems=(_UNUSABLE_QUERY, _UNKNOWN_BRAND)),
    Endpoint("GET", "/api/scores", "scores", "The latest score of every brand and window",
             list[Score]),
    Endpoint("GET", "/api/alerts", "alerts", "Open alerts, the worst first, then the last resolved",
             list[Alert], query=AlertsQuery, problems=(_UNUSABLE_QUERY,)),
    Endpoint("GET", "/api/alerts/{alert}", "alert", "An alert with all that happened to it",
             AlertStory, problems=(_UNKNOWN_ALERT,)),
    Endpoint("POST", "/api/alerts/{alert}/acknowledgement", "acknowledge", "Take an alert on",
             Acknowledgement, takes=Take, status=201,
             problems=(_UNUSABLE_BODY, _UNKNOWN_ALERT, _OVER, _UNCONFIRMED)),
    Endpoint("POST", "/api/alerts/{alert}/snooze", "snooze", "Keep one alert quiet for a while",
             Silence, takes=Snooze, status=201,
             problems=(_UNUSABLE_BODY, _UNKNOWN_ALERT, _OVER, _UNCONFIRMED)),
    Endpoint("GET", "/api/silences", "silences", "Silences in force, and those to come",
             list[Silence]),
    Endpoint("POST", "/api/silences", "silence", "Keep alerts of a kind quiet for a while",
             Silence, takes=NewSilence, status=201, problems=(_UNUSABLE_BODY, _UNCONFIRMED)),
    Endpoint("POST", "/api/silences/{silence}/end", "end_silence", "End a silence now",
             Silence, problems=(_UNKNOWN_SILENCE, _OVER, _UNCONFIRMED)),
)  # fmt: skip


class Api:
    """Answers the endpoints.

    Args:
        view: What is known.
        orders: Silences and acknowledgements; told at once of what is written here.
        write: Writes to the topics.
        links: Where alerts lead on to.
        wall: The time.
    """

    def __init__(
        self,
        view: LiveView,
        *,
        orders: Orders,
        write: Write,
        links: LinkTemplates | None = None,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._view = view
        self._orders = orders
        self._write = write
        self._links = links or LinkTemplates()
        self._wall = wall

    def routes(self) -> Iterator[web.RouteDef]:
        """The routes of all endpoints."""
        for endpoint in ENDPOINTS:
            add = web.get if endpoint.method == "GET" else web.post
            yield add(endpoint.path, self._handler(endpoint))

    def _handler(self, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.Response]]:
        act = getattr(self, endpoint.name)

        async def handle(request: web.Request) -> web.Response:
            given: list[Any] = list(request.match_info.values())
            if endpoint.query is not None:
                given.append(_query(request, endpoint.query))
            if endpoint.takes is not None:
                given.append(await _body(request, endpoint.takes))
            found = act(*given)
            if endpoint.method != "GET":
                found = await found
            body = msgspec.json.encode(found)
            return _answer(request, body, endpoint.status)

        return handle

    def brands(self) -> list[ShownBrand]:
        """All brands."""
        return self._view.brands()

    def brand(self, key: str) -> ShownBrand:
        """One brand."""
        found = self._view.brand(key)
        if found is None:
            known = ", ".join(brand.key for brand in self._view.brands()) or "none yet"
            raise ProblemError(
                404, "No such brand", f"No brand {key!r} is shown here; there are: {known}.",
                "path.brand",
            )  # fmt: skip
        return found

    def history(self, key: str, query: HistoryQuery) -> History:
        """A brand's course."""
        self.brand(key)
        history = self._view.history
        return History(
            brand=key,
            window=query.window,
            step_hours=query.step,
            steps=history.course(key, window=query.window, hours=query.hours, step=query.step),
            teams={name: team for name, team in TEAM_OF_TOUCHPOINT.items() if name != "none"},
            terms=history.terms(key),
        )

    def scores(self) -> list[Score]:
        """The latest scores."""
        return self._view.scores()

    def alerts(self, query: AlertsQuery) -> list[Alert]:
        """Alerts, of all brands or of one."""
        return self._view.alerts(brand=query.brand, resolved=query.resolved)

    def alert(self, identity: str) -> AlertStory:
        """One alert."""
        alert = self._known(identity)
        links = self._links.of(alert)
        silences = [silence for silence in self._orders.silences() if fits(silence, alert)]
        return AlertStory(
            alert=alert,
            acknowledgement=self._orders.acknowledgement_of(alert),
            silences=in_force(silences, self._now()),
            deliveries=self._deliveries(alert),
            links=AlertLinks(
                dashboard=links.dashboard.url if links.dashboard else None,
                runbook=links.runbook.url if links.runbook else None,
            ),
        )

    async def acknowledge(self, identity: str, take: Take) -> Acknowledgement:
        """Take an alert on."""
        alert = self._open(identity)
        taken = Acknowledgement(alert.id, take.author, self._wall(), take.comment)
        await self._confirmed("acknowledgements", alert.id, taken)
        self._orders.hear_acknowledgement(taken)
        return taken

    async def snooze(self, identity: str, snooze: Snooze) -> Silence:
        """Silence one alert."""
        alert = self._open(identity)
        length = timedelta(minutes=snooze.minutes)
        return await self._silence(
            snooze_of(alert, length, self._wall(), author=snooze.author, comment=snooze.comment)
        )

    def silences(self) -> list[Silence]:
        """Silences that hold now or will."""
        return in_force(self._orders.silences(), self._now())

    async def silence(self, new: NewSilence) -> Silence:
        """Silence a brand, a touchpoint or a team."""
        if not (new.brand or new.touchpoint or new.team):
            raise ProblemError(
                400, "Body cannot be used",
                "Say what to silence: a brand, a touchpoint or a team; of several, all must fit.",
                "body",
            )  # fmt: skip
        if new.brand is not None and self._view.brand(new.brand) is None:
            known = ", ".join(brand.key for brand in self._view.brands()) or "none yet"
            raise ProblemError(
                400, "Body cannot be used",
                f"No brand {new.brand!r} is shown here; there are: {known}.", "body.brand",
            )  # fmt: skip
        now = self._wall()
        return await self._silence(
            Silence(
                new_silence_id(),
                # Alerts of a backlog lag behind the clock; they are meant too.
                min(now, self._now()),
                now + timedelta(minutes=new.minutes),
                author=new.author,
                comment=new.comment,
                brand=new.brand,
                touchpoint=new.touchpoint,
                team=new.team,
            )
        )

    async def end_silence(self, identity: str) -> Silence:
        """End a silence."""
        silence, now = self._orders.silence(identity), self._now()
        if silence is None:
            raise ProblemError(
                404, "No such silence",
                f"There is no silence {identity!r}; /api/silences lists those in force.",
                "path.silence",
            )  # fmt: skip
        if silence.end <= now:
            raise ProblemError(
                409, "Over already",
                f"Silence {identity!r} ended at {silence.end:%Y-%m-%d %H:%M} UTC.", "path.silence",
            )  # fmt: skip
        return await self._silence(msgspec.structs.replace(silence, end=now))

    async def _silence(self, silence: Silence) -> Silence:
        await self._confirmed("silences", silence.id, silence)
        self._orders.hear_silence(silence)
        return silence

    async def _confirmed(self, topic: str, key: str, record: Struct) -> None:
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                await self._write(topic, key, record)
        except (ProduceError, TimeoutError) as error:
            reason = str(error) or f"no answer in {CONFIRM_SECONDS:.0f} s"
            raise ProblemError(
                503, "Not confirmed",
                f"Kafka did not confirm it ({reason}); it may have been written all the same. "
                "Look at the alert again before you repeat it.",
            ) from error  # fmt: skip

    def _now(self) -> datetime:
        """The time that silences go by: that of events, while a backlog is worked off."""
        clock = self._view.clock
        return min(clock, self._wall()) if clock is not None else self._wall()

    def _known(self, identity: str) -> Alert:
        alert = self._view.alert(identity)
        if alert is None:
            raise ProblemError(
                404, "No such alert",
                f"No alert {identity!r} is open or among the last {RESOLVED_KEPT} resolved; "
                "/api/alerts lists them.",
                "path.alert",
            )  # fmt: skip
        return alert

    def _open(self, identity: str) -> Alert:
        alert = self._known(identity)
        if alert.status == "resolved":
            raise ProblemError(
                409, "Over already",
                f"Alert {identity!r} was resolved at {alert.updated:%Y-%m-%d %H:%M} UTC: there is "
                "nothing to take on or to keep quiet.",
                "path.alert",
            )  # fmt: skip
        return alert

    def _deliveries(self, alert: Alert) -> list[Delivered]:
        delivery = self._view.delivery(alert.id)
        if delivery is None:
            return []

        def told(
            receiver: str, notification: str, at: float, state: Any, detail: str = ""
        ) -> Delivered:
            what = notification.removeprefix(f"{alert.id}.")
            when = datetime.fromtimestamp(at, UTC)
            return Delivered(receiver, notification, what, state, when, detail)

        return sorted(
            [
                *(told(d.receiver, d.notification, d.at, "delivered") for d in delivery.done),
                *(
                    told(o.receiver, o.notification, o.since, "waiting", o.trouble)
                    for o in delivery.owed
                    if not o.quiet
                ),
                *(
                    told(lost.receiver, lost.notification, lost.at, "given_up", lost.why)
                    for lost in delivery.lost
                ),
            ],
            key=lambda each: (each.at, each.receiver),
        )


def _query(request: web.Request, kind: type[T]) -> T:
    given = dict(request.query)
    known = {field.name for field in msgspec.structs.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(given.keys() - known):
        raise ProblemError(
            400, "Query cannot be used",
            f"{unknown[0]!r} is no parameter here; known are {', '.join(sorted(known))}.",
            f"query.{unknown[0]}",
        )  # fmt: skip
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _unusable("Query", error) from None


async def _body(request: web.Request, kind: type[T]) -> T:
    if request.content_type != "application/json":
        raise ProblemError(
            415, "Media type cannot be used",
            "Send the body as JSON, with the header Content-Type: application/json.",
            "header.content-type",
        )  # fmt: skip
    raw = await request.content.read(BODY_BYTES + 1)
    if len(raw) > BODY_BYTES:
        raise ProblemError(
            413, "Body too large", f"The body may have {BODY_BYTES:,} bytes; send less.", "body"
        )
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise _unusable("Body", error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProblemError(400, "Body cannot be used", f"It is no JSON: {error}.", "body") from None


def _unusable(part: str, error: msgspec.ValidationError) -> ProblemError:
    """What msgspec found (`Expected `int` >= 1 - at `$.hours``), as a problem."""
    said, _, place = str(error).partition(" - at `$")
    name = re.sub(r"`$", "", place)
    return ProblemError(400, f"{part} cannot be used", f"{said}.", f"{part.lower()}{name}")


def _answer(request: web.Request, body: bytes, status: int) -> web.Response:
    """The body; to whoever has it already only that it is so."""
    headers = {"Cache-Control": "no-cache", "Content-Type": "application/json"}
    if request.method in ("GET", "HEAD"):
        tag = sha256(body).hexdigest()[:16]
        headers["ETag"] = f'"{tag}"'
        if any(etag.value in (tag, "*") for etag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
    return web.Response(body=body, status=status, headers=headers)
