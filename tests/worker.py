"""A real worker process for tests, and what can be seen of it from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from pipeline.broker.client import client_options
from pipeline.settings import KafkaSettings, Settings, load_settings

T = TypeVar("T")

PATIENCE = 40.0
"""Seconds a test waits for a condition: far more than it takes on a quiet machine."""


def wait_until(condition: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """Wait for `condition` to be true; returns what it gave."""
    deadline = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {patience:g} s in vain for {what}"
        time.sleep(0.05)


def write_config(folder: Path, kafka: KafkaSettings, **sections: Any) -> Path:
    """A settings file for a worker on `kafka`, its group named by the topic prefix."""
    tables: dict[str, Any] = {
        "kafka": kafka.model_dump(exclude_none=True, exclude_defaults=True),
        "web": {"port": 0},
        **sections,
    }
    lines = [f"group = {json.dumps(kafka.topic_prefix)}"]
    for name in [name for name, value in tables.items() if not isinstance(value, dict | list)]:
        lines.append(f"{name} = {json.dumps(tables.pop(name))}")
    for name, table in tables.items():
        for part in table if isinstance(table, list) else [table]:
            lines.append(f"\n[[{name}]]" if isinstance(table, list) else f"\n[{name}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in part.items()]
    path = folder / "gapwatch.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


class WorkerProcess:
    """`gapwatch run` with a settings file, as a context manager: ended on leaving, if need be."""

    def __init__(self, config: Path, command: Sequence[str] = ()) -> None:
        """Start it.

        Args:
            command: What to run instead of `gapwatch run`, without the interpreter.
        """
        self.config = config
        self.settings: Settings = load_settings(config)
        self._log = config.with_suffix(f".{time.monotonic_ns()}.log")
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(command or ("-m", "pipeline", "-c", str(config), "run"))],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=Path(__file__).parent.parent,
                env={**os.environ, "PYTHONWARNINGS": "default"},
            )

    @property
    def output(self) -> str:
        """Everything it has written."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, words: str) -> str:
        """Wait until it has written `words`; returns the line."""

        def line() -> str | None:
            for written in self.output.splitlines():
                if words in written:
                    return written
            assert self.process.poll() is None, f"the worker ended:\n{self.output}"
            return None

        return wait_until(line, f"{words!r} in:\n{self.output}") or ""

    @property
    def url(self) -> str:
        """Address of its page, without a slash at the end."""
        return self.wait_for("live page at ").rpartition(" ")[2].rstrip("/")

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def ready(self) -> Self:
        """Wait until it is ready to work."""
        wait_until(lambda: self.get("/readyz")[0] == 200, "the worker to be ready")
        return self

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric's samples that have `labels`; 0 where there are none."""
        total = 0.0
        for line in self.get("/metrics")[1].decode().splitlines():
            head, _, value = line.rpartition(" ")
            if head.partition("{")[0] == name and all(
                f'{key}="{wanted}"' in head for key, wanted in labels.items()
            ):
                total += float(value)
        return total

    def handled(self, events: int) -> Self:
        """Wait until `events` events are taken or rejected, and nothing waits."""

        def done() -> bool:
            assert self.process.poll() is None, f"the worker ended:\n{self.output}"
            taken = self.metric("gapwatch_events_total") + self.metric("gapwatch_rejected_total")
            return taken >= events and self.metric("gapwatch_lag_records") == 0

        wait_until(done, f"{events} events to be handled")
        return self

    def stop(self, number: int = signal.SIGTERM, patience: float = 30.0) -> int:
        """Send a signal, wait for the end; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if error is not None:
            print(self.output[-4000:])


async def read_topic(
    settings: Settings, topic: str, kind: type[T] | None = None
) -> list[tuple[bytes | None, Any]]:
    """Every record of one of our topics so far, as (key, value), decoded as `kind`."""
    name = settings.topic(topic)
    consumer = AIOKafkaConsumer(
        **client_options(settings.kafka), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(name, n) for n in range(settings.kafka.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found = []
        while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    value = msgspec.json.decode(record.value, type=kind) if kind else record.value
                    found.append((record.key, value))
        return found
    finally:
        await consumer.stop()


def as_lines(events: Iterable[dict[str, Any]]) -> bytes:
    """Events as JSON lines."""
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def gapwatch(config: Path, *args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the `gapwatch` command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline", "-c", str(config), *args],
        input=stdin,
        capture_output=True,
        cwd=Path(__file__).parent.parent,
        timeout=PATIENCE,
        check=False,
    )
