"""Receivers against servers that misbehave in every way a server can."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import TypeAdapter
from standardwebhooks import Webhook as Verifier

from pipeline.receivers import Notice, Outcome, Receiver, receiver_from
from pipeline.receivers.http import ANSWER_BYTES, LONGEST_RETRY_AFTER, Caller, retry_after
from pipeline.receivers.links import LinkTemplates
from pipeline.receivers.sample import sample_notice
from pipeline.receivers.settings import ReceiverSettings

LINKS = LinkTemplates(page="https://page.example")
NO_LINKS = LinkTemplates()
NOW = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
SECRET = "T0SECRET-token"
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
RENEWED = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Received:
    """A request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        """As JSON."""
        return json.loads(self.raw)


class Misbehaving:
    """A server on loopback that answers as it is told and remembers what it was sent."""

    def __init__(self) -> None:
        self.handler: Handler = answering(200)
        self.received: list[Received] = []
        self.origin = ""

    @property
    def url(self) -> str:
        """An address with a secret in it."""
        return f"{self.origin}/hook/{SECRET}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(
            Received(
                request.method, request.path, dict(request.query), headers, await request.read()
            )
        )
        return await self.handler(request)


def answering(status: int, body: str = "ok", **headers: str) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, text=body, headers=named)

    return answer


def saying(code_: int = 200, **body: Any) -> Handler:
    """Answer with JSON."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=code_)

    return answer


def in_turn(*handlers: Handler) -> Handler:
    """Answer with one after the other."""
    left = list(handlers)

    async def answer(request: web.Request) -> web.StreamResponse:
        return await left.pop(0)(request)

    return answer


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Misbehaving]:
    misbehaving = Misbehaving()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", misbehaving.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    scheme = "https" if tls else "http"
    misbehaving.origin = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    yield misbehaving
    await runner.cleanup()


@pytest.fixture
async def server() -> AsyncIterator[Misbehaving]:
    async with serving() as misbehaving:
        yield misbehaving


@asynccontextmanager
async def receiving(
    kind: str, *, links: LinkTemplates = NO_LINKS, **given: Any
) -> AsyncIterator[Receiver]:
    """A receiver that may call this machine, unless told otherwise."""
    allowed = {} if kind == "email" else {"allow_private": True}
    if kind not in ("email", "apprise"):
        allowed["allow_http"] = True
    settings = TypeAdapter(ReceiverSettings).validate_python(
        {"name": "team", "kind": kind, "timeout": 0.4} | allowed | given
    )
    receiver = receiver_from(settings, links)
    try:
        yield receiver
    finally:
        await receiver.close()


def at(server: Misbehaving) -> dict[str, dict[str, Any]]:
    """Every kind that is called over HTTP, with its settings for this server."""
    return {
        "webhook": {"url": server.url},
        "slack": {"url": server.url},
        "slack-bot": {"token": SECRET, "channel": "C0123", "api": server.origin},
        "teams": {"url": server.url},
        "discord": {"url": server.url},
        "mattermost": {"url": server.url},
        "google-chat": {"url": server.url},
        "telegram": {"token": SECRET, "chat": -100123, "api": server.origin},
        "pagerduty": {"token": SECRET, "api": server.origin},
        "alertmanager": {"url": server.origin},
    }


KINDS = tuple(at(Misbehaving()))
WELL = {
    "slack-bot": saying(ok=True, channel="C0123", ts="1.2"),
    "discord": saying(id="42"),
    "telegram": saying(ok=True, result={"message_id": 7}),
    "pagerduty": saying(202, status="success"),
}
"""What services answer that say more than 200."""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of receiver in turn: what follows is true of all of them."""
    value: str = request.param
    return value


@pytest.fixture
async def receiver(kind: str, server: Misbehaving) -> AsyncIterator[Receiver]:
    server.handler = WELL.get(kind, answering(200))
    given = at(server)[kind]
    async with receiving(kind.removesuffix("-bot"), links=LINKS, **given) as one:
        yield one


def notice(status: Any = "firing", **changes: Any) -> Notice:
    sample = sample_notice(status, NOW)
    given = {"sample": False, "told": False} | changes
    return Notice(sample.alert, sample.notification, **given)


