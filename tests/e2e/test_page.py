"""The live page in a real browser: what it shows, how it follows, and that posts stay text."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from prometheus_client import CollectorRegistry

from models.labels import neutral_labels
from pipeline.records import Actor, Alert, Event, GapRate, Mention, Post, Score, Stamp, Term
from pipeline.settings import WebSettings
from pipeline.web.server import WebServer
from pipeline.web.view import LiveView

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
REQUIRED = os.environ.get("REQUIRE_CHROMIUM") == "1"

pytestmark = pytest.mark.skipif(
    not CHROMIUM and not REQUIRED,
    reason="no chromium here: install it, or see the page's tests run in continuous integration",
)

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
REVERSED = "\u202egnihton\u202c \u202etes reven"
SCRIPT_URL = "javascript:document.title='owned'"
BAD_NAME = "<b onmouseover=alert(1)>Lark&amp;foot</b>"


class Browser:
    """A headless Chromium and one page in it, spoken to by the DevTools protocol."""

    def __init__(self, profile: Path) -> None:
        self._profile = profile
        self._ids = itertools.count(1)
        self.complaints: list[str] = []

    async def __aenter__(self) -> Browser:
        assert CHROMIUM, "REQUIRE_CHROMIUM=1, but there is no chromium"
        self._process = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *FLAGS,
            f"--user-data-dir={self._profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._session = aiohttp.ClientSession()
        address = f"http://127.0.0.1:{await self._debugging_port()}/json"
        async with self._session.get(address) as answer:
            pages = [target for target in await answer.json() if target["type"] == "page"]
        self._socket = await self._session.ws_connect(
            pages[0]["webSocketDebuggerUrl"], max_msg_size=0
        )
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._socket.close()
        await self._session.close()
        self._process.terminate()
        await self._process.wait()

    async def _debugging_port(self) -> str:
        told = self._profile / "DevToolsActivePort"
        async with asyncio.timeout(60):
            while not (told.exists() and "\n" in told.read_text()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return told.read_text().split()[0]

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the browser; what the page complains of meanwhile is kept in `complaints`."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json(timeout=30)
            if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(json.dumps(message["params"]))
            if message.get("id") == number:
                return message["result"]

    async def value(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        told = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait for an expression to become true."""
        try:
            async with asyncio.timeout(20):
                while not await self.value(expression):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"never true: {expression}; complaints: {self.complaints}")

    async def text(self, selector: str) -> str:
        return await self.value(f"document.querySelector({json.dumps(selector)}).innerText")

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)
        await self.until("document.getElementById('link')?.textContent === 'Live'")


@pytest.fixture
async def browser(tmp_path):
    async with Browser(tmp_path / "profile") as browser:
        yield browser


@pytest.fixture
def view():
    view = LiveView()
    view.on_feed("live")
    return view


@pytest.fixture
async def server(view):
    server = WebServer(
        WebSettings(port=0), view, CollectorRegistry(), lambda: (True, {}), lambda: (True, {})
    )
    await server.start()
    yield server
    await server.stop()


def score(value: float, *, at: datetime = NOON, few: bool = False, window: str = "1h") -> Score:
    return Score(
        brand="larkfoot",
        window=window,
        as_of=at,
        score=value,
        margin=6.0,
        few=few,
        mentions=40,
        authors=38,
        suggestions=2,
        stages={"consumption": 10, "curation": 10, "creation": 15, "collaboration": 5},
        sentiments={"neutral": 40},
        advocacies={"passive": 40},
        gap=GapRate(40, 0.25, 0.05),
        gap_by_touchpoint={"delivery": GapRate(20, 0.5, 0.1)},
        gap_by_team={},
        share_of_voice=0.62,
    )


