"""Silences and acknowledgements: from the command line to what is told and what is not."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.sample import sample_brands_path, sample_day
from pipeline.sample.incidents import incidents
from pipeline.settings import KafkaSettings
from tests.hook import Hook
from tests.worker import WorkerProcess, as_lines, gapwatch, wait_until, write_config

BRANDS = [{"key": "acme", "name": "Acme"}]


def listed(config: Path, *command: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gapwatch(config, *command, "--json").stdout.splitlines()]


def onset_of(brand: str, end: datetime) -> datetime:
    """When a brand's incident begins in the sample day that ends then."""
    return next(incident.onset for incident in incidents(end) if incident.brand == brand)


def test_a_silence_is_added_listed_and_ended(
    tmp_path: Path, embedded_settings: KafkaSettings
) -> None:
    config = write_config(tmp_path, embedded_settings, brands=BRANDS)
    added = gapwatch(
        config, "silence", "add", "--brand", "acme", "--touchpoint", "delivery", "--for", "1h30m",
        "--by", "Ann", "--comment", "[red]lorry strike[/]",
    )  # fmt: skip
    assert added.returncode == 0, added.stderr.decode()
    identity = added.stdout.decode().strip()
    (silence,) = listed(config, "silence", "list")
    assert silence["id"] == identity
    assert (silence["brand"], silence["touchpoint"]) == ("acme", "delivery")
    length = datetime.fromisoformat(silence["end"]) - datetime.fromisoformat(silence["start"])
    assert length == timedelta(minutes=90)
    table = gapwatch(config, "silence", "list").stdout.decode()
    assert "acme, delivery" in table
    assert "[red]lorry strike[/]" in table  # shown as it is, not as markup

    assert gapwatch(config, "silence", "expire", identity).returncode == 0
    assert listed(config, "silence", "list") == []
    assert len(listed(config, "silence", "list", "--all")) == 1
    again = gapwatch(config, "silence", "expire", identity)
    assert b"ended at" in again.stderr


def test_what_cannot_be_silenced_is_refused_with_a_reason(
    tmp_path: Path, embedded_settings: KafkaSettings
) -> None:
    config = write_config(tmp_path, embedded_settings, brands=BRANDS)
    by = ("--by", "Ann")
    refused = {
        ("silence", "add", "--for", "1h", *by): b"say what to silence",
        ("silence", "add", "--brand", "acme", *by): b"say how long",
        ("silence", "add", "--brand", "acme", "--for", "soon", *by): b"'soon' is no time",
        ("silence", "add", "--brand", "acem", "--for", "1h", *by): b"no brand's key (acme)",
        ("silence", "add", "--brand", "acme", "--until", "2020-01-01T00:00", *by): b"before it",
        ("silence", "add", "--team", "Operations", "--for", "1h", "--by", "A" * 101): b"written",
        ("acknowledge", "nothing", *by): b"no open alert 'nothing'; open now: none",
        ("snooze", "nothing", "--for", "1h", *by): b"no open alert",
        ("silence", "expire", "nothing"): b"no silence 'nothing'",
    }
    gapwatch(config, "topics", "create")
    for command, reason in refused.items():
        result = gapwatch(config, *command)
        assert result.returncode == 2, command
        assert reason in result.stderr, result.stderr.decode()


def of_sorrelbox(event: dict[str, Any]) -> dict[str, Any]:
    """What is said of Larkbasket, said of Sorrelbox by somebody else."""
    twin: dict[str, Any] = json.loads(
        re.sub(
            "larkbasket",
            lambda name: "sorrelbox" if name[0].islower() else "Sorrelbox",
            json.dumps(event),
            flags=re.IGNORECASE,
        )
    )
    return twin | {"id": f"{event['id']}-twin"}


def test_a_silenced_brand_is_followed_and_not_told_and_an_open_alert_is_taken_on(
    tmp_path: Path, embedded_settings: KafkaSettings
) -> None:
    # Larkbasket's incident began an hour ago; Sorrelbox has the same one, and it is known about.
    now = datetime.now(UTC)
    end = now + (now - onset_of("larkbasket", now)) - timedelta(hours=1)
    events = [
        event
        for ours in sample_day(end=end, events=6000)
        for event in (ours, of_sorrelbox(ours))
        if datetime.fromisoformat(event["published"]) < now
        and ("larkbasket" in str(event).lower()) != ("sorrelbox" in str(event).lower())
    ]
    received: list[dict[str, Any]] = []
    with Hook(received) as hook:
        config = write_config(
            tmp_path,
            embedded_settings,
            brands_file=str(sample_brands_path()),
            receivers=[hook.receiver],
        )
        from_yesterday = (datetime.now(UTC) - timedelta(days=2)).isoformat()
        silenced = gapwatch(
            config, "silence", "add", "--brand", "sorrelbox", "--from", from_yesterday,
            "--until", (datetime.now(UTC) + timedelta(days=1)).isoformat(), "--by", "Ann",
        )  # fmt: skip
        assert silenced.returncode == 0, silenced.stderr.decode()
        with WorkerProcess(config) as worker:
            worker.ready()
            assert gapwatch(config, "send", "-", stdin=as_lines(events)).returncode == 0
            worker.handled(len(events))
            wait_until(lambda: received, "Larkbasket's alert")

            def still_open() -> list[dict[str, Any]]:
                return [a for a in listed(config, "alerts") if a["brand"] == "larkbasket"]

            alert = (wait_until(still_open, "an open alert") or [{}])[0]["id"]
            assert gapwatch(config, "acknowledge", alert, "--by", "Bo").returncode == 0
            assert gapwatch(config, "snooze", alert, "--for", "2h", "--by", "Bo").returncode == 0

            def taken() -> bool:
                found = {a["id"]: a for a in listed(config, "alerts", "--all")}[alert]
                return bool(found.get("acknowledged") == "Bo" and found.get("silenced"))

            wait_until(taken, "the alert to say who has it and that it is snoozed")
            assert "taken on by Bo" in gapwatch(config, "alerts").stdout.decode().replace("\n", "")
            everything = listed(config, "alerts", "--all")
            assert worker.stop() == 0
    ours = [a for a in everything if a["brand"] == "sorrelbox"]
    assert ours
    assert {a["silenced"] for a in ours} == {silenced.stdout.decode().strip()}
    assert "sorrelbox" not in {message["alert"]["brand"] for message in received}
