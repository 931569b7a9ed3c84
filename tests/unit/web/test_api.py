"""The JSON API over a real connection: every answer is as the OpenAPI document says."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate
from prometheus_client import CollectorRegistry

from pipeline.domain.deliveries import Delivery, Done, Lost, Owed
from pipeline.domain.silences import Orders
from pipeline.producer import ProduceError
from pipeline.receivers.links import LinkTemplates
from pipeline.records import (
    Acknowledgement,
    Curve,
    Expectation,
    GapCount,
    Hour,
    Post,
    Silence,
    Term,
    Turn,
)
from pipeline.settings import WebSettings
from pipeline.web import api as web_api
from pipeline.web.server import WebServer
from pipeline.web.view import LiveView
from tests.unit.web.conftest import NOON, Written, api_of

DOCUMENTED = Path(__file__).parents[3] / "docs" / "reference" / "openapi.json"


class Client:
    """Asks the API and holds every answer against the document."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.document: dict[str, Any] = {}
        self.status = 0
        self.seen: set[tuple[str, str]] = set()

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The answer's JSON; its status is in `status`."""
        async with self._session.request(method, path, json=body, **options) as answer:
            self.status = answer.status
            text = await answer.text()
            media = answer.content_type
        if answer.status == 304:
            return None
        told = json.loads(text)
        operation = self._operation(method, path.partition("?")[0])
        responses = operation["responses"]
        content = responses.get(str(self.status), responses["default"])["content"]
        schema = content[media]["schema"] | {"components": self.document["components"]}
        problems = Draft202012Validator(schema, format_checker=FormatChecker()).iter_errors(told)
        assert [problem.message for problem in problems] == []
        return told

    def _operation(self, method: str, path: str) -> dict[str, Any]:
        for template, operations in self.document["paths"].items():
            pattern = re.sub(r"\{\w+\}", "[^/]+", template)
            if method.lower() in operations and re.fullmatch(pattern, path):
                self.seen.add((method, template))
                return operations[method.lower()]
        raise AssertionError(f"{method} {path} stands nowhere in the document")


@pytest.fixture
def view(make_score: Any, make_alert: Any) -> LiveView:
    """A brand with a past, an open alert with everything, and one that is over."""
    view = LiveView()
    rivals = {"larkfoot": {"name": "Larkfoot", "rivals": ["tern"]}, "tern": {"name": "Tern"}}
    view.on_status({"brands": rivals})
    for window in ("1h", "24h", "7d"):
        view.on_score(make_score(window=window))
    for ago in range(30):
        start = NOON - timedelta(hours=ago)
        gaps = {"delivery": GapCount(4, below=2, above=1)}
        view.on_history(Hour("larkfoot", start, 4, 4, 4, 2, 1, stages={"creation": 4}, gaps=gaps))
        terms = (Term("day nine", 4, 5.0),)
        view.on_history(Expectation("larkfoot", start, {"delivery": 0.5, "all": 0.7}, terms))
    view.on_alert(
        make_alert(
            posts=(Post("p1", "nell", "Day nine.", NOON, 12, "https://social.example/1", 3),),
            terms=(Term("day nine", 4, 5.0),),
            curve=Curve(NOON, 3, (1, 9), (0.2, 0.3)),
            turns=(Turn(NOON, "firing", 41, 5), Turn(NOON, "silenced", 41, 5, "limit")),
            touchpoints=("delivery", "support"),
            stages={"creation": 9},
            score_before=3.5,
            score_now=-3.0,
            silenced="limit",
        )
    )
    view.on_alert(make_alert(id="over", status="resolved", updated=NOON - timedelta(hours=1)))
    at = NOON.timestamp()
    view.on_delivery(
        Delivery(
            alert="a1",
            done=[Done("team", "a1.firing", at)],
            owed=[
                Owed("wall", make_alert(), at, "a1.escalated", trouble="answer 503"),
                Owed("wall", make_alert(), at, "a1.escalated.1", quiet=True),
            ],
            lost=[Lost("pager", "a1.firing", at + 60, "answer 410")],
        )
    )
    return view


@pytest.fixture
def orders() -> Orders:
    return Orders()


@pytest.fixture
async def client(view: LiveView, orders: Orders, written: Written) -> AsyncIterator[Client]:
    links = LinkTemplates(
        dashboard="https://g.example/{brand}", runbook="https://w.example/{team}/{touchpoint}"
    )
    api = api_of(view, orders=orders, write=written.write, links=links, wall=lambda: NOON)
    settings = WebSettings(port=0)
    server = WebServer(
        settings, view, CollectorRegistry(), lambda: (True, {}), lambda: (True, {}), api
    )
    await server.start()
    async with aiohttp.ClientSession(server.url) as session:
        client = Client(session)
        async with session.get("/api/openapi.json") as answer:
            client.document = await answer.json()
        yield client
    await server.stop()