async def send(receiver: Receiver, what: Notice | None = None) -> Outcome:
    """Send, and check that no outcome tells where to."""
    outcome = await receiver.send(what or notice())
    assert SECRET not in repr(outcome)
    assert "hook" not in outcome.detail
    return outcome


async def test_delivered(receiver: Receiver, server: Misbehaving) -> None:
    assert (await send(receiver)).kind == "delivered"
    (received,) = server.received
    assert received.headers["user-agent"].startswith("gapwatch/")
    assert received.headers["content-type"].startswith(("application/json", "multipart/form-data"))


async def test_a_server_error_is_tried_again_and_then_delivered(
    receiver: Receiver, server: Misbehaving, kind: str
) -> None:
    well, server.handler = server.handler, answering(500)
    assert await send(receiver) == Outcome("retry", "answer 500")
    server.handler = well
    assert (await send(receiver)).kind == "delivered"
    first, second = server.received
    if kind != "discord":  # whose multipart boundary is new each time
        assert first.raw == second.raw


@pytest.mark.parametrize("status", [408, 425, 429, 503])
async def test_a_receiver_that_asks_for_time_gets_it(
    receiver: Receiver, server: Misbehaving, status: int
) -> None:
    server.handler = answering(status, Retry_After="30")
    assert await send(receiver) == Outcome("retry", f"answer {status}", 30.0)


async def test_a_receiver_that_asks_for_time_until_a_date_gets_it(
    receiver: Receiver, server: Misbehaving
) -> None:
    server.handler = answering(429, Retry_After="Fri, 01 Jan 2100 00:00:00 GMT")
    assert await send(receiver) == Outcome("retry", "answer 429", LONGEST_RETRY_AFTER)


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_what_a_receiver_will_never_take_is_given_up(
    receiver: Receiver, server: Misbehaving, status: int
) -> None:
    server.handler = answering(status)
    assert await send(receiver) == Outcome("refused", f"answer {status}")


@pytest.mark.parametrize("status", [401, 403, 404, 405])
async def test_what_a_person_can_mend_is_waited_for(
    receiver: Receiver, server: Misbehaving, status: int
) -> None:
    server.handler = answering(status)
    assert await send(receiver) == Outcome("retry", f"answer {status}")


async def test_a_receiver_that_is_gone_says_so(receiver: Receiver, server: Misbehaving) -> None:
    server.handler = answering(410)
    assert await send(receiver) == Outcome("gone", "answer 410")


async def test_redirects_are_not_followed(receiver: Receiver, server: Misbehaving) -> None:
    server.handler = answering(307, Location=f"{server.origin}/elsewhere")
    outcome = await send(receiver)
    assert outcome.kind == "retry"
    assert "redirects are not followed" in outcome.detail
    assert len(server.received) == 1


async def test_a_server_that_hangs_is_left(receiver: Receiver, server: Misbehaving) -> None:
    gone = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        await gone.wait()
        return web.Response()

    server.handler = hang
    assert await send(receiver) == Outcome("retry", "no answer within 0.4 s")
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


async def test_an_answer_of_another_kind_changes_nothing_that_the_status_says(
    receiver: Receiver, server: Misbehaving, kind: str
) -> None:
    server.handler = answering(200, "<html>welcome</html>", Content_Type="text/html")
    # Slack's API says in the answer alone whether a message was taken.
    assert (await send(receiver)).kind == ("retry" if kind == "slack-bot" else "delivered")


async def test_of_a_huge_answer_little_is_read(server: Misbehaving) -> None:
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
    async with receiving("webhook", url=server.url) as receiver:
        assert await send(receiver) == Outcome("delivered", "answer 200")
        await asyncio.sleep(0.05)
    assert ANSWER_BYTES < sent < 2000 * 65536


@pytest.mark.parametrize("length", [None, 100])
async def test_delivered_is_delivered_though_the_answer_never_ends(
    receiver: Receiver, server: Misbehaving, kind: str, length: int | None
) -> None:
    gone = asyncio.Event()

    async def trail_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = length
        await response.prepare(request)
        await response.write(b"o")
        if length is None:
            await gone.wait()
        else:
            assert request.transport is not None
            request.transport.abort()  # half an answer
        return response

    server.handler = trail_off
    assert (await send(receiver)).kind == ("retry" if kind == "slack-bot" else "delivered")
    gone.set()


