"""The demo: broker, worker, sample day and a webhook receiver, from one command.

The worker is the production worker (`gapwatch run`), in a process of its own with settings the
demo writes for it. Only the broker's size and the data are the demo's.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from pipeline.broker import BrokerError
from pipeline.broker.child import Child
from pipeline.broker.client import wait_for_broker
from pipeline.broker.embedded import PARTITIONS, EmbeddedBroker
from pipeline.broker.ports import free_port
from pipeline.sample import sample_brands_path, sample_day
from pipeline.sending import send_events
from pipeline.settings import KafkaSettings, Settings
from pipeline.sources.files import SourceRecord
from pipeline.topics import create_topics

EVENTS: Final = 6000
HOURS: Final = 24.0
READY_SECONDS: Final = 90.0
DRAIN_SECONDS: Final = 20.0


_DECIDED: Final = ("GAPWATCH_KAFKA__", "GAPWATCH_BRANDS_FILE", "GAPWATCH_CONFIG")
"""Variables of what the demo decides itself: its broker and brands are its own."""


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


def run_demo(*, speed: float, port: int, kafka: str | None, once: bool) -> int:
    """Run the demo until Ctrl-C (or the day's end with `once`); returns the exit code."""
    console = Console(highlight=False)
    for name in [name for name in os.environ if name.startswith(_DECIDED)]:
        console.print(f"  {escape(name)} is left aside: the demo has its own")
        del os.environ[name]
    with ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gapwatch-demo-")))
            return asyncio.run(_Demo(console, folder, speed, port, kafka, once).run())
        except (BrokerError, DemoError) as error:
            console.print(f"[red]gapwatch demo:[/] {escape(str(error))}")
            return 2


class _Demo:
    def __init__(
        self,
        console: Console,
        folder: Path,
        speed: float,
        port: int,
        kafka: str | None,
        once: bool,
    ) -> None:
        self._console = console
        self._folder = folder
        self._speed = speed
        self._port = port
        self._kafka = kafka
        self._once = once
        self._started = time.monotonic()
        self._sent = 0
        self._delivered = 0
        self._stop = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        broker: EmbeddedBroker | None = None
        worker: Child | None = None
        receiver = web.AppRunner(self._receiver(), access_log=None)
        try:
            await receiver.setup()
            site = web.TCPSite(receiver, "127.0.0.1", 0)
            await site.start()
            hook = f"http://127.0.0.1:{receiver.addresses[0][1]}/alerts"
            if self._kafka is None:
                broker = EmbeddedBroker()
                broker.start()
                settings = self._settings(broker.kafka_settings(), hook)
                self._step("broker", "embedded, in memory: for a first look, not for production")
            else:
                settings = self._settings(_cluster(self._kafka), hook)
                await wait_for_broker(settings.kafka, say=self._note, timeout=30)
                self._step("broker", self._kafka)
            created = await create_topics(settings, say=lambda _: None)
            self._step("topics", f"{len(created)} created")
            worker = Child(
                [sys.executable, "-m", "pipeline", "-c", str(self._config(settings)), "run",
                 "--log-level", "WARNING"],
                cwd=Path.cwd(),
            )  # fmt: skip
            page = await self._ready(worker, settings)
            self._console.print(f"\n  [bold]Live page: {page}[/]   (Ctrl-C stops everything)\n")
            return await self._play(settings, worker, page)
        finally:
            if worker is not None:
                self._note("stopping the worker")
                await asyncio.to_thread(worker.stop, DRAIN_SECONDS)
            await receiver.cleanup()
            if broker is not None:
                await asyncio.to_thread(broker.stop)
            self._note("stopped")

    def _settings(self, kafka: KafkaSettings, hook: str) -> Settings:
        port = self._port or free_port()
        return Settings(
            kafka=kafka,
            web={"port": port},
            alerts={"page_url": f"http://127.0.0.1:{port}/"},
            receivers=[
                {
                    "name": "demo",
                    "kind": "webhook",
                    "url": hook,
                    "allow_http": True,
                    "allow_private": True,
                }
            ],
            brands_file=sample_brands_path(),
        )

    def _config(self, settings: Settings) -> Path:
        """The settings as the worker's own TOML file, to look at and to borrow from."""
        kafka, receiver = settings.kafka, settings.receivers[0]
        assert receiver.kind == "webhook"
        path = self._folder / "gapwatch.toml"
        path.write_text(
            f"""brands_file = {json.dumps(str(settings.brands_file))}

[kafka]
bootstrap_servers = {json.dumps(kafka.bootstrap_servers)}
topic_prefix = {json.dumps(kafka.topic_prefix)}
partitions = {kafka.partitions}
replication = {kafka.replication}
min_insync_replicas = {kafka.min_insync_replicas}
idempotent = {json.dumps(kafka.idempotent)}
session_timeout = {kafka.session_timeout}

[web]
port = {settings.web.port}

[alerts]
page_url = {json.dumps(settings.alerts.page_url)}

[[receivers]]
name = {json.dumps(receiver.name)}
kind = {json.dumps(receiver.kind)}
url = {json.dumps(receiver.target())}
allow_http = true                 # the demo's own receiver, on this machine
allow_private = true
""",
            encoding="utf-8",
        )
        return path

    async def _ready(self, worker: Child, settings: Settings) -> str:
        page = f"http://127.0.0.1:{settings.web.port}/"
        deadline = time.monotonic() + READY_SECONDS
        async with aiohttp.ClientSession() as http:
            while time.monotonic() < deadline and not self._stop.is_set():
                if not worker.running:
                    raise DemoError(f"the worker did not start. It wrote:\n{worker.output()}")
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with http.get(page + "readyz") as answer:
                        if answer.status == 200:
                            self._step("worker", "model loaded, partitions assigned")
                            return page
                await asyncio.sleep(0.1)
        if self._stop.is_set():
            return page
        raise DemoError(f"the worker was not ready in {READY_SECONDS:g} s:\n{worker.output()}")

    async def _play(self, settings: Settings, worker: Child, page: str) -> int:
        sending = asyncio.create_task(
            send_events(settings, self._day(), speed=self._speed, on_sent=self._on_sent)
        )
        try:
            async with aiohttp.ClientSession() as http:
                while not self._stop.is_set():
                    if not worker.running:
                        self._console.print(f"[red]the worker ended:[/] {escape(worker.output())}")
                        return 1
                    state = await _state(http, page)
                    if state is not None:
                        self._line(state)
                    if sending.done():
                        sending.result()
                        if self._once and state is not None and _done(state, self._sent):
                            return 0
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._stop.wait(), 1.0)
            return 0
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    def _day(self) -> Iterator[SourceRecord]:
        for number, event in enumerate(
            sample_day(end=datetime.now(UTC), events=EVENTS, hours=HOURS), 1
        ):
            published = datetime.fromisoformat(event["published"]).timestamp()
            value = json.dumps(event, ensure_ascii=False).encode()
            yield SourceRecord(event["id"].encode(), value, published, number)

    def _on_sent(self, count: int) -> None:
        self._sent = count

    def _receiver(self) -> web.Application:
        async def alerts(request: web.Request) -> web.Response:
            message = await request.json()
            self._show(message["alert"])
            return web.Response(status=204)

        application = web.Application()
        application.router.add_post("/alerts", alerts)
        return application

    def _show(self, alert: dict[str, Any]) -> None:
        """The alert as the webhook got it; its posts are other people's words, shown as text."""
        self._delivered += 1
        posts = "".join(f"\n  “{post['text']}” — {post['author']}" for post in alert["posts"])
        about = ", ".join(alert.get("touchpoints") or [alert["touchpoint"]])
        text = (
            f"{alert['brand_name']} · {about} · {alert['team']} answers\n"
            f"{alert['seen']} below expectation in {alert['window_minutes']} minutes, "
            f"{alert['expected']} expected, since {alert['onset'][11:16]} UTC; "
            f"{alert['share']:.0%} of the talk{posts}"
        )
        colour = "green" if alert["status"] == "resolved" else "red"
        self._console.print(
            Panel(
                escape(text),
                title=f"webhook received: {alert['status']}",
                border_style=colour,
                title_align="left",
            )
        )

    def _line(self, state: dict[str, Any]) -> None:
        status = state["status"]
        if not status:
            return
        scores = []
        for brand in state["brands"]:
            score = brand["scores"].get("24h")
            if score and score["score"] is not None:
                scores.append(f"{brand['name']} {score['score']:+.0f}")
        open_alerts = sum(alert["status"] != "resolved" for alert in state["alerts"])
        clock = (state["clock"] or "")[11:16]
        self._console.print(
            f"{clock:5} {status['events']:>5} in {status['classified_per_second']:>4.0f}/s "
            f"lag {status['lag']:<3} {' '.join(map(escape, scores))} "
            f"[{'red' if open_alerts else 'green'}]alerts {open_alerts}[/]",
            soft_wrap=True,
        )

    def _step(self, name: str, what: str) -> None:
        elapsed = time.monotonic() - self._started
        self._console.print(f"[green]✓[/] {elapsed:5.1f} s  {name:8} {escape(what)}")

    def _note(self, message: str) -> None:
        self._console.print(f"  {escape(message)}")


def _cluster(address: str) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=address, partitions=PARTITIONS, replication=1, min_insync_replicas=1
    )


async def _state(http: aiohttp.ClientSession, page: str) -> dict[str, Any] | None:
    try:
        async with http.get(page + "api/state", timeout=aiohttp.ClientTimeout(2)) as answer:
            state: dict[str, Any] = await answer.json()
            return state
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None


def _done(state: dict[str, Any], sent: int) -> bool:
    status = state["status"]
    return bool(status and status["lag"] == 0 and status["events"] >= sent)
