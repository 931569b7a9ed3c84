"""The pages, served from a view that a test fills, and a real Chromium to look at them with."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright
from prometheus_client import CollectorRegistry

from models.labels import STAGES, TOUCHPOINTS, neutral_labels
from pipeline.domain.deliveries import Delivery, Done, Known, Owed
from pipeline.domain.silences import Orders
from pipeline.receivers.links import LinkTemplates
from pipeline.records import (
    Actor,
    Alert,
    Curve,
    Event,
    Expectation,
    GapCount,
    GapRate,
    Hour,
    Mention,
    Post,
    Score,
    Stamp,
    Term,
    Turn,
)
from pipeline.settings import WebSettings
from pipeline.web.api import Api
from pipeline.web.server import WebServer
from pipeline.web.view import LiveView

T = TypeVar("T")

CHROMIUM: Final = shutil.which("chromium") or shutil.which("google-chrome") or ""
REQUIRED: Final = os.environ.get("REQUIRE_CHROMIUM") == "1"

FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

SCREENSHOTS: Final = Path(__file__).parents[2] / "screenshots"
"""Where pictures of the pages are left for people to look at; not part of the repository."""

PATIENCE: Final = 15_000
"""Milliseconds until a page has shown what it was told."""


def launch(playwright: Playwright) -> Browser:
    """The browser of this machine."""
    assert CHROMIUM, "REQUIRE_CHROMIUM=1, but there is no chromium"
    return playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])


class Visit:
    """Somebody looking at the pages, and what the browser complained of meanwhile."""

    def __init__(self, browser: Browser, url: str, **context: Any) -> None:
        self.url = url
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | context)
        self.context.set_default_timeout(PATIENCE)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._heard)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def open(self, path: str = "/") -> Page:
        """Go to a page; returns once it follows the worker."""
        self.page.goto(self.url + path)
        self.page.locator("#link", has_text="Live").wait_for()
        return self.page

    def obstacles(self, *rules: str) -> list[str]:
        """What axe-core finds that keeps people with a disability from using the page.

        Args:
            rules: Those to look for; WCAG 2.2 AA and best practice if none are given.
        """
        self.page.evaluate(AXE_SCRIPT)
        wanted = rules or ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
        found = self.page.evaluate("(wanted) => axe.run({ runOnly: wanted })", list(wanted))
        return [
            f"{each['id']}: {node['target']} {node['failureSummary']}"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    def picture(self, name: str) -> None:
        """Keep a picture of the whole page."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.context.close()


class Site:
    """The web server in a thread of its own; what was written through it is in `written`."""

    def __init__(self, port: int = 0, **settings: Any) -> None:
        self.view = LiveView()
        self.orders = Orders()
        self.written: list[tuple[str, str, msgspec.Struct]] = []
        self.trouble: Exception | None = None
        self.port = port
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        self.tell(lambda: self.view.on_feed("live"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self) -> None:
        """Serve; after `stop` again, on the same port."""

        async def serve() -> None:
            api = Api(
                self.view,
                orders=self.orders,
                write=self._write,
                links=LinkTemplates(
                    dashboard="https://grafana.example/d/incident?var-brand={brand}",
                    runbook="https://wiki.example/{team}/{touchpoint}",
                ),
                wall=lambda: self.view.clock or datetime.now(UTC),
            )
            self.server = WebServer(
                WebSettings(port=self.port, **self._settings),
                self.view,
                CollectorRegistry(),
                lambda: (True, {}),
                lambda: (True, {}),
                api,
            )
            await self.server.start()

        self._run(serve)
        self.port = self.server.port

    def stop(self) -> None:
        """Stop serving."""
        self._run(self.server.stop)

    @property
    def url(self) -> str:
        """Address, without a slash at the end."""
        return self.server.url

    def tell(self, change: Callable[[], T]) -> T:
        """Change the view, where the server reads it."""

        async def do() -> T:
            return change()

        return self._run(do)

    def _run(self, work: Callable[[], Awaitable[T]]) -> T:
        async def go() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(go(), self._loop).result(30)

    async def _write(self, topic: str, key: str, record: msgspec.Struct) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.written.append((topic, key, record))


NOON: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)

NAMES: Final = {
    "larkbasket": {"name": "Larkbasket", "rivals": ["sorrelbox", "brambleday"]},
    "sorrelbox": {"name": "Sorrelbox", "rivals": ["larkbasket", "brambleday"]},
    "brambleday": {"name": "Brambleday", "rivals": ["larkbasket", "sorrelbox"]},
}

ALERT: Final = "larkbasket.delivery.20260302T1124Z"


