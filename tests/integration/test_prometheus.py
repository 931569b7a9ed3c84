"""A real Prometheus on a live worker: every query of every panel and rule finds its metrics."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import pytest
import yaml

from deploy.kubernetes import RULES
from pipeline.broker.embedded import EmbeddedBroker
from pipeline.sample import sample_brands_path
from tests.deploy.queries import CHOSEN, Query, panel_queries, rule_queries
from tests.deploy.tools import CACHE, debian
from tests.hook import Hook
from tests.worker import WorkerProcess, as_lines, gapwatch, wait_until, write_config

PROGRAM: Final = debian("prometheus", "prometheus")

EVENTS: Final = 2000
BURST: Final = 60

DONE: Final = (
    f"sum(gapwatch_events_total) == {EVENTS + BURST}",
    'sum(gapwatch:gap_mentions_by_team:rate5m{gap="negative"}) > 0',
    "sum(rate(gapwatch_notification_seconds_count[1h])) > 0",
    f'gapwatch_alerts_open{{brand="{CHOSEN["brand"]}"}} > 0',
)
"""What Prometheus has seen when the worker has handled all, told it, and the rules have run."""

EMPTY: Final = {
    "gapwatch-incident: Below expectation against the day and the week before": (
        " offset ",
        "nobody has scraped a day or a week ago",
    ),
}
"""Queries that may find nothing while all is well: where, by which part of theirs, and why."""

TABLE: Final = CACHE / "panels.md"
"""What every query found, for people to read."""


@dataclass
class Prometheus:
    """A Prometheus with the rules of deploy/, on a worker."""

    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        """What the HTTP API answers."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def result(self, expr: str) -> list[dict[str, Any]]:
        """The series an expression gives now."""
        found: list[dict[str, Any]] = self.ask("query", query=expr)["result"]
        return found

    def knows(self, selector: str) -> bool:
        """Whether a metric with these labels has been scraped or recorded."""
        return bool(self.ask("series", **{"match[]": selector}))


@pytest.fixture(scope="module")
def prometheus(
    tmp_path_factory: pytest.TempPathFactory, embedded: EmbeddedBroker
) -> Iterator[Prometheus]:
    """A Prometheus that has scraped a worker through a sample day, an alert and its delivery."""
    folder = tmp_path_factory.mktemp("prometheus")
    kafka = embedded.kafka_settings().model_copy(update={"topic_prefix": "watched"})
    received: list[dict[str, Any]] = []
    with ExitStack() as stack:
        hook = stack.enter_context(Hook(received))
        config = write_config(
            folder,
            kafka,
            brands_file=str(sample_brands_path()),
            receivers=[hook.receiver],
        )
        worker = stack.enter_context(WorkerProcess(config)).ready()
        found = stack.enter_context(Scraping(folder, worker.url))
        wait_until(lambda: found.result("gapwatch_build_info"), "a first scrape")
        for part in (sample_day(config), burst() + b'{"id": 1}\n'):
            sent = gapwatch(config, "send", "-", "--format", "jsonl", stdin=part)
            assert sent.returncode == 0, sent.stderr.decode()
        worker.handled(EVENTS + BURST + 1)
        wait_until(
            lambda: all(found.result(sign) for sign in DONE), "all of it to be scraped and recorded"
        )
        yield found
        assert worker.stop() == 0


def sample_day(config: Path) -> bytes:
    """The sample's day, as the command prints it."""
    return gapwatch(config, "sample", "--events", str(EVENTS)).stdout


def burst() -> bytes:
    """Talk of one brand and touchpoint that leaves an alert open."""
    now = datetime.now(UTC).isoformat()
    return as_lines(
        {
            "id": f"burst-{n}",
            "source": "test",
            "published": now,
            "text": f"@{CHOSEN['brand']} my parcel number {n} never came. Very disappointed.",
            "actor": {"id": f"author-{n}"},
        }
        for n in range(BURST)
    )


class Scraping:
    """Prometheus as deploy/ sets it up, but quick, and on a worker of this machine."""

    def __init__(self, folder: Path, worker: str) -> None:
        settings = yaml.safe_load((RULES.parent / "prometheus.yml").read_text(encoding="utf-8"))
        settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        settings["rule_files"] = [str(RULES / "*.yml")]
        del settings["alerting"]
        (scrape,) = settings["scrape_configs"]
        del scrape["dns_sd_configs"]
        scrape["static_configs"] = [{"targets": [worker.removeprefix("http://")]}]
        config = folder / "prometheus.yml"
        config.write_text(yaml.safe_dump(settings), encoding="utf-8")
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{listener.getsockname()[1]}"
        self._command = [
            PROGRAM,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--log.level=warn",
        ]
        self._log = folder / "prometheus.log"
        self._found = Prometheus(f"http://{address}")

    def __enter__(self) -> Prometheus:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        wait_until(self._is_ready, "Prometheus")
        return self._found

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(30)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text(encoding="utf-8")
        try:
            with urllib.request.urlopen(f"{self._found.url}/-/ready", timeout=5):
                return True
        except OSError:
            return False


def shown(prometheus: Prometheus, query: Query) -> str:
    """What a query finds, in a few words; empty where nothing can be shown.

    NaN is what Prometheus makes of 0 / 0: a panel would show nothing.
    """
    found = prometheus.result(query.tried)
    values = [value for series in found if (value := float(series["value"][1])) == value]
    if not values:
        return ""
    return f"{len(values)} series, {min(values):.4g} to {max(values):.4g}"


@pytest.mark.parametrize("query", list(panel_queries()), ids=lambda query: query.place)
def test_a_panel_shows_something(prometheus: Prometheus, query: Query) -> None:
    part, _ = EMPTY.get(query.place, (None, ""))
    assert shown(prometheus, query) or (part and part in query.expr), query.tried


@pytest.mark.parametrize("query", list(rule_queries()), ids=lambda query: query.place)
def test_a_rule_finds_the_metrics_that_it_asks_for(prometheus: Prometheus, query: Query) -> None:
    if query.rule == "record":
        assert shown(prometheus, query), query.expr
    for selector in query.selectors:
        assert prometheus.knows(selector), selector


def test_every_rule_is_evaluated_and_nothing_that_is_well_is_reported(
    prometheus: Prometheus,
) -> None:
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == {query.place for query in rule_queries()}
    assert {rule["health"] for rule in rules} == {"ok"}, rules
    firing = [rule["name"] for rule in rules if rule.get("state") == "firing"]
    assert not firing


def test_what_every_query_found_is_written_down(prometheus: Prometheus) -> None:
    lines = ["| where | unit | found |", "|---|---|---|"]
    for query in (*panel_queries(), *rule_queries()):
        if query.rule == "alert":
            found = "nothing: all is well" if not shown(prometheus, query) else "is pending"
        else:
            found = shown(prometheus, query) or f"nothing: {EMPTY[query.place][1]}"
        lines.append(f"| {query.place} | {query.unit or query.rule or 'list'} | {found} |")
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
