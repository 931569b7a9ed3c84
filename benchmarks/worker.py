"""A worker as users run it, in a process of its own, and what it used."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.machine import Cpu, busy_seconds, megabytes, peak_megabytes
from pipeline.broker.child import Child
from pipeline.broker.ports import free_port
from pipeline.sample import sample_brands_path
from pipeline.settings import KafkaSettings, Settings, load_settings

ROOT: Final = Path(__file__).parent.parent

START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 60.0
IDLE_SECONDS: Final = 3.0
_LOOK_EVERY: Final = 1.0
"""Seconds between looks at /metrics: each costs the worker some milliseconds."""


class BenchmarkError(Exception):
    """A measurement cannot be made; the message says why."""


def write_settings(
    folder: Path, kafka: KafkaSettings, *, model: str = "default", brands_file: Path | None = None
) -> tuple[Path, Settings]:
    """A settings file with topics and a group of its own, and what it says."""
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    tables: dict[str, dict[str, Any]] = {
        "kafka": {
            **kafka.model_dump(exclude_none=True, exclude_defaults=True),
            "topic_prefix": prefix,
        },
        "model": {"name": model},
        "web": {"port": free_port()},
    }
    lines = [
        f"group = {json.dumps(prefix)}",
        f"brands_file = {json.dumps(str(brands_file or sample_brands_path()))}",
    ]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    path = folder / f"{prefix}.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path, load_settings(path)


def another(config: Path) -> tuple[Path, Settings]:
    """Settings for one more worker of the same group: only the page's port is another."""
    port = load_settings(config).web.port
    path = config.with_suffix(f".{free_port()}.toml")
    text = config.read_text(encoding="utf-8")
    path.write_text(text.replace(f"port = {port}\n", f"port = {free_port()}\n"), encoding="utf-8")
    return path, load_settings(path)


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment in a worker's life: wall clock, CPU used by it and by all, metrics by then."""

    at: float
    cpu: Cpu
    busy: float
    metrics: dict[str, float]

    def __getitem__(self, name: str) -> float:
        """A metric's value, summed over its labels; 0 where it has none yet."""
        return self.metrics.get(f"gapwatch_{name}", 0.0)


class Worker:
    """A running worker, as a context manager; killed on leaving, which is safe and quick."""

    def __init__(self, config: Path, settings: Settings, *, limit: float | None = None) -> None:
        """Start it.

        Args:
            limit: Posts a second its classifier takes (see `benchmarks.limited`), instead of the
                one in the settings.
        """
        self._url = f"http://127.0.0.1:{settings.web.port}"
        command = ["pipeline", "-c", str(config), "run", "--log-level", "WARNING"]
        if limit is not None:
            command = ["benchmarks.limited", str(config), str(limit)]
        self._child = Child([sys.executable, "-m", *command], cwd=ROOT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._child.kill()

    def kill(self) -> None:
        """End it as a crash would."""
        self._child.kill()

    def stop(self) -> None:
        """Ask it to end, and wait: it leaves its group at once."""
        self._child.stop(STOP_SECONDS)

    def mark(self) -> Mark:
        """This moment."""
        at, cpu, busy = time.time(), self.cpu(), busy_seconds()
        metrics: dict[str, float] = {}
        try:
            told = self._get("/metrics")
        except OSError:
            self._alive()
            raise
        for line in told.decode().splitlines():
            if not line.startswith("#"):
                head, _, value = line.rpartition(" ")
                name = head.partition("{")[0]
                metrics[name] = metrics.get(name, 0.0) + float(value)
        return Mark(at, cpu, busy, metrics)

    def cpu(self) -> Cpu:
        """CPU used so far."""
        self._alive()
        return Cpu.of(self._child.pid)

    def peak_megabytes(self) -> float:
        """The most memory held at once."""
        return peak_megabytes(self._child.pid)

    def megabytes(self) -> float:
        """The memory held now."""
        return megabytes(self._child.pid)

    def ready(self, patience: float = START_SECONDS) -> Mark:
        """Wait until it is ready to work: from here on it is measured."""
        self._wait(self._is_ready, 0.02, patience, "the worker to be ready")
        return self.mark()

    def done(self, finished: Callable[[Mark], bool], patience: float) -> Mark:
        """Wait until its metrics say that it is `finished` and that nothing waits."""
        mark = self.mark()

        def look() -> bool:
            nonlocal mark
            mark = self.mark()
            return finished(mark) and not mark["lag_records"]

        self._wait(look, _LOOK_EVERY, patience, "the worker to finish")
        return mark

    def idle(self) -> Cpu:
        """What a second without events costs it."""
        time.sleep(1.0)
        began, before = time.monotonic(), self.cpu()
        time.sleep(IDLE_SECONDS)
        return (self.cpu() - before) * (1 / (time.monotonic() - began))

    def _is_ready(self) -> bool:
        try:
            self._get("/readyz")
        except OSError:
            return False
        return True

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self._url + path, timeout=30) as answer:
            content: bytes = answer.read()
            return content

    def _alive(self) -> None:
        if not self._child.running:
            raise BenchmarkError(f"the worker ended. It wrote:\n{self._child.output()}")

    def _wait(
        self, condition: Callable[[], bool], pause: float, patience: float, what: str
    ) -> None:
        deadline = time.monotonic() + patience
        while not condition():
            self._alive()
            if time.monotonic() > deadline:
                raise BenchmarkError(f"waited {patience:g} s in vain for {what}")
            time.sleep(pause)
