"""The HTTP side, asked over a real loopback connection."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from pipeline.settings import WebSettings
from pipeline.web import server as web
from pipeline.web.server import WebError, WebServer
from pipeline.web.view import LiveView
from tests.unit.web.conftest import api_of

PAGES = ["/", "/brands/larkfoot", "/alerts/larkfoot.delivery.20260302T1200Z", "/rivals"]

HOSTILE = "<img src=x onerror=alert(1)></script>\u202egnp.exe"


class Worker:
    """A served view whose health a test may change."""

    def __init__(self) -> None:
        self.view = LiveView()
        self.registry = CollectorRegistry()
        self.healthy = True
        self.server = self.serve(WebSettings(port=0))

    def serve(self, settings: WebSettings) -> WebServer:
        return WebServer(
            settings,
            self.view,
            self.registry,
            self.health,
            lambda: (True, {}),
            api_of(self.view),
        )

    def health(self) -> tuple[bool, dict[str, Any]]:
        return self.healthy, {} if self.healthy else {"reason": "120 events wait, none moves"}


@pytest.fixture
async def worker():
    worker = Worker()
    await worker.server.start()
    yield worker
    await worker.server.stop()


@pytest.fixture
async def client(worker):
    async with aiohttp.ClientSession(worker.server.url) as session:
        yield session


@pytest.mark.parametrize(
    "path",
    [
        *PAGES,
        "/static/live.js",
        "/static/style.css",
        "/api/state",
        "/api/brands",
        "/api/openapi.json",
        "/api/nowhere",
        "/metrics",
        "/healthz",
        "/nowhere",
    ],
)
async def test_every_answer_is_guarded(client, path):
    async with client.get(path) as answer:
        policy = answer.headers["Content-Security-Policy"]
        for part in (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ):
            assert part in policy.split("; ")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "aiohttp" not in answer.headers["Server"]


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_loads_only_what_the_worker_serves(client, path):
    async with client.get(path) as answer:
        page = await answer.text()
    assert answer.content_type == "text/html"
    assert "://" not in page
    assert "style=" not in page
    assert "<script>" not in page
    assert page.count("<main") == page.count("<h1") == 1
    asked = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert len(set(asked)) == 3
    while asked:
        async with client.get(asked.pop()) as answer:
            assert answer.status == 200
            if answer.content_type == "text/javascript":
                modules = re.findall(r'from "\./([^"]+)"', await answer.text())
                asked += [f"/static/{module}" for module in modules]


async def test_static_files_cannot_be_left(client):
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static/", "/static/x"):
        async with client.get(path) as answer:
            assert answer.status == 404


async def test_state_is_sent_once_until_it_changes(client, worker, make_score):
    async with client.get("/api/state") as answer:
        tag = answer.headers["ETag"]
        assert (await answer.json())["brands"] == []
    async with client.get("/api/state", headers={"If-None-Match": tag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    worker.view.on_score(make_score())
    async with client.get("/api/state", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 200
        assert (await answer.json())["brands"][0]["key"] == "larkfoot"


async def test_hostile_text_stays_data(client, worker, make_mention):
    worker.view.on_mention(make_mention(text=HOSTILE, url="javascript:alert(1)"))
    async with client.get("/api/state") as answer:
        assert answer.content_type == "application/json"
        assert (await answer.json())["mentions"][0]["text"] == HOSTILE


async def next_message(stream: aiohttp.ClientResponse) -> dict[str, Any]:
    async for line in stream.content:
        if line.startswith(b"data: "):
            return json.loads(line.removeprefix(b"data: "))
    raise AssertionError("the stream ended")


async def test_the_stream_sends_all_and_then_what_changes(client, worker, make_alert, monkeypatch):
    monkeypatch.setattr(web, "STREAM_EVERY", 0.01)
    async with client.get("/api/stream") as stream:
        assert stream.content_type == "text/event-stream"
        assert set(await next_message(stream)) >= {"status", "brands", "alerts", "mentions"}
        assert worker.view.watchers == 1
        worker.view.on_alert(make_alert())
        message = await next_message(stream)
        assert message["alerts"][0]["seen"] == 41
        assert "brands" not in message
    for _ in range(200):
        if worker.view.watchers == 0:
            break
        worker.view.on_status({"events": worker.view.revision})
        await asyncio.sleep(0.01)
    assert worker.view.watchers == 0


async def test_a_silent_stream_says_that_it_is_alive(client, monkeypatch):
    monkeypatch.setattr(web, "STREAM_EVERY", 0.01)
    monkeypatch.setattr(web, "HEARTBEAT_EVERY", 0.02)
    async with client.get("/api/stream") as stream:
        await next_message(stream)
        lines = [(await stream.content.readline()).strip() for _ in range(3)]
    assert lines == [b"", b": still here", b"event: beat"]


async def test_streams_end_when_the_worker_stops(client, worker):
    async with client.get("/api/stream") as stream:
        await next_message(stream)
        async with asyncio.timeout(2):
            await worker.server.stop()
            assert await stream.content.read() == b"\n"


async def test_watchers_are_limited(client, worker, monkeypatch):
    monkeypatch.setattr(web, "MAX_WATCHERS", 0)
    async with client.get("/api/stream") as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "30"


async def test_metrics_are_served_as_prometheus_reads_them(client, worker):
    Counter("seen", "Events seen.", registry=worker.registry).inc()
    async with client.get("/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert "seen_total 1.0" in await answer.text()


async def test_health_says_why_not(client, worker):
    async with client.get("/healthz") as answer:
        assert (answer.status, await answer.json()) == (200, {"ok": True})
    worker.healthy = False
    async with client.get("/healthz") as answer:
        assert answer.status == 503
        assert await answer.json() == {"ok": False, "reason": "120 events wait, none moves"}
    async with client.get("/readyz") as answer:
        assert answer.status == 200


@pytest.mark.parametrize("host", ["localhost", "localhost:8600", "127.0.0.1:1", "[::1]:8600"])
async def test_loopback_names_are_answered(client, host):
    async with client.get("/api/state", headers={"Host": host}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil.example", "[", ""],
)
async def test_other_names_for_a_loopback_address_are_refused(client, host):
    async with client.get("/api/state", headers={"Host": host}) as answer:
        assert answer.status == 421
        assert "localhost" in await answer.text()


async def test_bound_to_every_address_any_name_is_answered(worker):
    everywhere = worker.serve(WebSettings(host="0.0.0.0", port=0, open=True))
    await everywhere.start()
    async with (
        aiohttp.ClientSession(everywhere.url) as session,
        session.get("/healthz", headers={"Host": "gapwatch.example"}) as answer,
    ):
        assert answer.status == 200
    await everywhere.stop()


async def test_where_nothing_is_written_a_post_is_refused(client):
    for path in (*PAGES, "/api/state", "/api/alerts"):
        async with client.post(path) as answer:
            assert answer.status == 405
            assert answer.headers["Allow"] == "GET,HEAD"


async def test_a_stream_has_the_sections_asked_for(client, worker):
    async with client.get("/api/stream?sections=status,alerts") as stream:
        assert set(await next_message(stream)) == {"revision", "feed", "clock", "status", "alerts"}
        # Mentions are looked for only where somebody sees them.
        assert worker.view.watchers == 0


async def test_a_taken_port_says_what_to_set(worker):
    port = worker.server.port
    second = worker.serve(WebSettings(port=port))
    with pytest.raises(WebError) as told:
        await second.start()
    assert str(told.value) == (
        f"web.port {port} on 127.0.0.1 is taken by another program: set web.port "
        "(GAPWATCH_WEB__PORT) to another, or 0 for any free port"
    )


async def test_an_address_of_another_machine_says_what_to_set(worker):
    elsewhere = worker.serve(WebSettings(host="192.0.2.1", port=0, open=True))
    with pytest.raises(WebError, match=r"web\.host 192\.0\.2\.1 .*: set web\.host"):
        await elsewhere.start()