async def test_an_error_code_is_passed_on_but_nothing_else_of_the_answer(
    server: Misbehaving,
) -> None:
    async with receiving("slack", url=server.url) as receiver:
        server.handler = answering(403, "invalid_token")
        assert await send(receiver) == Outcome("retry", "answer 403 (invalid_token)")
        server.handler = answering(404, f"Cannot POST /hook/{SECRET}")
        assert await send(receiver) == Outcome("retry", "answer 404")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"http://127.0.0.1:1/{SECRET}", "cannot connect"),
        (f"http://nowhere.invalid/{SECRET}", "host name"),
        (f"http://127.0.0.1:99999/{SECRET}", "not an address"),
    ],
)
async def test_an_address_that_does_not_work_is_not_shown(
    caplog: pytest.LogCaptureFixture, url: str, words: str
) -> None:
    caplog.set_level(logging.DEBUG)
    async with receiving("webhook", url=url, timeout=5) as receiver:
        outcome = await send(receiver)
    assert outcome.kind == "retry"
    assert words in outcome.detail
    assert SECRET not in caplog.text


async def test_a_certificate_that_is_not_trusted_is_not_trusted() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with serving(context) as server, receiving("webhook", url=server.url) as receiver:
        assert await send(receiver) == Outcome("retry", "its TLS certificate is not trusted")
        assert server.received == []


PRIVATE = "its address is a private one; allow_private = true permits that for this receiver"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ],
)
async def test_a_private_address_is_called_only_if_that_is_allowed(
    server: Misbehaving, host: str
) -> None:
    port = server.origin.rpartition(":")[2]
    url = f"http://{host}:{port}/hook/{SECRET}"
    async with receiving("webhook", url=url, allow_private=False, timeout=5) as receiver:
        outcome = await send(receiver)
    assert server.received == []
    assert outcome.kind == "retry"
    # Other spellings of an IP address are none to some versions of aiohttp.
    assert outcome.detail in (PRIVATE, "url is not an address that can be called")
    assert outcome.detail == PRIVATE or host in ("127.1", "2130706433", "0x7f000001", "0")


async def test_a_proxy_in_the_environment_is_not_used(
    server: Misbehaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, server.origin)
    async with receiving("webhook", url="http://nowhere.invalid/", timeout=5) as receiver:
        assert (await send(receiver)).kind == "retry"
    assert server.received == []


async def test_a_secret_file_is_read_at_each_attempt(server: Misbehaving, tmp_path: Path) -> None:
    file = tmp_path / "url"
    async with receiving("webhook", url_file=str(file)) as receiver:
        assert "cannot be read" in (await send(receiver)).detail
        file.write_text(f"{SECRET}\n")
        assert (await send(receiver)).detail.startswith("url must start with https://")
        file.write_bytes(b"\xff")
        assert (await send(receiver)).detail == "a file with a secret is not UTF-8 text"
        file.write_text(f"{server.url}\n")
        assert (await send(receiver)).kind == "delivered"


async def test_a_webhook_is_signed_with_every_secret_over_what_was_sent(
    server: Misbehaving, tmp_path: Path
) -> None:
    file = tmp_path / "secrets"
    file.write_text(f"{SIGNING}\n{RENEWED}\n")
    async with receiving("webhook", url=server.url, secrets_file=str(file)) as receiver:
        await send(receiver)
        file.write_text(f"{RENEWED}\n")
        await send(receiver)
    both, renewed = server.received
    assert both.headers["webhook-id"] == renewed.headers["webhook-id"] == notice().notification
    for secret in (SIGNING, RENEWED):
        assert Verifier(secret).verify(both.raw, both.headers) == both.body
    assert Verifier(RENEWED).verify(renewed.raw, renewed.headers)
    assert len(renewed.headers["webhook-signature"].split(" ")) == 1


async def test_a_webhook_carries_the_alert(server: Misbehaving) -> None:
    async with receiving("webhook", url=server.url) as receiver:
        await send(receiver)
        await send(receiver, notice(sample=True, silence="begun"))
    first, second = server.received
    assert "webhook-signature" not in first.headers
    assert first.body["type"] == "gapwatch.alert"
    assert first.body["id"] == first.headers["webhook-id"]
    assert first.body["timestamp"] == "2026-05-04T09:30:00Z"
    assert first.body["alert"]["seen"] == 47
    assert "test" not in first.body
    assert second.body["test"] is True
    assert second.body["silence"] == "begun"


async def test_slacks_bot_keeps_one_message_up_to_date_and_threads_news(
    server: Misbehaving,
) -> None:
    well = saying(ok=True, channel="C0123", ts="1.2")
    server.handler = well
    given = at(server)["slack-bot"]
    async with receiving("slack", **given) as receiver:
        first = await send(receiver)
        assert first.handle == "C0123 1.2"
        await send(receiver, notice("escalated", told=True, handle=first.handle))
        await send(receiver, notice("resolved", told=True, handle=first.handle, quiet=True))
        server.handler = in_turn(saying(ok=False, error="message_not_found"), well)
        anew = await send(receiver, notice("resolved", told=True, handle="C0123 0.1"))
        assert anew.handle == "C0123 1.2"
        for error, kind in (("invalid_auth", "retry"), ("invalid_blocks", "refused")):
            server.handler = saying(ok=False, error=error)
            assert await send(receiver) == Outcome(kind, f"Slack says {error}")  # type: ignore[arg-type]
    paths = [received.path for received in server.received[:6]]
    assert paths == [
        "/chat.postMessage", "/chat.update", "/chat.postMessage", "/chat.update", "/chat.update",
        "/chat.postMessage",
    ]  # fmt: skip
    assert all(each.headers["authorization"] == f"Bearer {SECRET}" for each in server.received)
    edit, reply = server.received[1].body, server.received[2].body
    assert (edit["channel"], edit["ts"]) == ("C0123", "1.2")
    assert (reply["thread_ts"], reply["reply_broadcast"]) == ("1.2", True)


async def test_discord_edits_its_message_and_tells_escalation_beside_it(
    server: Misbehaving,
) -> None:
    server.handler = saying(id="42")
    async with receiving("discord", url=f"{server.url}?thread_id=9") as receiver:
        first = await send(receiver)
        assert first.handle == "42"
        await send(receiver, notice("escalated", told=True, handle="42"))
        await send(receiver, notice("resolved", told=True, handle="42"))
        server.handler = in_turn(saying(404, code=10008), saying(id="43"))
        assert (await send(receiver, notice("resolved", handle="42"))).handle == "43"
        server.handler = saying(404, code=10015)  # no such webhook
        assert (await send(receiver, notice("resolved", handle="42"))).kind == "retry"
        server.handler = saying(429, retry_after=0.75)
        assert (await send(receiver)).retry_after == 0.75
    calls = [(each.method, each.path, each.query) for each in server.received]
    hook = f"/hook/{SECRET}"
    post = ("POST", hook, {"wait": "true", "thread_id": "9"})
    patch = ("PATCH", f"{hook}/messages/42", {"thread_id": "9"})
    assert calls == [post, patch, post, patch, patch, post, patch, post]
    picture = server.received[0].raw
    assert b'name="payload_json"' in picture
    assert b'filename="curve.png"' in picture
    assert b"\x89PNG" in picture
    assert server.received[2].body["content"].startswith("🔺")


