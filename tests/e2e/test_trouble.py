"""What a worker does when things are not as they should be: it says so, and loses nothing."""

from __future__ import annotations

import base64
import json
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from pipeline.broker.client import client_options
from pipeline.broker.embedded import EmbeddedBroker
from pipeline.records import Rejected
from pipeline.settings import KafkaSettings
from tests.conftest import kafka_settings_of
from tests.hook import Hook
from tests.kafka.server import KafkaServer
from tests.worker import WorkerProcess, as_lines, gapwatch, read_topic, wait_until, write_config

BRANDS = [{"key": "acme", "name": "Acme", "handles": ["@acme"]}]


def event(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"event-{number}",
        "source": "test",
        "published": (datetime.now(UTC) - timedelta(minutes=1)).isoformat(),
        "text": f"My Acme parcel number {number} never came. Very disappointed.",
        **fields,
    }


BAD: dict[str, tuple[bytes, str]] = {
    "malformed JSON": (b'{"id": "x", ', "not_json"),
    "wrong types": (json.dumps(event(1, text=["no"])).encode(), "invalid"),
    "no id": (json.dumps({**event(2), "id": None}).encode(), "invalid"),
    "no time": (b'{"id": "x", "source": "test", "text": "Acme"}', "invalid"),
    "not UTF-8": (b'{"id": "\xff"}', "not_utf8"),
    "a megabyte of text": (json.dumps(event(3, text="Acme " * 200_000)).encode(), "too_large"),
    "too long a text": (json.dumps(event(4, text="Acme " * 30_000)).encode(), "invalid"),
    "after it came in": (
        json.dumps(
            event(5, published=(datetime.now(UTC) + timedelta(days=1)).isoformat())
        ).encode(),
        "too_early",
    ),
    "absurd time": (json.dumps(event(6, published="0000-13-99T00:00:00Z")).encode(), "invalid"),
    "unknown type": (json.dumps(event(7, type="Teleport")).encode(), "invalid"),
    "nothing said": (
        json.dumps({k: v for k, v in event(8).items() if k != "text"}).encode(),
        "nothing_said",
    ),
}


async def produce(config_of: WorkerProcess, values: list[bytes]) -> None:
    settings = config_of.settings
    producer = AIOKafkaProducer(**client_options(settings.kafka), max_request_size=8 * 2**20)
    await producer.start()
    try:
        for number, value in enumerate(values):
            await producer.send_and_wait(settings.topic("events"), value, key=str(number).encode())
    finally:
        await producer.stop()


async def test_bad_events_go_whole_to_rejected_and_good_ones_go_on(
    tmp_path: Path, embedded: EmbeddedBroker, broker_settings: KafkaSettings
) -> None:
    config = write_config(
        tmp_path, broker_settings, brands=BRANDS, intake={"max_event_bytes": 900_000}
    )
    good = [json.dumps(event(100 + n)).encode() for n in range(20)]
    with WorkerProcess(config) as worker:
        worker.ready()
        await produce(worker, [raw for raw, _ in BAD.values()] + good)
        worker.handled(len(BAD) + len(good))
        letters = [letter for _, letter in await read_topic(worker.settings, "rejected", Rejected)]
        mentions = await read_topic(worker.settings, "mentions")
        assert worker.metric("gapwatch_rejected_total") == len(BAD)
        assert worker.stop() == 0
    assert len(mentions) == len(good)
    by_bytes = {
        base64.b64decode(letter.event_base64)
        if letter.event_base64
        else (letter.event or "").encode(): letter
        for letter in letters
    }
    for what, (raw, reason) in BAD.items():
        letter = by_bytes[raw]
        assert letter.reason == reason, (what, letter.detail)
        assert letter.detail, what
        assert letter.topic == worker.settings.topic("events")
    assert len({(letter.partition, letter.offset) for letter in letters}) == len(BAD)


async def test_a_worker_that_rejects_nearly_everything_stops_and_says_why(
    tmp_path: Path, broker_settings: KafkaSettings
) -> None:
    config = write_config(tmp_path, broker_settings, brands=BRANDS, model={"name": "null"})
    with WorkerProcess(config) as worker:
        worker.ready()
        sent = gapwatch(config, "send", "-", "--format", "jsonl", stdin=b'{"id": 1}\n' * 1200)
        assert sent.returncode == 0, sent.stderr.decode()
        assert worker.process.wait(60) == 1
        assert "intake.max_reject_share" in worker.output
        assert "'invalid'" in worker.output