async def test_the_document_is_openapi_and_the_one_in_the_docs(client: Client) -> None:
    validate(client.document)
    assert client.document["openapi"].startswith("3.1")
    assert json.loads(DOCUMENTED.read_text(encoding="utf-8")) == client.document


async def test_every_answer_is_as_the_document_says(client: Client) -> None:
    brands = await client.ask("GET", "/api/brands")
    assert [brand["key"] for brand in brands] == ["larkfoot", "tern"]
    brand = await client.ask("GET", "/api/brands/larkfoot")
    assert brand["rivals"] == [{"key": "tern", "name": "Tern"}]
    assert set(brand["scores"]) == {"1h", "24h", "7d"}
    assert len(await client.ask("GET", "/api/scores")) == 3
    alerts = await client.ask("GET", "/api/alerts")
    assert [alert["id"] for alert in alerts] == ["a1", "over"]
    assert await client.ask("GET", "/api/alerts?brand=tern") == []
    assert len(await client.ask("GET", "/api/alerts?resolved=0&brand=larkfoot")) == 1
    history = await client.ask("GET", "/api/brands/larkfoot/history?hours=24&step=6&window=7d")
    assert history["steps"][-1]["gaps"]["delivery"]["below"] == 2
    assert history["steps"][-2]["gaps"]["delivery"]["expected"] == 3.0
    assert history["teams"]["delivery"] == "Operations"
    assert history["terms"][0]["text"] == "day nine"
    assert (await client.ask("GET", "/api/brands/tern/history"))["steps"] == []

    said = {"author": "Bo", "comment": "on it"}
    await client.ask("POST", "/api/alerts/a1/acknowledgement", said)
    assert client.status == 201
    await client.ask("POST", "/api/alerts/a1/snooze", said | {"minutes": 60})
    silence = await client.ask("POST", "/api/silences", said | {"minutes": 60, "team": "Marketing"})
    assert len(await client.ask("GET", "/api/silences")) == 2
    await client.ask("POST", f"/api/silences/{silence['id']}/end")
    assert client.status == 200
    assert len(await client.ask("GET", "/api/silences")) == 1

    story = await client.ask("GET", "/api/alerts/a1")
    assert story["links"] == {
        "dashboard": "https://g.example/larkfoot",
        "runbook": "https://w.example/Operations/delivery",
    }
    assert story["acknowledgement"]["comment"] == "on it"
    assert [silence["alert"] for silence in story["silences"]] == ["a1"]
    assert [(told["receiver"], told["what"], told["state"]) for told in story["deliveries"]] == [
        ("team", "firing", "delivered"),
        ("wall", "escalated", "waiting"),
        ("pager", "firing", "given_up"),
    ]
    documented = {
        (method.upper(), path)
        for path, operations in client.document["paths"].items()
        for method in operations
        if path != "/api/events"
    }
    assert client.seen == documented


async def test_what_is_asked_for_is_written_where_the_command_line_writes(
    client: Client, written: Written, orders: Orders, view: LiveView
) -> None:
    said = {"author": "Bo", "comment": "on it"}
    await client.ask("POST", "/api/alerts/a1/acknowledgement", said)
    taken = Acknowledgement("a1", "Bo", NOON, "on it")
    assert written.pop() == ("acknowledgements", "a1", taken)
    alert = view.alert("a1")
    assert alert is not None
    assert orders.acknowledgement_of(alert) == taken

    await client.ask("POST", "/api/alerts/a1/snooze", said | {"minutes": 90})
    topic, key, snooze = written.pop()
    assert isinstance(snooze, Silence)
    assert (topic, key, snooze.alert) == ("silences", snooze.id, "a1")
    assert (snooze.start, snooze.end) == (alert.onset, NOON + timedelta(minutes=90))
    assert orders.silence_of(alert, NOON) == snooze

    what = {"brand": "larkfoot", "touchpoint": "delivery", "minutes": 60}
    await client.ask("POST", "/api/silences", said | what)
    _, _, silence = written.pop()
    assert isinstance(silence, Silence)
    assert (silence.brand, silence.touchpoint, silence.team) == ("larkfoot", "delivery", None)
    assert (silence.start, silence.end) == (NOON, NOON + timedelta(hours=1))
    await client.ask("POST", f"/api/silences/{silence.id}/end")
    _, _, ended = written.pop()
    assert isinstance(ended, Silence)
    assert ended.end == NOON