async def test_telegram_edits_its_message_and_replies_with_news(server: Misbehaving) -> None:
    server.handler = saying(ok=True, result={"message_id": 7})
    async with receiving("telegram", **at(server)["telegram"], topic=3) as receiver:
        first = await send(receiver)
        assert first.handle == "7"
        await send(receiver, notice("escalated", told=True, handle="7"))
        unchanged = "Bad Request: message is not modified: same"
        server.handler = saying(400, ok=False, description=unchanged)
        quiet = await send(receiver, notice("escalated", handle="7", quiet=True))
        assert (quiet.kind, quiet.handle) == ("delivered", "7")
        missing = saying(400, ok=False, description="Bad Request: message to edit not found")
        server.handler = in_turn(missing, saying(ok=True, result={"message_id": 8}))
        assert (await send(receiver, notice("resolved", handle="7"))).handle == "8"
        server.handler = saying(429, ok=False, parameters={"retry_after": 5})
        assert (await send(receiver)).retry_after == 5
    sent = [(each.path.removeprefix(f"/bot{SECRET}"), each.body) for each in server.received]
    assert [path for path, _ in sent] == [
        "/sendMessage", "/editMessageText", "/sendMessage", "/editMessageText",
        "/editMessageText", "/sendMessage", "/sendMessage",
    ]  # fmt: skip
    assert sent[0][1]["chat_id"] == "-100123"
    assert sent[0][1]["message_thread_id"] == 3
    assert sent[1][1]["message_id"] == 7
    assert sent[2][1]["reply_parameters"]["message_id"] == 7


async def test_google_chat_threads_and_drops_repeats(server: Misbehaving) -> None:
    async with receiving("google-chat", url=f"{server.url}?key=k&token=a%2Bb%3D") as receiver:
        await send(receiver)
        await send(receiver, notice("resolved", told=True))
    first, second = server.received
    assert first.query["token"] == "a+b="
    assert first.query["messageReplyOption"] == "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD"
    assert first.query["requestId"] == notice().notification
    assert first.query["requestId"] != second.query["requestId"]
    assert first.body["thread"] == second.body["thread"]


async def test_pagerduty_resolves_what_it_triggered(server: Misbehaving) -> None:
    async with receiving("pagerduty", **at(server)["pagerduty"]) as receiver:
        await send(receiver)
        await send(receiver, notice("resolved", told=True))
        assert (await send(receiver, notice(quiet=True))).kind == "delivered"  # nothing to tell
    first, second = (each.body for each in server.received)
    assert (first["event_action"], second["event_action"]) == ("trigger", "resolve")
    assert first["dedup_key"] == second["dedup_key"]
    assert first["routing_key"] == SECRET
    assert server.received[0].path == "/v2/enqueue"


async def test_alertmanager_gets_the_same_labels_over_the_alerts_life(server: Misbehaving) -> None:
    async with receiving("alertmanager", url=f"{server.origin}/", token=SECRET) as receiver:
        first = await send(receiver)
        await send(receiver, notice("resolved", told=True, handle=first.handle))
    (firing,), (resolved,) = (each.body for each in server.received)
    assert server.received[0].path == "/api/v2/alerts"
    assert server.received[0].headers["authorization"] == f"Bearer {SECRET}"
    assert firing["labels"] == resolved["labels"]
    assert resolved["endsAt"] == "2026-05-04T09:30:00+00:00" < firing["endsAt"]


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise's
async def test_apprise_sends_by_its_url(server: Misbehaving) -> None:
    url = server.origin.replace("http://", "json://") + f"/{SECRET}"
    async with receiving("apprise", url=url, timeout=20) as receiver:
        assert await send(receiver) == Outcome("delivered", "Apprise got it through")
        server.handler = answering(500)
        assert await send(receiver) == Outcome("retry", "Apprise did not get it through")
    assert server.received[0].body["title"].startswith("🔴 Sample Bikes: disappointment")


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise's
async def test_an_apprise_receiver_that_hangs_is_left_and_holds_up_nobody(
    server: Misbehaving, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    gone = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        await gone.wait()
        return web.Response()

    server.handler = hang
    url = server.origin.replace("http://", "json://") + f"/{SECRET}"
    async with receiving("apprise", url=url, timeout=1) as receiver:
        assert await send(receiver) == Outcome("retry", "Apprise was not done within 1 s")
        gone.set()
    async with receiving("apprise", url=f"nothing://{SECRET}", timeout=20) as receiver:
        assert await send(receiver) == Outcome("retry", "url is none that Apprise knows")
    assert SECRET not in caplog.text


async def test_connections_end_with_the_receiver(server: Misbehaving) -> None:
    caller = Caller(timeout=1, allow_private=True)
    await caller.call(lambda: server.url, b"{}")
    await caller.close()
    with pytest.raises(RuntimeError, match="closed"):
        await caller.call(lambda: server.url, b"{}")


class Mailroom:
    """What an SMTP server does with what it is given."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self.answers: dict[str, str] = {}
        self.wait: float = 0

    async def handle_RCPT(  # noqa: N802 (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if answer := self.answers.get(address):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        await asyncio.sleep(self.wait)
        if answer := self.answers.get("DATA"):
            return answer
        assert isinstance(envelope.content, bytes)
        mail = BytesParser(policy=default).parsebytes(envelope.content)
        assert isinstance(mail, EmailMessage)
        self.mails.append((envelope.rcpt_tos, mail))
        return "250 OK"


@pytest.fixture
async def mailroom() -> AsyncIterator[tuple[Mailroom, dict[str, Any]]]:
    """A real SMTP server, and the settings to reach it."""
    room = Mailroom()

    def login(
        server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
    ) -> AuthResult:
        return AuthResult(success=data.password == SECRET.encode())

    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(room, authenticator=login, auth_require_tls=False), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    yield (
        room,
        {
            "host": "127.0.0.1",
            "port": port,
            "security": "none",
            "sender": "gapwatch@x.example",
            "to": ["a@x.example", "b@x.example"],
            "timeout": 5,
        },
    )
    server.close()
    await server.wait_closed()


async def test_a_mail_arrives_and_later_ones_thread_under_it(
    mailroom: tuple[Mailroom, dict[str, Any]],
) -> None:
    room, reach = mailroom
    async with receiving("email", links=LINKS, **reach) as receiver:
        first = await send(receiver)
        again = await send(receiver)
        assert first == again
        await send(receiver, notice("resolved", told=True, handle=first.handle))
    (to, mail), (_, repeat), (_, resolved) = room.mails
    assert to == ["a@x.example", "b@x.example"]
    assert mail["Message-ID"] == repeat["Message-ID"] == first.handle
    assert resolved["In-Reply-To"] == resolved["References"] == first.handle
    assert resolved["Message-ID"] != first.handle
    assert resolved["Subject"] == f"Re: {mail['Subject']}"
    body = resolved.get_body(("plain",))
    assert body is not None
    assert "is back to usual" in body.get_content()
    images = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert images[0].get_content().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ({"a@x.example": "550 no"}, Outcome("delivered", "but 1 of 2 mailboxes were refused")),
        (
            {"a@x.example": "550 no", "b@x.example": "551 no"},
            Outcome("refused", "all mailboxes were refused (550, 551)"),
        ),
        (
            {"a@x.example": "550 no", "b@x.example": "451 later"},
            Outcome("retry", "all mailboxes were refused (451, 550)"),
        ),
        ({"DATA": "554 spam"}, Outcome("refused", "the mail server refuses the message (554)")),
        ({"DATA": "452 full"}, Outcome("retry", "the mail server answers 452")),
    ],
)
async def test_what_a_mail_server_answers_is_understood(
    mailroom: tuple[Mailroom, dict[str, Any]], answers: dict[str, str], outcome: Outcome
) -> None:
    room, reach = mailroom
    room.answers = answers
    async with receiving("email", **reach) as receiver:
        found = await send(receiver)
    assert (found.kind, found.detail) == (outcome.kind, outcome.detail)


async def test_a_mail_server_that_hangs_or_is_down_is_left(
    mailroom: tuple[Mailroom, dict[str, Any]],
) -> None:
    room, reach = mailroom
    room.wait = 3
    async with receiving("email", **reach | {"timeout": 0.3}) as receiver:
        found = await send(receiver)
        assert found == Outcome("retry", "the mail server did not finish within 0.3 s")
    async with receiving("email", **reach | {"port": 1}) as receiver:
        assert await send(receiver) == Outcome("retry", "cannot connect to the mail server")
    async with receiving("email", **reach | {"security": "starttls"}) as receiver:
        found = await send(receiver)  # which this server does not offer: nothing is sent in clear
        assert found.kind == "retry"
    assert room.mails == []


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("0.75", 0.75),
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