def alert(**changed: Any) -> Alert:
    told = {
        "id": "a1",
        "notification": "n1",
        "brand": "larkfoot",
        "brand_name": BAD_NAME,
        "touchpoint": "delivery",
        "team": "Operations",
        "status": "firing",
        "onset": NOON - timedelta(minutes=20),
        "updated": NOON,
        "seen": 41,
        "expected": 2.3,
        "window_minutes": 15,
        "probability": 1e-9,
        "share": 0.3,
        "reach": 1200,
        "peak": 41,
        "posts": (
            Post("p1", "@nell", MARKUP, NOON, 12, SCRIPT_URL),
            Post("p2", REVERSED, "Day nine.", NOON, 0, 'https://social.example/p/2?q="><img>'),
        ),
    }
    return Alert(**(told | changed))


def mention(id: str, text: str, url: str | None = None) -> Mention:
    at = NOON + timedelta(seconds=int(id))
    event = Event(id, "test", at, text=text, actor=Actor("u", MARKUP), url=url)
    return Mention(event, "larkfoot", neutral_labels(), "none", 1.0, "m", Stamp(0, 0), at)


async def test_posts_and_names_stay_text(browser, view, server):
    view.on_status({"brands": {"larkfoot": {"name": BAD_NAME, "rivals": []}}, "model": MARKUP})
    view.on_score(score(31.0))
    view.on_alert(alert())
    view.on_mention(mention("1", MARKUP, SCRIPT_URL))
    view.on_mention(mention("2", REVERSED, "data:text/html,<script>alert(1)</script>"))
    await browser.open(server.url)
    await browser.until("document.querySelectorAll('#feed > li').length === 2")

    assert (
        await browser.value("document.querySelectorAll('main img, main script, main b b').length")
        == 0
    )
    assert await browser.value("document.querySelectorAll('[onerror], [onmouseover]').length") == 0
    assert await browser.value("document.title") == "(1) Gapwatch"
    assert MARKUP in await browser.text("#feed")
    assert MARKUP in await browser.text(".alert blockquote")
    assert BAD_NAME in await browser.text(".alert h3")

    links = await browser.value(
        "[...document.querySelectorAll('main a')].map((a) => [a.protocol, a.rel, a.textContent])"
    )
    assert links == [["https:", "noopener noreferrer nofollow", "social.example"]]
    isolated = "(e) => e.dir === 'auto' && getComputedStyle(e).unicodeBidi === 'isolate'"
    assert await browser.value(f"[...document.querySelectorAll('.words')].every({isolated})")
    assert browser.complaints == []


async def test_what_was_not_judged_says_why(browser, view, server):
    foreign = msgspec.structs.replace(
        mention("1", "Wo bleibt mein Paket von Larkfoot?", None),
        labels=neutral_labels("language", "de"),
    )
    empty = msgspec.structs.replace(mention("2", "…", None), labels=neutral_labels("empty"))
    view.on_mention(foreign)
    view.on_mention(empty)
    await browser.open(server.url)
    await browser.until("document.querySelectorAll('#feed > li').length === 2")
    told = await browser.text("#feed")
    assert "not judged: German" in told
    assert "not judged: nothing to read" in told
    assert browser.complaints == []


async def test_an_alert_says_who_answers_and_how_unusual_it_is(browser, view, server):
    view.on_alert(
        alert(
            brand_name="Larkfoot Shoes",
            severity=7,
            severity_reason="41 where 2.3 are usual",
            unusual="less than once in a hundred years of usual talk",
            changed="12 more posts in 4 minutes",
            terms=(Term("day nine", 14, 5.0), Term("<i>tracking</i>", 9, 4.0)),
            posts=(Post("p1", "@nell", "Day nine.", NOON, 12, alike=41),),
            silenced="cool-down",
            acknowledged="Bo",
        )
    )
    await browser.open(server.url)
    await browser.until("document.querySelector('.alert') !== null")
    told = await browser.text(".alert")
    for words in (
        "Larkfoot Shoes",
        "41 seen in 15 min, expected 2.3",
        "Operations answers for delivery",
        "Firing, severity 7 of 10, 20 min",
        "day nine",
        "<i>tracking</i>",
        "and 41 like it",
        "Since it fired: 12 more posts in 4 minutes",
        "Less than once in a hundred years of usual talk. 41 where 2.3 are usual",
        "Taken on by Bo. Not sent: too soon after one like it.",
        "30 %",
        "1,200",
        "1 in 1 billion",
    ):
        assert words in told
    assert "Larkfoot Shoes, delivery" in await browser.value(
        "document.querySelector('[aria-live=polite]').textContent"
    )


