"""The whole flow, composed: which agent reads what, and what it sends where.

    events ─▶ classify ─▶ mentions ─┬▶ score  ─▶ scores, hours
                │                   └▶ detect ─▶ alerts ─▶ notify ─▶ receivers
                └▶ rejected

An agent knows the topics it reads and writes, never another agent.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import faust
import msgspec
from yarl import URL

from models.classifier import Classifier
from models.registry import load_classifier
from pipeline import __version__
from pipeline.agents.base import attach, attach_in_two_steps
from pipeline.agents.classify import Classify
from pipeline.agents.detect import Detect
from pipeline.agents.notify import Notify
from pipeline.agents.score import Scores, Voices
from pipeline.broker.client import client_options
from pipeline.domain.alerts import decode_state, latest
from pipeline.domain.buckets import Bucket, further
from pipeline.domain.deliveries import Delivery, merged
from pipeline.domain.erasures import Erasures
from pipeline.domain.privacy import Privacy
from pipeline.domain.repeats import Block, fuller
from pipeline.domain.silences import Orders
from pipeline.ends import Ends
from pipeline.following import Follower, taker
from pipeline.metrics import Metrics
from pipeline.producer import Producer
from pipeline.progress import Progress
from pipeline.receivers import Receiver, receiver_from
from pipeline.records import Acknowledgement, Erasure, Score, Silence
from pipeline.settings import Settings
from pipeline.streaming import App, StateTable
from pipeline.topics import CHANGELOGS, changelog_topic, partitions_of
from pipeline.web.api import Api
from pipeline.web.feed import TopicFeed
from pipeline.web.ingest import Ingest
from pipeline.web.server import WebServer
from pipeline.web.view import LiveView

log = logging.getLogger("gapwatch")

T = TypeVar("T")

CLASSIFYING: Final = 2
"""Chunks classified at once: one is cleaned and tokenized while the model runs on another."""

SETTLE_SECONDS: Final = 1.0
"""How often alerts are looked at for talk that has died down, and state is shown."""


class Worker:
    """A worker: the Faust application, its agents, and the page it serves."""

    def __init__(self, settings: Settings, classifier: Classifier | None = None) -> None:
        self.settings = settings
        self.classifier = classifier or load_classifier(
            settings.model.name,
            backend=settings.model.backend,
            sessions=settings.model.sessions or None,
        )
        self.metrics = Metrics()
        self.metrics.build.info({"version": __version__, "model": self.classifier.version})
        self.metrics.budget.set(settings.alerts.false_alarms_per_week)
        self.metrics.begin(
            brands=[brand.key for brand in settings.brands],
            receivers=[receiver.name for receiver in settings.receivers],
        )
        self.app = new_app(settings)
        self._options = client_options(settings.kafka)
        self._producer = Producer(self._options, idempotent=settings.kafka.idempotent)
        self._model_thread = ThreadPoolExecutor(CLASSIFYING, thread_name_prefix="model")
        self._receivers: dict[str, Receiver] = {}
        self._tasks: list[asyncio.Task[None]] = []
        # Who is to be forgotten is known before anything is taken in (`_orders_feed`).
        self._erasures = Erasures()
        self._privacy = Privacy(self._erasures, settings.privacy.key())
        self.view = LiveView(self._erasures)
        self._compose()
        self.progress = Progress(self.app, self.metrics, stuck_after=settings.web.stuck_after)
        self.web = WebServer(
            settings.web,
            self.view,
            self.metrics.registry,
            self.progress.health,
            self.progress.ready,
            Api(
                self.view,
                orders=self._orders,
                write=self._write,
                links=settings.alerts.links,
            ),
            self._ingest,
        )

    def _compose(self) -> None:
        settings, app, metrics, producer = self.settings, self.app, self.metrics, self._producer
        partitions = settings.kafka.partitions
        events = app.chunk_topic(settings.topic("events"), settings.kafka.of_events, aligned=True)
        mentions = app.chunk_topic(settings.topic("mentions"), partitions)
        alerts = app.chunk_topic(settings.topic("alerts"), partitions)

        classify = Classify(
            settings,
            producer=producer,
            classifier=self.classifier,
            executor=self._model_thread,
            metrics=metrics,
            partitions=partitions,
            privacy=self._privacy,
            ready=lambda: self._orders_feed.caught_up.wait(),
        )
        classify.table = self._table(
            "repeats", msgspec.json.Decoder(Block).decode, fuller, classify.forget_state
        )
        attach_in_two_steps(app, events, "classify", classify.prepare, classify.finish)

        self._voices = Voices()
        self._scores = scores = Scores(
            settings,
            producer=producer,
            metrics=metrics,
            voices=self._voices,
            history=self.view.history,
            history_known=lambda: self._feed.caught_up.is_set(),
            partitions=partitions,
        )
        scores.table = self._table(
            "buckets", msgspec.json.Decoder(Bucket).decode, further, scores.forget_state
        )
        attach(app, mentions, "score", scores.handle)

        self._orders = orders = Orders()
        self._orders_feed = Follower(
            "detect",
            consumer_options=self._options,
            takers={
                settings.topic("silences"): taker(Silence, orders.hear_silence),
                settings.topic("acknowledgements"): taker(
                    Acknowledgement, orders.hear_acknowledgement
                ),
                settings.topic("erasures"): taker(Erasure, self._forget),
            },
        )
        self._detect = detect = Detect(
            settings,
            producer=producer,
            metrics=metrics,
            partitions=partitions,
            orders=orders,
            erasures=self._erasures,
            ready=self._orders_feed.caught_up.wait,
        )
        detect.table = self._table("series", decode_state, latest, detect.forget_state)
        attach(app, mentions, "detect", detect.handle)

        self._notify = notify = Notify(
            settings, receivers=self._receivers, metrics=metrics, erasures=self._erasures
        )
        notify.table = self._table(
            "deliveries", msgspec.json.Decoder(Delivery).decode, merged, notify.forget_state
        )
        attach(app, alerts, "notify", notify.handle)

        self._ends = Ends(consumer_options=self._options, topics=app.chunked)
        app.ends = self._ends.known

        self._feed = TopicFeed(
            self.view,
            consumer_options=self._options,
            scores=settings.topic("scores"),
            hours=settings.topic("hours"),
            expectations=settings.topic("expectations"),
            deliveries=changelog_topic(settings, "deliveries"),
            alerts=settings.topic("alerts"),
            mentions=settings.topic("mentions"),
            on_score=self._hear,
        )
        self._ingest = Ingest(settings, producer=producer, metrics=metrics, privacy=self._privacy)

    async def _write(self, topic: str, key: str, record: msgspec.Struct) -> None:
        """Write what somebody asked for on the page."""
        await self._producer.send_keyed(
            self.settings.topic(topic),
            self.settings.kafka.partitions,
            [(key.encode(), msgspec.json.encode(record))],
        )

    def _forget(self, erasure: Erasure) -> None:
        self._erasures.hear(erasure)
        if self._orders_feed.caught_up.is_set():  # else once, for all that stand in the topic
            self.view.forget_authors()

    def _hear(self, score: Score) -> None:
        self._voices.hear(score)
        self._detect.hear(score)

    def _table(
        self,
        name: str,
        decode: Callable[[bytes], T],
        merge: Callable[[T, T], T],
        on_change: Callable[[], None],
    ) -> StateTable[T]:
        return StateTable(
            self.app,
            name=name,
            source=self.settings.topic(CHANGELOGS[name]),
            partitions=partitions_of(self.settings, name),
            producer=self._producer,
            decode=decode,
            encode=msgspec.json.Encoder().encode,
            merge=merge,
            on_change=on_change,
        )

    async def start(self) -> None:
        """Start everything; returns when the worker has joined the group.

        Raises:
            WebError: The page's port cannot be had.
            KafkaError: The broker went away.
        """
        settings = self.settings
        for receiver in settings.receivers:
            self._receivers[receiver.name] = receiver_from(receiver, settings.alerts.links)
        await self.web.start()
        await self._producer.start()
        await self._feed.start()
        await self._orders_feed.start()
        await self._ends.start()
        self._tasks = [asyncio.create_task(self._heed_erasures())]
        await self._notify.start(self.app.crash)
        await self.app.start()
        self._tasks += [
            asyncio.create_task(self._every(settings.score.publish_every, self._scores.publish)),
            asyncio.create_task(self._every(SETTLE_SECONDS, self._detect.settle)),
            asyncio.create_task(self._every(SETTLE_SECONDS, self._notify.forget_authors)),
            asyncio.create_task(self._every(SETTLE_SECONDS, self._show)),
        ]

    async def stop(self) -> None:
        """Finish the chunk at hand, commit, and stop everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._ingest.close()
        await self._notify.stop()
        await self.app.stop()
        await self._feed.stop()
        await self._orders_feed.stop()
        await self._ends.stop()
        await self._producer.stop()
        await self.web.stop()
        for receiver in self._receivers.values():
            await receiver.close()
        self._model_thread.shutdown()
        self.classifier.close()

    @property
    def crash_reason(self) -> BaseException | None:
        """What stopped the worker, if anything did."""
        reason: BaseException | None = self.app.crash_reason if self.app.crashed else None
        return reason

    async def _heed_erasures(self) -> None:
        """Once it is known who is to be forgotten, show them no more and take events over HTTP."""
        await self._orders_feed.caught_up.wait()
        self.view.forget_authors()
        self._ingest.open()

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` again and again; its failure is the worker's."""
        while True:
            await asyncio.sleep(seconds)
            if not self.app.ready:
                continue
            try:
                await work()
            except Exception as error:
                log.critical("stopping the worker: %s", error, exc_info=error)
                await self.app.crash(error)
                return

    async def _show(self) -> None:
        self.progress.look()
        self.view.on_status(self.status())

    def status(self) -> dict[str, Any]:
        """What the page's header shows."""
        progress = self.progress
        return {
            "version": __version__,
            "model": self.classifier.version,
            "events": progress.events,
            "mentions": progress.mentions,
            "rejected": progress.rejected,
            "classified_per_second": progress.rate,
            "lag": progress.lag,
            "uptime_seconds": time.monotonic() - progress.started,
            "brands": {
                brand.key: {"name": brand.name, "rivals": list(brand.rivals)}
                for brand in self.settings.brands
            },
        }


def new_app(settings: Settings) -> App:
    """The Faust application: its group, broker and time limits."""
    kafka = settings.kafka
    servers = [f"kafka://{server.strip()}" for server in kafka.bootstrap_servers.split(",")]
    return App(
        settings.group,
        broker=[URL(server) for server in servers],
        broker_credentials=_credentials(settings),
        broker_max_poll_records=settings.model.batch,
        broker_session_timeout=kafka.session_timeout,
        broker_heartbeat_interval=kafka.session_timeout / 4,
        broker_commit_interval=1.0,
        consumer_auto_offset_reset="earliest",
        topic_disable_leader=True,
        topic_allow_declare=False,  # they exist (`pipeline.topics`), and asking takes a right
        topic_partitions=kafka.partitions,
        topic_replication_factor=kafka.replication,
        table_standby_replicas=kafka.standby_replicas,
        stream_recovery_delay=0.0,
        web_enabled=False,
        store="memory://",
        autodiscover=False,
        loghandlers=[],
    )


def _credentials(settings: Settings) -> Any:
    options: Mapping[str, Any] = client_options(settings.kafka)
    protocol = settings.kafka.security_protocol
    context = options.get("ssl_context")
    if protocol == "SSL":
        return faust.SSLCredentials(context)
    if protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return None