BY = {"author": "Bo"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "where", "words"),
    [
        ("GET", "/api/brands/nobody", None, 404, "path.brand", "there are: larkfoot, tern"),
        ("GET", "/api/brands/nobody/history", None, 404, "path.brand", "No brand 'nobody'"),
        ("GET", "/api/brands/tern/history?hours=0", None, 400, "query.hours", ">= 1"),
        ("GET", "/api/brands/tern/history?hours=x", None, 400, "query.hours", "int"),
        ("GET", "/api/brands/tern/history?window=2h", None, 400, "query.window", "2h"),
        ("GET", "/api/alerts?brands=tern", None, 400, "query.brands", "known are brand, resolved"),
        ("GET", "/api/alerts/nothing", None, 404, "path.alert", "/api/alerts lists them"),
        ("POST", "/api/alerts/nothing/acknowledgement", BY, 404, "path.alert", "No alert"),
        ("POST", "/api/alerts/over/acknowledgement", BY, 409, "path.alert", "was resolved at"),
        ("POST", "/api/alerts/a1/acknowledgement", {}, 400, "body", "author"),
        ("POST", "/api/alerts/a1/acknowledgement", {"author": ""}, 400, "body.author", ">= 1"),
        ("POST", "/api/alerts/a1/acknowledgement", [], 400, "body", "object"),
        ("POST", "/api/alerts/a1/acknowledgement", BY | {"x": 1}, 400, "body", "x"),
        ("POST", "/api/alerts/a1/snooze", BY | {"minutes": 0}, 400, "body.minutes", ">= 1"),
        ("POST", "/api/silences", BY | {"minutes": 5}, 400, "body", "Say what to silence"),
        ("POST", "/api/silences", BY | {"minutes": 5, "brand": "x"}, 400, "body.brand", "larkfoot"),
        ("POST", "/api/silences", BY | {"minutes": 5, "team": "x"}, 400, "body.team", "x"),
        ("POST", "/api/silences/nothing/end", None, 404, "path.silence", "/api/silences lists"),
    ],
)  # fmt: skip
async def test_a_problem_says_what_and_where_and_nothing_is_written(
    client: Client,
    written: Written,
    method: str,
    path: str,
    body: Any,
    status: int,
    where: str,
    words: str,
) -> None:
    told = await client.ask(method, path, body)
    assert (client.status, told["status"], told["where"]) == (status, status, where)
    assert words in told["detail"]
    assert written == []


async def test_what_is_no_json_is_refused(client: Client) -> None:
    path = "/api/alerts/a1/acknowledgement"
    json_type = {"Content-Type": "application/json"}
    told = await client.ask("POST", path, data=b"{", headers=json_type)
    assert (client.status, told["where"]) == (400, "body")
    told = await client.ask("POST", path, data=b"\xff", headers=json_type)
    assert (client.status, told["where"]) == (400, "body")
    told = await client.ask("POST", path, data={"author": "Bo"})
    assert (client.status, told["where"]) == (415, "header.content-type")
    told = await client.ask("POST", path, {"author": "Bo", "comment": "x" * 20_000})
    assert client.status == 413


async def test_what_kafka_does_not_confirm_is_told_so(
    client: Client, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.trouble = ProduceError("no leader")
    told = await client.ask("POST", "/api/alerts/a1/acknowledgement", BY)
    assert client.status == 503
    assert "Kafka did not confirm it (no leader)" in told["detail"]
    assert (await client.ask("GET", "/api/alerts/a1"))["acknowledgement"] is None


async def test_a_silence_that_is_over_cannot_be_ended(client: Client, orders: Orders) -> None:
    orders.hear_silence(Silence("s1", NOON - timedelta(hours=2), NOON, "Ann", brand="tern"))
    told = await client.ask("POST", "/api/silences/s1/end")
    assert client.status == 409
    assert "ended at 2026-03-02 12:00 UTC" in told["detail"]


async def test_another_sites_page_can_write_nothing(client: Client, written: Written) -> None:
    for header in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        await client.ask("POST", "/api/alerts/a1/acknowledgement", BY, headers=header)
        assert client.status == 403
    assert written == []


async def test_who_has_it_already_is_told_so(
    client: Client, view: LiveView, make_score: Any
) -> None:
    async with client._session.get("/api/brands") as answer:
        tag = {"If-None-Match": answer.headers["ETag"]}
    await client.ask("GET", "/api/brands", headers=tag)
    assert client.status == 304
    view.on_score(make_score(as_of=NOON + timedelta(minutes=1)))
    await client.ask("GET", "/api/brands", headers=tag)
    assert client.status == 200


def test_of_a_backlog_silences_begin_where_it_is(make_alert: Any) -> None:
    view = LiveView()
    view.on_alert(make_alert())
    late = datetime(2026, 3, 3, tzinfo=UTC)
    api = api_of(view, wall=lambda: late)
    assert api._now() == NOON
    assert web_api.Api(LiveView(), orders=Orders(), write=Written().write)._now() > late
