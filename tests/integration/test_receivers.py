"""Receivers against a server that misbehaves in every way a server can."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from pipeline.receivers import Outcome, Receiver, receiver_from
from pipeline.receivers.http import ANSWER_BYTES, LONGEST_RETRY_AFTER, retry_after
from pipeline.receivers.webhook import Webhook
from pipeline.records import Alert
from pipeline.settings import ReceiverSettings

NOW = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
SECRET = "T0SECRET-token"
ALERT = Alert(
    id="a1",
    notification="n1",
    brand="north-bikes",
    brand_name="North Bikes",
    touchpoint="delivery",
    team="Operations",
    status="firing",
    onset=NOW,
    updated=NOW,
    seen=47,
    expected=6.2,
    window_minutes=15,
    probability=1e-7,
    share=0.31,
    reach=52_300,
    peak=47,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Misbehaving:
    """A server on loopback that answers as it is told and remembers what it was sent."""

    def __init__(self) -> None:
        self.handler: Handler = answering(200)
        self.received: list[tuple[dict[str, str], Any]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.received.append(
            ({name.lower(): value for name, value in request.headers.items()}, await request.json())
        )
        return await self.handler(request)


def answering(status: int, body: str = "ok", **headers: str) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, text=body, headers=named)

    return answer


@pytest.fixture
async def server() -> AsyncIterator[Misbehaving]:
    misbehaving = Misbehaving()
    app = web.Application()
    app.router.add_post("/{tail:.*}", misbehaving.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    misbehaving.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook/{SECRET}"
    yield misbehaving
    await runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(params=["webhook", "slack"])
def receiver(
    request: pytest.FixtureRequest, server: Misbehaving, session: aiohttp.ClientSession
) -> Receiver:
    """Each kind of receiver in turn: what follows is true of all of them."""
    settings = ReceiverSettings(
        name="team",
        kind=request.param,
        url=server.url,
        timeout=0.3,
    )
    return receiver_from(settings, session=session, page_url="https://gapwatch.example")


async def send(receiver: Receiver) -> Outcome:
    """Send, and check that no outcome tells where to."""
    outcome = await receiver.send(ALERT, "n1")
    assert SECRET not in repr(outcome)
    assert "hook" not in outcome.detail
    return outcome


async def test_delivered(receiver: Receiver, server: Misbehaving) -> None:
    assert await send(receiver) == Outcome("delivered", "answer 200")
    (headers, _), *others = server.received
    assert others == []
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("gapwatch/")


async def test_a_server_error_is_tried_again_and_then_delivered(
    receiver: Receiver, server: Misbehaving
) -> None:
    server.handler = answering(500)
    assert await send(receiver) == Outcome("retry", "answer 500")
    server.handler = answering(200)
    assert (await send(receiver)).kind == "delivered"
    assert server.received[0][1] == server.received[1][1]


@pytest.mark.parametrize("status", [408, 425, 429, 503])
async def test_a_receiver_that_asks_for_time_gets_it(
    receiver: Receiver, server: Misbehaving, status: int
) -> None:
    server.handler = answering(status, Retry_After="30")
    assert await send(receiver) == Outcome("retry", f"answer {status}", 30.0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413])
async def test_other_client_errors_are_final(
    receiver: Receiver, server: Misbehaving, status: int
) -> None:
    server.handler = answering(status)
    assert await send(receiver) == Outcome("refused", f"answer {status}")


async def test_an_error_code_is_passed_on_but_nothing_else_of_the_answer(
    receiver: Receiver, server: Misbehaving
) -> None:
    server.handler = answering(403, "invalid_token")
    assert await send(receiver) == Outcome("refused", "answer 403 (invalid_token)")
    server.handler = answering(404, f"Cannot POST /hook/{SECRET}")
    assert await send(receiver) == Outcome("refused", "answer 404")


async def test_redirects_are_not_followed(receiver: Receiver, server: Misbehaving) -> None:
    server.handler = answering(307, Location=f"{server.url}/elsewhere")
    outcome = await send(receiver)
    assert outcome.kind == "refused"
    assert "redirects are not followed" in outcome.detail
    assert len(server.received) == 1


async def test_a_server_that_hangs_is_left(receiver: Receiver, server: Misbehaving) -> None:
    gone = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        await gone.wait()
        return web.Response()

    server.handler = hang
    assert await send(receiver) == Outcome("retry", "no answer within 0.3 s")
    gone.set()


async def test_a_connection_that_breaks_is_tried_again(
    receiver: Receiver, server: Misbehaving
) -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    server.handler = hang_up
    assert await send(receiver) == Outcome("retry", "the connection broke")


async def test_of_a_huge_answer_little_is_read(receiver: Receiver, server: Misbehaving) -> None:
    sent = 0

    async def pour(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(2000):
                await response.write(b"x" * 65536)
                sent += 65536
        except ConnectionError:
            pass
        return response

    server.handler = pour
    assert await send(receiver) == Outcome("delivered", "answer 200")
    await asyncio.sleep(0.05)
    assert ANSWER_BYTES < sent < 2000 * 65536


async def test_delivered_is_delivered_though_the_answer_never_ends(
    receiver: Receiver, server: Misbehaving
) -> None:
    gone = asyncio.Event()

    async def trail_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"o")
        await gone.wait()
        return response

    server.handler = trail_off
    assert (await send(receiver)).kind == "delivered"
    gone.set()


@pytest.mark.parametrize(
    ("url", "kind", "words"),
    [
        (f"http://127.0.0.1:1/{SECRET}", "retry", "cannot connect"),
        (f"http://nowhere.invalid/{SECRET}", "retry", "host name"),
        (f"http://[{SECRET}", "refused", "not an address"),
        (f"http:///{SECRET}", "refused", "not an address"),
    ],
)
async def test_an_address_that_does_not_work_is_not_shown(
    session: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
    url: str,
    kind: str,
    words: str,
) -> None:
    caplog.set_level(logging.DEBUG, "pipeline")
    settings = ReceiverSettings(name="team", kind="webhook", url=url)
    outcome = await send(receiver_from(settings, session=session, page_url=None))
    assert outcome.kind == kind
    assert words in outcome.detail
    assert SECRET not in caplog.text


async def test_a_secret_file_is_read_at_each_attempt(
    session: aiohttp.ClientSession, server: Misbehaving, tmp_path: Path
) -> None:
    file = tmp_path / "url"
    settings = ReceiverSettings(name="team", kind="webhook", url_file=file)
    receiver = receiver_from(settings, session=session, page_url=None)
    assert (await send(receiver)).detail.startswith("url_file cannot be read")
    file.write_text(f"{SECRET}\n")
    assert (await send(receiver)).detail.startswith("url_file does not hold")
    file.write_text(f"{server.url}\n")
    assert (await send(receiver)).kind == "delivered"


async def test_a_webhook_carries_the_alert_and_an_id_to_drop_repeats_by(
    session: aiohttp.ClientSession, server: Misbehaving
) -> None:
    receiver = Webhook(session, lambda: server.url, 1.0, clock=lambda: 1_700_000_000.9)
    await send(receiver)
    await send(receiver)
    (headers, body), (again, _) = server.received
    assert body["type"] == "gapwatch.alert"
    assert body["id"] == headers["webhook-id"] == again["webhook-id"] == "n1"
    assert headers["webhook-timestamp"] == "1700000000"
    assert body["alert"]["seen"] == 47
    assert json.dumps(body["alert"]["onset"]) == '"2026-05-04T09:30:00Z"'


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("999999", LONGEST_RETRY_AFTER),
        ("Mon, 04 May 2026 09:31:00 GMT", 60.0),
        ("Mon, 04 May 2026 09:31:00 -0000", 60.0),
        ("Mon, 04 May 2026 09:00:00 GMT", 0.0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", LONGEST_RETRY_AFTER),
        ("-5", None),
        ("soon", None),
        ("1e9", None),
        ("9" * 400, None),
        ("Mon, 99 May 2026 09:31:00 GMT", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds
