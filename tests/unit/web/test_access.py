"""Who is let in, asked over a real loopback connection."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from pipeline.settings import SettingsError, WebSettings
from pipeline.web import WebError
from pipeline.web.access import (
    ADDRESSES_KEPT,
    FORGET_AFTER,
    FREE_TRIES,
    LONGEST_WAIT,
    Access,
    Throttle,
    check_access,
    is_loopback,
    is_same_origin,
)

TOKEN = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PAGE = {"Accept": "text/html,application/xhtml+xml"}


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def served(clock: Clock | None = None, **settings: Any) -> AsyncIterator[str]:
    """A few paths behind the access that settings ask for; gives their address."""
    access = Access(
        WebSettings(**{"port": 0, "token": TOKEN, **settings}),
        own_tokens=frozenset({"/api/events"}),
        **({"wall": clock} if clock else {}),
    )
    app = web.Application(middlewares=access.middlewares)
    access.add_routes(app)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="here")

    for path in ("/", "/api/state", "/metrics", "/healthz", "/readyz", "/static/style.css"):
        app.router.add_get(path, answer)
    for path in ("/api/alerts", "/api/events"):
        app.router.add_post(path, answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def asking(
    clock: Clock | None = None, **settings: Any
) -> AsyncIterator[aiohttp.ClientSession]:
    """A client with a cookie jar, as a browser has one."""
    jar = aiohttp.CookieJar(unsafe=True)  # an address is no domain; browsers keep its cookies
    async with (
        served(clock, **settings) as address,
        aiohttp.ClientSession(address, cookie_jar=jar) as client,
    ):
        yield client


async def status(client: aiohttp.ClientSession, path: str, **options: Any) -> int:
    async with client.get(path, allow_redirects=False, **options) as answer:
        return answer.status


async def sign_in(
    client: aiohttp.ClientSession, token: str = TOKEN, path: str | URL = "/login", **options: Any
) -> aiohttp.ClientResponse:
    return await client.post(path, data={"token": token}, allow_redirects=False, **options)


async def test_data_needs_the_token_and_health_does_not():
    async with asking() as client:
        for path in ("/", "/api/state", "/metrics", "/nowhere"):
            assert await status(client, path) == 401, path
            assert await status(client, path, headers=BEARER) in (200, 404), path
        for path in ("/healthz", "/readyz", "/static/style.css"):
            assert await status(client, path) == 200, path
        async with client.get("/api/state") as answer:
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert TOKEN not in await answer.text()


@pytest.mark.parametrize(
    "header",
    ["Bearer wrong-token-of-some-length", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, "Bearer é"],
)
async def test_a_wrong_token_lets_nobody_in(header):
    async with asking() as client:
        assert await status(client, "/api/state", headers={"Authorization": header}) == 401


async def test_metrics_may_be_left_open():
    async with asking(open_metrics=True) as client:
        assert await status(client, "/metrics") == 200
        assert await status(client, "/api/state") == 401


async def test_without_a_token_nothing_is_asked():
    async with asking(token=None) as client:
        assert await status(client, "/api/state") == 200
        assert await status(client, "/login", headers=PAGE) == 303


async def test_people_are_led_to_sign_in_and_back_to_what_they_asked_for():
    async with asking() as client:
        async with client.get("/api/state?a=1&b=c%26d", headers=PAGE) as answer:
            assert (answer.status, answer.content_type) == (401, "text/html")
            found = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', await answer.text())
        assert found is not None
        asked = html.unescape(found[1])
        async with client.get(URL(asked, encoded=True), headers=PAGE) as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")
            page = await answer.text()
            assert 'type="password"' in page
            assert "<script" not in page
        answer = await sign_in(client, path=URL(asked, encoded=True))
        assert answer.status == 303
        assert answer.headers["Location"] == "/api/state?a=1&b=c%26d"
        assert await status(client, "/api/state") == 200
        # Who comes from another site, and without the cookie, is signed in all the same.
        async with client.get(URL(asked, encoded=True), allow_redirects=False) as answer:
            assert answer.headers["Location"] == "/api/state?a=1&b=c%26d"


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "x", ""],
)
async def test_signing_in_leads_to_no_other_site(elsewhere):
    async with (
        asking() as client,
        client.post(
            "/login", params={"next": elsewhere}, data={"token": TOKEN}, allow_redirects=False
        ) as answer,
    ):
        assert (answer.status, answer.headers["Location"]) == (303, "/")


async def test_the_sign_in_page_is_as_strict_as_its_form_lets_it_be():
    async with asking() as client, client.get("/login", headers=PAGE) as answer:
        policy = answer.headers["Content-Security-Policy"].split("; ")
        assert {"default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"} <= set(policy)
        assert not any("script" in part or "unsafe" in part for part in policy)
        assert answer.headers["Cache-Control"] == "no-store"


async def test_the_session_is_a_cookie_no_script_and_no_other_site_gets_at():
    async with asking() as client:
        answer = await sign_in(client)
        cookie = answer.headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
        assert "Secure" not in cookie  # over plain HTTP a browser would drop it
        assert TOKEN not in cookie
        secure = await sign_in(client, headers={"X-Forwarded-Proto": "https"})
        cookie = secure.headers["Set-Cookie"]
        assert cookie.startswith("__Host-")
        assert "Secure" in cookie.split("; ")


async def test_signing_out_ends_the_session_in_the_browser():
    async with asking() as client:
        await sign_in(client)
        async with client.get("/login", headers=PAGE) as answer:
            assert "Sign out" in await answer.text()
        async with client.post("/logout", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/login")
        assert await status(client, "/api/state") == 401


async def test_a_session_ends_by_itself():
    clock = Clock()
    async with asking(clock, session_hours=2) as client:
        await sign_in(client)
        clock.now += 7199
        assert await status(client, "/api/state") == 200
        clock.now += 2
        assert await status(client, "/api/state") == 401


async def test_a_session_that_was_made_up_or_belongs_to_another_token_is_none():
    clock = Clock()
    async with asking(clock, token="another-token-altogether") as client:
        answer = await sign_in(client, "another-token-altogether")
        foreign = answer.cookies["gapwatch-session"].value
    until, _, mac = foreign.partition(".")
    for value in (
        foreign,
        f"{int(until) + 1}.{mac}",
        f"{until}.",
        until,
        f"{'9' * 40}.{mac}",
        "é",
        f"{until}.é",
    ):
        async with asking(clock) as client:
            cookies = {"Cookie": f"gapwatch-session={value}"}
            assert await status(client, "/api/state", headers=cookies) == 401, value


async def test_who_guesses_is_slowed_and_who_is_signed_in_is_not():
    async with asking() as client:
        await sign_in(client)
        for _ in range(FREE_TRIES):
            assert (await sign_in(client, "guess")).status == 403
        answer = await sign_in(client)  # the right one, and not read
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) >= 1
        assert "try again in" in await answer.text()
        assert await status(client, "/api/state") == 200  # by the session
        client.cookie_jar.clear()
        assert await status(client, "/api/state", headers=BEARER) == 429


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),  # no browser
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://gapwatch.example"}, False),
        ({"Origin": "http://gapwatch.example"}, True),
        ({"Origin": "https://GAPWATCH.example"}, True),
        ({"Origin": "http://gapwatch.example:81"}, False),
        ({"Origin": "http://gapwatch.example.evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://["}, False),
    ],
)
def test_what_changes_things_must_come_from_our_own_page(headers, allowed):
    request = make_mocked_request("POST", "/", headers={"Host": "gapwatch.example", **headers})
    assert is_same_origin(request) is allowed


async def test_another_sites_page_can_change_nothing_with_anybodys_session():
    async with asking() as client:
        await sign_in(client)
        foreign = {"Origin": "https://evil.example"}
        for path in ("/api/alerts", "/login", "/logout", "/api/events"):
            async with client.post(path, headers=foreign, allow_redirects=False) as answer:
                assert answer.status == 403, path
        async with client.post("/api/alerts") as answer:
            assert answer.status == 200


async def test_bound_to_loopback_only_loopback_names_are_answered():
    async with asking() as client:
        assert await status(client, "/healthz", headers={"Host": "evil.example"}) == 421


async def test_paths_with_tokens_of_their_own_are_left_to_them():
    async with asking() as client, client.post("/api/events") as answer:
        assert answer.status == 200


def test_beyond_loopback_nobody_is_served_without_a_token_unless_that_is_meant(tmp_path: Path):
    with pytest.raises(WebError, match=r"web\.host 0\.0\.0\.0 .* web\.token_file .* web\.open"):
        check_access(WebSettings(host="0.0.0.0"))
    assert "this machine" in check_access(WebSettings())
    assert "open" in check_access(WebSettings(host="0.0.0.0", open=True))
    secret = tmp_path / "token"
    secret.write_text(TOKEN + "\n")
    assert "token" in check_access(WebSettings(host="0.0.0.0", token_file=secret))


def test_a_token_that_cannot_be_used_is_refused_without_being_shown(tmp_path: Path):
    secret = tmp_path / "token"
    secret.write_bytes(b"\xff" * 20)
    for settings, words in (
        (WebSettings(token="too-short"), "16 or more"),
        (WebSettings(token="é" * 20), "ASCII"),
        (WebSettings(token_file=tmp_path / "none"), "cannot be read"),
        (WebSettings(token_file=secret), "UTF-8"),
        (WebSettings(token=TOKEN, token_file=secret), "one of the two"),
    ):
        with pytest.raises(SettingsError, match=r"web\.token") as told:
            check_access(settings)
        assert words in str(told.value)
        assert "too-short" not in str(told.value)
    assert TOKEN not in repr(WebSettings(token=TOKEN))


def test_waiting_doubles_up_to_a_minute_and_is_forgotten():
    clock = Clock()
    throttle = Throttle(clock)
    waits = []
    for _ in range(FREE_TRIES + 8):
        throttle.failed("a")
        waits.append(throttle.wait("a"))
    assert waits[: FREE_TRIES - 1] == [0.0] * (FREE_TRIES - 1)
    assert waits[FREE_TRIES - 1 : FREE_TRIES + 3] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == LONGEST_WAIT
    assert throttle.wait("b") == 0.0
    clock.now += LONGEST_WAIT
    assert throttle.wait("a") == 0.0
    clock.now += FORGET_AFTER
    throttle.failed("a")
    assert throttle.wait("a") == 0.0


def test_addresses_remembered_are_bounded():
    throttle = Throttle(Clock())
    for number in range(ADDRESSES_KEPT + 100):
        throttle.failed(str(number))
    assert len(throttle._failures) == ADDRESSES_KEPT


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("a.localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_which_hosts_are_this_machine(host, own):
    assert is_loopback(host) is own