def busy_week(view: LiveView) -> None:
    """Four weeks of three brands up to Monday noon, and an alert that is open."""
    random = Random(7)  # the same talk every time
    view.on_status(
        {
            "version": "0.1.0",
            "model": "minilm-l6-six-heads-3",
            "brands": NAMES,
            "events": 482_113,
            "rejected": 12,
            "classified_per_second": 36.4,
            "lag": 8,
            "uptime_seconds": 93_600,
        }
    )
    for size, brand in zip((46, 30, 17), NAMES, strict=True):
        for back in range(28 * 24, -1, -1):
            start = NOON - timedelta(hours=back)
            view.on_history(_hour(random, brand, start, size))
            view.on_history(_expectation(brand, start, size))
    for brand in NAMES:
        for window in ("1h", "24h", "7d"):
            last = view.history.course(brand, window=window, hours=1, step=1)[-1]
            mentions = last.mentions * {"1h": 1, "24h": 20, "7d": 140}[window]
            view.on_score(
                score(brand, window, last.score or 0.0, mentions, margin=last.margin or 0.0)
            )
    for past in range(1, 5):
        onset = NOON - timedelta(days=1.3 * past)
        view.on_alert(
            alert(
                id=f"larkbasket.support.{past}",
                touchpoint=("support", "price", "delivery", "all")[past - 1],
                team=("Operations", "Marketing", "Operations", "none")[past - 1],
                status="resolved",
                onset=onset,
                updated=onset + timedelta(minutes=50 * past),
                severity=past + 1,
                peak=14 + past,
                acknowledged="Mara" if past % 2 else None,
            )
        )
    view.on_alert(alert())
    view.on_delivery(
        Delivery(
            alert=ALERT,
            updated=1.0,
            done=[
                Done("brand-team", f"{ALERT}.firing", at(3)),
                Done("on-call", f"{ALERT}.firing", at(3)),
                Done("brand-team", f"{ALERT}.escalated", at(19)),
            ],
            owed=[Owed("wall", alert(), at(19), f"{ALERT}.escalated", trouble="answer 503")],
            known={"brand-team": Known(delivered=True)},
        )
    )
    for n, words in enumerate(SAID):
        view.on_mention(mention(f"m{n}", words, brand=list(NAMES)[n % 3], minutes=-n))


SAID: Final = (
    "Third evening without my order. Nobody answers.",
    "The beetroot was worth the wait, honestly.",
    "So they moved the slot again. That makes four.",
    "adore these recipe cards, so tidy",
    "The app says delivered. My doorstep says otherwise.",
    "price was locked, they said. It was not.",
)


def at(minutes: float) -> float:
    """Epoch seconds, so many minutes after the alert's onset."""
    return (NOON - timedelta(minutes=36) + timedelta(minutes=minutes)).timestamp()


def _hour(random: Random, brand: str, start: datetime, size: int) -> Hour:
    rhythm = 0.35 + 0.65 * max(0.0, 1 - abs(start.hour - 15) / 12)
    mentions = max(1, round(random.gauss(size * rhythm, size / 9)))
    trouble = brand == "larkbasket" and timedelta(0) <= NOON - start < timedelta(hours=2)
    shares = {"delivery": 0.22, "product": 0.3, "price": 0.14, "support": 0.1, "marketing": 0.06}
    gaps = {}
    for name in TOUCHPOINTS:
        talk = round(mentions * shares.get(name, 0.02) * random.uniform(0.7, 1.3))
        if not talk:
            continue
        below = min(talk, round(talk * random.uniform(0.02, 0.4)))
        if trouble and name in ("delivery", "support"):
            below += 24 if name == "delivery" else 6
            talk += below
        gaps[name] = GapCount(talk, below, above=min(talk - below, round(talk * 0.12)))
    weight = mentions * 3_000_000
    annoyed = brand == "larkbasket" and timedelta(0) <= NOON - start < timedelta(hours=7)
    bad = (0.24 if not annoyed else 0.6) + random.uniform(-0.08, 0.08)
    good = {"larkbasket": 0.27, "sorrelbox": 0.33, "brambleday": 0.5}[brand]
    return Hour(
        brand,
        start,
        mentions=mentions,
        weight=weight,
        weight_squared=mentions * 9_000_000**2 // 6,
        promoter=round(weight * (good + random.uniform(-0.07, 0.07))),
        detractor=round(weight * bad),
        authors=mentions,
        suggestions=mentions // 30,
        stages=dict(
            zip(
                STAGES,
                (round(mentions * s) for s in (0.27, 0.36, 0.34, 0.03)),
                strict=True,
            )
        ),
        gaps=gaps,
    )