def test_a_port_that_is_taken_is_named(tmp_path: Path, embedded_settings: KafkaSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = write_config(
            tmp_path,
            embedded_settings,
            brands=BRANDS,
            model={"name": "null"},
            web={"port": port},
        )
        with WorkerProcess(config) as worker:
            assert worker.process.wait(60) == 2
            assert str(port) in worker.output
            assert "web.port" in worker.output


@pytest.mark.parametrize("damage", ["missing", "corrupt"])
def test_a_model_that_cannot_be_used_is_named(
    tmp_path: Path, embedded_settings: KafkaSettings, damage: str
) -> None:
    folder = tmp_path / "weights"
    if damage == "corrupt":
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    config = write_config(tmp_path, embedded_settings, brands=BRANDS, model={"name": str(folder)})
    with WorkerProcess(config) as worker:
        assert worker.process.wait(60) == 2
        assert str(folder) in worker.output
    checked = gapwatch(config, "check")
    assert checked.returncode == 1
    assert str(folder).encode() in checked.stdout


def test_a_brands_file_with_a_typo_is_explained(tmp_path: Path, embedded: EmbeddedBroker) -> None:
    brands = tmp_path / "brands.toml"
    brands.write_text('[[brands]]\nkey = "acme"\nname = "Acme"\nhandels = ["@acme"]\n')
    config = tmp_path / "gapwatch.toml"
    config.write_text('brands_file = "brands.toml"\n')
    result = gapwatch(config, "run")
    assert result.returncode == 2
    told = result.stderr.decode()
    assert "brands[0].handels: unknown setting" in told
    assert "handles" in told
    assert str(brands) in told


@pytest.mark.kafka
def test_a_broker_that_is_down_is_waited_for_and_one_that_goes_is_caught_up_with(
    tmp_path: Path, kafka_server: KafkaServer
) -> None:
    server = KafkaServer(tmp_path / "kafka")
    events = [event(n) for n in range(400)]
    server.start()
    server.stop()
    config = write_config(tmp_path, kafka_settings_of(server), brands=BRANDS)
    with WorkerProcess(config) as worker:
        worker.wait_for("waiting for Kafka at")
        server.start()
        worker.ready()
        assert gapwatch(config, "send", "-", stdin=as_lines(events[:200])).returncode == 0
        wait_until(lambda: worker.metric("gapwatch_events_total") >= 100, "some events")
        server.kill()
        time.sleep(3)  # an outage has to last some time to be one
        server.start()
        assert gapwatch(config, "send", "-", stdin=as_lines(events[200:])).returncode == 0
        wait_until(
            lambda: (
                sum(
                    json.loads(line)["mentions"]
                    for line in gapwatch(
                        config, "scores", "--json", "--window", "7d"
                    ).stdout.splitlines()
                )
                == 400
            ),
            "all 400 to be counted",
        )
        assert worker.process.poll() is None, worker.output
        assert worker.stop() == 0
    server.stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_commits_and_stops_within_seconds(
    tmp_path: Path, broker_settings: KafkaSettings, number: signal.Signals
) -> None:
    config = write_config(tmp_path, broker_settings, brands=BRANDS, model={"batch": 16})
    with WorkerProcess(config) as worker:
        worker.ready()
        events = [event(n) for n in range(600)]
        assert gapwatch(config, "send", "-", stdin=as_lines(events)).returncode == 0
        wait_until(lambda: worker.metric("gapwatch_events_total") > 0, "work in hand")
        began = time.monotonic()
        assert worker.stop(number) == 0
        assert time.monotonic() - began < 15
        assert "committed" in worker.output
        assert "Traceback" not in worker.output
    with WorkerProcess(config) as again:
        again.ready()
        # What was handled before is not handled again: it was committed.
        again_handled = wait_until(
            lambda: (
                again.metric("gapwatch_lag_records") == 0 and again.metric("gapwatch_events_total")
            ),
            "the rest",
        )
        assert again_handled < 600
        assert again.metric("gapwatch_replayed_total") == 0


def test_a_webhook_that_is_down_gets_the_alert_when_it_is_back(
    tmp_path: Path, broker_settings: KafkaSettings
) -> None:
    received: list[dict[str, Any]] = []
    with Hook(received) as hook:
        hook.status = 503
        config = write_config(
            tmp_path,
            broker_settings,
            brands=BRANDS,
            receivers=[hook.receiver],
        )
        with WorkerProcess(config) as worker:
            worker.ready()
            burst = [event(n, actor={"id": f"author-{n}"}) for n in range(60)]
            assert gapwatch(config, "send", "-", stdin=as_lines(burst)).returncode == 0
            wait_until(lambda: hook.attempts >= 1, "a first attempt")
            wait_until(
                lambda: b"waiting: answer 503" in gapwatch(config, "alerts").stdout,
                "the waiting notification to be shown",
            )
            worker.stop(signal.SIGKILL)
        hook.status = 204
        with WorkerProcess(config) as again:
            wait_until(lambda: received, "the alert")
            assert again.stop() == 0
    assert received[0]["alert"]["brand"] == "acme"


def test_the_demo_shows_an_alert_and_leaves_nothing_behind(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "demo", "--port", "0", "--once", "--speed", "3000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    try:
        output = demo.communicate(timeout=240)[0].decode()
    finally:
        demo.kill()
    assert demo.returncode == 0, output
    assert "webhook received: firing" in output
    assert "Live page: http://127.0.0.1:" in output
    processes = subprocess.run(
        ["ps", "-s", str(demo.pid), "-o", "args="], capture_output=True, check=False
    )
    assert processes.stdout.strip() == b""
