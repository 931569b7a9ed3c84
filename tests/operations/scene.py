"""Workers on a broker while events come in, and what an operator does to them meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Self

from pipeline.sending import send_events
from pipeline.settings import KafkaSettings, Settings, load_settings
from pipeline.sources.files import SourceRecord
from tests.faults.checker import Sample, Verdict, check
from tests.faults.feed import BRANDS, feed
from tests.faults.fleet import Fleet
from tests.faults.log import Onlooker
from tests.faults.run import has_topics, sample, until
from tests.hook import Hook
from tests.worker import gapwatch, write_config

LOOK_SECONDS = 0.1

RATE = 50.0
"""Events a second, where a test does not say."""

FEED_SECONDS = 0.25
"""How often they are sent."""


class Scene:
    """A place with topics of its own; an async context manager.

    It looks on and tends its workers all the time.

    Attributes:
        received: What receivers took, in order.
        written: Mentions so far, those written again included.
        silence: Longest time without a new mention while events came in, in seconds.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        seed: int,
        events: int,
        received: list[dict[str, Any]] | None = None,
        **sections: Any,
    ) -> None:
        """Nothing runs yet.

        Args:
            events: How many the seed's six hours have.
            received: Another scene's, where both have the same receiver.
            sections: Settings beside the usual ones.
        """
        self._stack = contextlib.AsyncExitStack()
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self.received = [] if received is None else received
        self._earlier = len(self.received)
        self._hook = Hook(self.received)
        self.receivers = [self._hook.receiver]
        self._kafka = kafka.model_copy(update={"topic_prefix": f"scene-{uuid.uuid4().hex[:12]}"})
        self._sections = sections
        self.events = feed(seed, events, datetime.now(UTC) - timedelta(minutes=5))
        self.samples: list[Sample] = []
        self.silence = 0.0
        self.written = 0
        self._feeding: threading.Thread | None = None
        self._hurry = threading.Event()
        self._watching: asyncio.Task[None] | None = None

    def configure(self, **kafka: Any) -> None:
        """Write the settings file anew, with these settings of Kafka changed."""
        self._kafka = self._kafka.model_copy(update=kafka)
        self.config = write_config(
            self.folder,
            self._kafka,
            **{
                "brands": BRANDS,
                "model": {"batch": 64},
                "alerts": {"min_mentions": 5},
                "receivers": self.receivers,
                **self._sections,
            },
        )
        self.settings: Settings = load_settings(self.config)

    def reset(self, **sections: Any) -> None:
        """Change sections of the settings file."""
        self._sections |= sections
        self.configure()

    async def __aenter__(self) -> Self:
        self._stack.callback(self._folder.cleanup)
        self.configure()
        self._stack.enter_context(self._hook)
        self.fleet = Fleet(self.config)
        self._stack.callback(lambda: self.fleet.kill())
        self._onlooker = await self._stack.enter_async_context(Onlooker(self.settings))
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if error is not None:
            print(self.fleet.output())
        await self._stack.aclose()

    async def start(self, *workers: int, module: tuple[str, ...] = ()) -> None:
        """Add workers and wait until they have partitions and their state.

        Args:
            module: As for `Fleet.add`.
        """
        for number in workers:
            self.fleet.add(number, *([module] if module else []))
        self.fleet.tend()
        for number in workers:
            await self.until(
                lambda n=number: self.fleet.worker(n).get("/readyz")[0] == 200, f"worker {number}"
            )

    async def end(self, *workers: int) -> None:
        """Ask workers to end, and wait until they have."""
        for number in workers:
            self.fleet.remove(number)
        for number in workers:
            process = self.fleet.worker(number).process
            assert await asyncio.to_thread(process.wait, 60) == 0, self.fleet.output()

    def feed(self, rate: float = RATE, count: int | None = None) -> None:
        """Begin to send the next events, at so many a second, until there are no more.

        Args:
            count: How many, at most.
        """
        self._hurry.clear()
        self._feeding = threading.Thread(
            target=self._feed, args=(islice(self.events, count), rate), daemon=True
        )
        self._feeding.start()

    def _feed(self, events: Iterator[SourceRecord], rate: float) -> None:
        sent, began = 0, time.monotonic()
        while True:
            due = int((time.monotonic() - began) * rate) - sent
            batch = list(islice(events, None if self._hurry.is_set() else due))
            if not batch and due:
                return
            asyncio.run(send_events(self.settings, batch))
            sent += len(batch)
            self._hurry.wait(FEED_SECONDS)

    @property
    def feeding(self) -> bool:
        """Whether events are coming in."""
        return self._feeding is not None and self._feeding.is_alive()

    async def fed(self, *, hurry: bool = True) -> None:
        """Wait until all events have come in, or send what is left at once."""
        assert self._feeding is not None
        if hurry:
            self._hurry.set()
        await asyncio.to_thread(self._feeding.join)

    async def rest(self, patience: float = 60.0) -> float:
        """Send what is left to send, and wait until all is handled; returns how long that took."""
        if self.feeding:
            await self.fed()
        began = time.monotonic()
        topics = [self.settings.topic(name) for name in ("events", "mentions", "alerts")]

        async def handled() -> bool:
            return await self._onlooker.behind(topics) == 0

        await until(handled, self.fleet, "the workers to have handled all", patience)
        return time.monotonic() - began

    async def behind(self, topic: str) -> int:
        """Records of one of our topics that wait to be handled."""
        return await self._onlooker.behind([self.settings.topic(topic)])

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition holds that is asked for in a thread."""

        async def holds() -> bool:
            return bool(await asyncio.to_thread(condition))

        await until(holds, self.fleet, what)

    async def run(self, *command: str, config: Path | None = None) -> tuple[int, str]:
        """Type `gapwatch COMMAND`; returns its exit code and what it said."""
        done = await asyncio.to_thread(gapwatch, config or self.config, *command)
        return done.returncode, done.stderr.decode()

    async def check(self, recounted: Mapping[int, int] | None = None) -> Verdict:
        """End the workers and check that all holds, and that nothing was announced twice.

        Args:
            recounted: As for `check`.
        """
        codes = await asyncio.to_thread(self.fleet.stop)
        assert not self.fleet.crashes, "\n".join(self.fleet.crashes)
        assert set(codes) <= {0, -9}, f"{codes}\n{self.fleet.output()}"
        delivered = [message["id"] for message in self.received]
        verdict = await check(
            self.settings,
            self.samples,
            delivered[self._earlier :],
            earlier=delivered[: self._earlier],
            recounted=recounted,
        )
        assert not verdict.problems, "\n".join(verdict.problems)
        assert verdict.lost == verdict.double == 0
        twice = [id_ for id_, count in Counter(delivered).items() if count > 1]
        assert not twice, f"announced twice: {twice}"
        return verdict

    async def _watch(self) -> None:
        """Tend the workers, sample what is committed, and notice how long nothing comes of it."""
        await until(
            lambda: has_topics(self._onlooker, (self.settings.topic("mentions"),)),
            self.fleet,
            "the topics",
        )
        news = time.monotonic()
        while True:
            self.fleet.tend()
            seen = await sample(self._onlooker, self.settings)
            now = time.monotonic()
            if seen is not None:
                self.samples.append(seen)
                so_far = sum(seen.ends.values())
                if so_far > self.written or not self.feeding:
                    self.written, news = so_far, now
            self.silence = max(self.silence, now - news)
            await asyncio.sleep(LOOK_SECONDS)
