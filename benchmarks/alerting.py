"""Spike to webhook: from the event that makes it one to the alert at a real HTTP receiver."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from aiohttp import web
from aiokafka import AIOKafkaProducer

from benchmarks.saturation import prepare
from benchmarks.worker import BenchmarkError, Worker
from benchmarks.workload import as_json
from pipeline.broker.client import client_options
from pipeline.settings import KafkaSettings, Settings

BRANDS: Final = 24
"""Each spikes once."""

EVERY_SECONDS: Final = 0.1
"""Between two complaints about a brand: so that the one that makes it a spike comes alone."""

MOST_COMPLAINTS: Final = 60
PATIENCE_SECONDS: Final = 30.0

_COMPLAINT: Final = "{brand} said two days. Day {number} and the parcel still never came. Furious."


@dataclass(frozen=True, slots=True)
class AlertRun:
    """Seconds from sending the event that made a spike to the receiver's having the alert."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.seconds)


def run_alerts(folder: Path, kafka: KafkaSettings) -> AlertRun:
    """Let each of some brands spike, one after the other."""
    return asyncio.run(_run(folder, kafka))


async def _run(folder: Path, kafka: KafkaSettings) -> AlertRun:
    arrived: dict[str, tuple[float, int]] = {}
    heard = asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        at = time.time()
        alert = (await request.json())["alert"]
        arrived.setdefault(alert["brand"], (at, alert["seen"]))
        heard.set()
        return web.Response(status=204)

    application = web.Application()
    application.router.add_post("/", take)
    server = web.AppRunner(application)
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    port = server.addresses[0][1]
    brands = folder / "spiking.toml"
    names = [f"Brand{chr(ord('a') + number)}" for number in range(BRANDS)]
    brands.write_text(
        "".join(f'[[brands]]\nkey = "{n.lower()}"\nname = "{n}"\n' for n in names), "utf-8"
    )
    config, settings = await asyncio.to_thread(
        prepare, folder, kafka, model="default", brands_file=brands
    )
    receiver = {
        "name": "here",
        "kind": "webhook",
        "url": f"http://127.0.0.1:{port}/",
        "allow_http": True,
        "allow_private": True,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in receiver.items()]
    with config.open("a", encoding="utf-8") as file:
        file.write("\n".join(["[[receivers]]", *lines]) + "\n")
    try:
        with Worker(config, settings) as worker:
            await asyncio.to_thread(worker.ready)
            seconds = [await _spike(settings, name, arrived, heard) for name in names]
    finally:
        await server.cleanup()
    return AlertRun(tuple(seconds))


async def _spike(
    settings: Settings, name: str, arrived: dict[str, tuple[float, int]], heard: asyncio.Event
) -> float:
    """Complain about a brand until its alert arrives."""
    producer = AIOKafkaProducer(**client_options(settings.kafka), acks="all")
    await producer.start()
    sent: list[float] = []
    try:
        while name.lower() not in arrived and len(sent) < MOST_COMPLAINTS:
            number = len(sent)
            event = {
                "id": f"{name}-{number}",
                "source": "benchmark",
                "published": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z",
                "text": _COMPLAINT.format(brand=name, number=number + 3),
                "actor": {"id": f"author-{number}"},
            }
            sent.append(time.time())
            await producer.send_and_wait(
                settings.topic("events"), as_json(event), key=event["id"].encode()
            )
            await asyncio.sleep(max(0.0, sent[-1] + EVERY_SECONDS - time.time()))
        while name.lower() not in arrived:
            heard.clear()
            await asyncio.wait_for(heard.wait(), PATIENCE_SECONDS)
    except TimeoutError:
        raise BenchmarkError(f"{len(sent)} complaints about {name} raised no alert") from None
    finally:
        await producer.stop()
    at, seen = arrived[name.lower()]
    # All of the window's complaints were counted in order: the last one counted made the spike.
    return at - sent[min(seen, len(sent)) - 1]