def _expectation(brand: str, start: datetime, size: int) -> Expectation:
    rhythm = 0.35 + 0.65 * max(0.0, 1 - abs(start.hour - 15) / 12)
    shares = {
        "delivery": 0.045,
        "product": 0.06,
        "price": 0.028,
        "support": 0.02,
        "marketing": 0.009,
    }
    below = {name: round(size * rhythm * share, 3) for name, share in shares.items()}
    return Expectation(
        brand,
        start,
        below=below | {"all": round(sum(below.values()), 3)},
        terms=(Term("third evening", 9, 7.4), Term("slot", 7, 5.1), Term("app", 6, 3.3)),
    )


def score(
    brand: str = "larkbasket",
    window: str = "1h",
    value: float = 31.0,
    mentions: int = 40,
    **changed: Any,
) -> Score:
    told = {
        "brand": brand,
        "window": window,
        "as_of": NOON + timedelta(minutes=1),
        "score": value,
        "margin": 60.0 / mentions**0.5,
        "few": mentions < 30,
        "mentions": mentions,
        "authors": mentions - 2,
        "suggestions": mentions // 30,
        "stages": dict(
            zip(STAGES, (round(mentions * s) for s in (0.27, 0.36, 0.3, 0.07)), strict=True)
        ),
        "sentiments": {"neutral": mentions},
        "advocacies": {"passive": mentions},
        "gap": GapRate(mentions, 0.22, 0.05),
        "gap_by_touchpoint": {
            "product": GapRate(mentions // 3, 0.19, 0.04),
            "delivery": GapRate(mentions // 4, 0.5, 0.1),
            "price": GapRate(mentions // 6, 0.29, 0.0),
        },
        "gap_by_team": {
            "Operations": GapRate(mentions // 2, 0.31, 0.06),
            "Marketing": GapRate(mentions // 6, 0.29, 0.0),
            "none": GapRate(mentions // 3, 0.0, 0.0),
        },
        "share_of_voice": 0.41,
    }
    return Score(**(told | changed))


def alert(**changed: Any) -> Alert:
    onset = NOON - timedelta(minutes=36)
    seen = [0, 1, 0, 0, 1, 0, 2, 0, 1, 0, 0, 1, 1, 0, 2, 1, 0, 1, 0, 2, 1, 0, 1, 1, 0, 2, 1, 0, 1]
    seen += [0, 1, 0, 1, 0, 1, 2, 0, 1, 0, 1, 2, 4, 5, 4, 6, 5, 7, 6, 8, 7, 9, 8, 5]
    told = {
        "id": ALERT,
        "notification": f"{ALERT}.escalated",
        "brand": "larkbasket",
        "brand_name": "Larkbasket",
        "touchpoint": "delivery",
        "team": "Operations",
        "status": "escalated",
        "onset": onset,
        "updated": NOON,
        "seen": 41,
        "expected": 2.3,
        "window_minutes": 15,
        "probability": 1e-9,
        "share": 0.44,
        "usual_share": 0.08,
        "reach": 115_171,
        "peak": 41,
        "severity": 7,
        "severity_reason": "41 where 2.3 are usual; 44% of the talk; growing fast",
        "unusual": "less than once in a hundred years of usual talk",
        "changed": "12 more posts in 4 minutes; severity up from 5 to 7",
        "authors": 87,
        "stages": {"consumption": 2, "curation": 29, "creation": 55, "collaboration": 4},
        "score_before": 12.0,
        "score_now": -14.2,
        "terms": (
            Term("third evening", 19, 7.4),
            Term("slot moved", 14, 6.0),
            Term("no answer", 11, 4.8),
            Term("app", 9, 3.1),
        ),
        "posts": (
            Post("p1", "mara", SAID[0], onset, 959, "https://social.example/p/1", alike=41),
            Post("p2", "theo_weaves7", SAID[2], onset, 307, "https://social.example/p/2", alike=8),
            Post("p3", "bakes_with_elio", SAID[4], onset, 360, "https://social.example/p/3"),
        ),
        "curve": Curve(onset - timedelta(minutes=123), 3, tuple(seen), tuple([0.45] * len(seen))),
        "turns": (
            Turn(onset + timedelta(minutes=3), "firing", 9, 5),
            Turn(onset + timedelta(minutes=19), "escalated", 34, 7),
        ),
    }
    return Alert(**(told | changed))


def mention(
    id: str, text: str, url: str | None = None, *, brand: str = "larkbasket", minutes: float = 0.0
) -> Mention:
    when = NOON + timedelta(minutes=minutes)
    event = Event(id, "test", when, text=text, actor=Actor("u", "nell", 214), url=url)
    return Mention(event, brand, neutral_labels(), "none", 1.0, "m", Stamp(0, 0), when)