async def test_an_address_with_an_alert_goes_to_it_once_it_is_there(browser, view, server):
    for n in range(9):
        view.on_alert(alert(id=f"other-{n}", notification=f"other-{n}.firing"))
    await browser.open(f"{server.url}/#alert-meant.1")
    view.on_alert(alert(id="meant.1", notification="meant.1.firing"))
    await browser.until("document.activeElement.id === 'alert-meant.1'")
    shown = "document.activeElement.getBoundingClientRect()"
    assert await browser.value(f"{shown}.top >= 0 && {shown}.top < innerHeight")

    over = {"status": "resolved", "updated": NOON + timedelta(hours=1)}
    view.on_alert(alert(id="other-3", notification="other-3.resolved", **over))
    await browser.until("document.querySelector('#resolved-alerts #alert-other-3') !== null")
    await browser.value("location.hash = '#alert-other-3'")
    await browser.until("document.activeElement.id === 'alert-other-3'")
    assert await browser.value("document.getElementById('resolved').open")
    assert await browser.value("document.querySelectorAll('.sought').length") == 1
    assert browser.complaints == []


async def test_changes_arrive_without_reload_and_without_losing_the_selection(
    browser, view, server
):
    view.on_status({"brands": {"larkfoot": {"name": "Larkfoot Shoes"}}})
    view.on_score(score(31.0, few=True))
    view.on_score(score(12.0, window="24h"))
    view.on_mention(mention("1", "First words."))
    await browser.open(server.url)
    await browser.until("document.querySelector('.card .score strong')?.textContent === '+31'")
    assert "few mentions" in await browser.text(".card")
    await browser.value("getSelection().selectAllChildren(document.querySelector('#feed .text'))")

    view.on_score(score(-7.4, at=NOON + timedelta(minutes=7)))
    view.on_mention(mention("2", "Second words."))
    view.on_alert(alert())
    await browser.until("document.querySelector('.card .score strong').textContent === '−7'")
    await browser.until("document.querySelector('#feed .text').textContent === 'Second words.'")
    assert await browser.value("getSelection().toString()") == "First words."
    assert "few mentions" not in await browser.text(".card")
    assert await browser.value("document.querySelectorAll('.alert').length") == 1

    await browser.value("document.querySelector('input[value=\"24h\"]').click()")
    await browser.until("document.querySelector('.card .score strong').textContent === '+12'")
    view.on_alert(alert(status="resolved", updated=NOON + timedelta(hours=1)))
    await browser.until("document.querySelectorAll('.alert').length === 0")
    assert "Resolved lately (1)" in await browser.text("#resolved")
    assert browser.complaints == []


async def test_an_empty_page_says_what_to_do_and_a_lost_worker_is_told(browser, view, server):
    await browser.open(server.url)
    await browser.until("document.getElementById('no-mentions').offsetHeight > 0")
    assert "gapwatch send FILE" in await browser.text("#no-mentions")
    assert "[[brands]]" in await browser.text("#no-brands")
    view.on_feed("lost")
    await browser.until(
        "document.getElementById('notice').innerText.includes('cannot reach Kafka')"
    )
    await server.stop()
    await browser.until("document.getElementById('notice').innerText.includes('does not answer')")


@pytest.mark.parametrize("width", [360, 1600])
async def test_nothing_is_wider_than_the_screen(browser, view, server, width):
    view.on_status({"brands": {"larkfoot": {"name": "L" * 100}}, "events": 10**12, "lag": 10**9})
    view.on_score(score(-100.0))
    view.on_alert(alert(brand_name="L" * 100))
    view.on_mention(mention("1", "w" * 500, "https://" + "h" * 60 + ".example/"))
    await browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=800,
        deviceScaleFactor=1,
        mobile=width < 700,
    )
    await browser.open(server.url)
    await browser.until("document.querySelector('.card') !== null")
    assert await browser.value("document.documentElement.scrollWidth") <= width
