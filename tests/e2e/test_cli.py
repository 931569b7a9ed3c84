"""The command as a user types it."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from models.evaluation import Evaluation
from models.explain import Explanation
from models.labels import HEADS
from pipeline.settings import KafkaSettings, load_settings
from tests.worker import WorkerProcess, as_lines, gapwatch, read_topic, wait_until, write_config

ROOT = Path(__file__).parents[2]
BRANDS = [{"key": "acme", "name": "Acme"}, {"key": "apex", "name": "Apex", "rivals": ["acme"]}]


def command(*args: str, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
    """`gapwatch` without a settings file."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *args],
        input=stdin,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, **env},
        timeout=120,
        check=False,
    )


def test_help_names_every_command_and_every_command_explains_itself() -> None:
    told = command("--help").stdout.decode()
    for name in (
        "run",
        "demo",
        "send",
        "sample",
        "classify",
        "evaluate",
        "scores",
        "alerts",
        "silence",
        "acknowledge",
        "snooze",
        "topics",
        "check",
    ):
        assert f"\n  {name} " in told
        assert command(name, "--help").returncode == 0


def test_version_names_the_model_and_what_it_stands_on() -> None:
    told = command("version").stdout.decode()
    assert told.startswith("gapwatch 0.")
    assert "\nmodel minilm" in told
    assert "\nfaust-streaming 0." in told


class TestClassify:
    def test_texts_and_json_lines_come_out_in_input_order(self) -> None:
        texts = [
            "My parcel is three weeks late and nobody answers. Never again.",
            '{"text": "Better than I ever expected, the crew went out of their way. Thank you!"}',
            "",
            "🎉🎉🎉",
            "Wann wird das endlich geliefert?",
            "x" * 120_000,
        ]
        result = command("classify", stdin="\n".join(texts).encode())
        assert result.returncode == 0, result.stderr.decode()
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert len(lines) == len(texts)
        for labels in lines:
            assert set(labels) - {"abstained", "lang"} == set(HEADS)
            for name, values in HEADS.items():
                assert labels[name]["label"] in values
                assert set(labels[name]["probabilities"]) == set(values)
                assert sum(labels[name]["probabilities"].values()) == pytest.approx(1, abs=0.01)
        assert lines[0]["gap"]["label"] == "negative"
        assert lines[0]["sentiment"]["label"] == "negative"
        assert lines[1]["sentiment"]["label"] == "positive"
        assert lines[2]["abstained"] == "empty"
        assert (lines[4]["abstained"], lines[4]["lang"]) == ("language", "de")

    def test_json_without_a_text_is_named_by_its_line(self) -> None:
        result = command("classify", stdin=b'fine\n{"txt": "no"}\n')
        assert result.returncode == 2
        assert b"line 2" in result.stderr

    def test_bytes_that_are_no_text_still_get_an_answer(self) -> None:
        result = command("classify", stdin=b"\xff\xfe\x00 caf\xe9\n")
        assert result.returncode == 0
        assert len(result.stdout.splitlines()) == 1


class TestExplain:
    TEXTS = b"The food is disgusting \x1b[2J\nWann wird das endlich geliefert?\n"

    def test_words_stand_beside_the_labels_they_moved(self) -> None:
        told = command("classify", "--explain", stdin=self.TEXTS).stdout.decode()
        assert "\x1b" not in told
        (sentiment,) = [line for line in told.splitlines() if line.startswith("  sentiment")]
        assert sentiment.split()[1] == "negative"
        assert "disgusting +" in sentiment
        assert "  not judged: language de\n" in told

    def test_json_is_typed(self) -> None:
        result = command("classify", "--explain", "--json", stdin=self.TEXTS)
        first, second = (
            msgspec.json.decode(line, type=Explanation) for line in result.stdout.splitlines()
        )
        assert first.influences["sentiment"][0].text == "disgusting"
        assert second.labels.abstained == "language"


class TestEvaluate:
    def test_tables_for_people_and_json_for_programs(self, tmp_path: Path) -> None:
        file = tmp_path / "posts.tsv"
        file.write_text(
            "source\tsentiment\tgap\ttext\n"
            "a\tnegative\tnegative\tMy parcel is three weeks late and nobody answers.\n"
            "b\tpositive\t\tI love it, best phone ever\n",
            encoding="utf-8",
        )
        told = command("evaluate", str(file)).stdout.decode()
        assert told.startswith("2 posts, model ")
        for words in ("sentiment   2 posts", "precision", "→ negative", "probability", "source"):
            assert words in told
        result = command("evaluate", str(file), "--json")
        found = msgspec.json.decode(result.stdout, type=Evaluation)
        assert found.heads["sentiment"].measures.accuracy == 1.0
        assert found.heads["gap"].measures.rows == 1
        assert set(found.heads["sentiment"].sources) == {"a", "b"}

    def test_a_mistake_is_told_in_one_line(self, tmp_path: Path) -> None:
        file = tmp_path / "posts.tsv"
        file.write_text("text\tstage\nlate\tcreate\n", encoding="utf-8")
        result = command("evaluate", str(file))
        assert result.returncode == 2
        assert b"line 2, column stage: 'create' is none of consumption, curation" in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_a_missing_file_is_named() -> None:
    result = command("send", "no-such-file.jsonl")
    assert result.returncode == 2
    assert b"no-such-file.jsonl: cannot be read" in result.stderr


def test_a_variable_that_names_no_setting_is_refused() -> None:
    result = command("check", GAPWATCH_KAFAK__PARTITIONS="3")
    assert result.returncode == 2
    assert b"GAPWATCH_KAFAK__PARTITIONS" in result.stderr


def test_the_example_settings_can_be_used_and_say_the_defaults() -> None:
    example = load_settings(ROOT / "deploy" / "gapwatch.example.toml")
    defaults = load_settings()
    for section in ("kafka", "model", "intake", "score", "alerts", "web"):
        assert getattr(example, section) == getattr(defaults, section)
    assert [brand.key for brand in example.brands] == ["northbikes", "tern"]


def test_check_says_what_is_wrong_and_how_to_mend_it(
    tmp_path: Path, embedded_settings: KafkaSettings
) -> None:
    good = write_config(tmp_path, embedded_settings, brands=BRANDS)
    result = gapwatch(good, "check")
    assert result.returncode == 0, result.stdout.decode()
    assert result.stdout.decode().count("✓") == 7
    nowhere = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    result = gapwatch(write_config(tmp_path, nowhere), "check", "--wait", "0.5")
    assert result.returncode == 1
    told = result.stdout.decode()
    assert "✗ brands: none: add [[brands]]" in told
    assert "✗ broker: no Kafka broker at 127.0.0.1:1" in told
    assert "kafka.bootstrap_servers" in told


def test_running_without_brands_is_refused(
    tmp_path: Path, embedded_settings: KafkaSettings
) -> None:
    result = gapwatch(write_config(tmp_path, embedded_settings), "run")
    assert result.returncode == 2
    assert b"no brands to listen for" in result.stderr


def test_topics_are_created_once_and_listed(tmp_path: Path, broker_settings: KafkaSettings) -> None:
    config = write_config(tmp_path, broker_settings)
    first = gapwatch(config, "topics", "create")
    assert first.returncode == 0
    assert len(first.stdout.splitlines()) == 14
    assert gapwatch(config, "topics", "create").stdout == b""
    listed = gapwatch(config, "topics", "list").stdout.decode()
    assert listed.count(broker_settings.topic_prefix) >= 14
    assert "missing" not in listed


async def test_csv_goes_the_whole_way_to_scores(
    tmp_path: Path, broker_settings: KafkaSettings
) -> None:
    config = write_config(tmp_path, broker_settings, brands=BRANDS)
    published = (datetime.now(UTC) - timedelta(minutes=2)).isoformat()
    rows = io.StringIO()
    writer = csv.writer(rows)
    writer.writerow(["id", "source", "published", "author", "followers", "text"])
    for n in range(40):
        brand = "Acme" if n % 4 else "Apex"
        writer.writerow([f"p{n}", "export", published, f"author{n}", n, f"{brand} is number {n}"])
    file = tmp_path / "posts.csv"
    file.write_text(rows.getvalue(), encoding="utf-8")
    with WorkerProcess(config) as worker:
        worker.ready()
        sent = gapwatch(config, "send", str(file))
        assert sent.returncode == 0, sent.stderr.decode()
        assert b"sent 40 events" in sent.stderr
        worker.handled(40)

        def counted() -> dict[str, dict[str, object]] | None:
            lines = gapwatch(config, "scores", "--json", "--window", "24h").stdout.splitlines()
            scores = {score["brand"]: score for score in map(json.loads, lines)}
            whole = sum(score["mentions"] for score in scores.values()) == 40
            shared = scores.get("apex", {}).get("share_of_voice") == 0.25
            return scores if whole and shared else None

        scores = wait_until(counted, "40 mentions in the scores") or {}
        table = gapwatch(config, "scores").stdout.decode()
        assert b"no open alerts\n" in gapwatch(config, "alerts").stderr
        rejected = await read_topic(worker.settings, "rejected")
        assert worker.stop() == 0
    assert scores["acme"]["mentions"] == 30
    assert scores["acme"]["authors"] == 30
    assert "acme" in table
    assert "24h" in table
    assert rejected == []


def test_events_replayed_by_event_time_take_their_time(
    tmp_path: Path, embedded_settings: KafkaSettings
) -> None:
    config = write_config(tmp_path, embedded_settings, brands=BRANDS)
    start = datetime.now(UTC) - timedelta(hours=1)
    events = [
        {
            "id": f"replay-{n}",
            "source": "t",
            "published": (start + timedelta(minutes=n)).isoformat(),
            "text": "Acme",
        }
        for n in range(4)
    ]
    before = datetime.now(UTC)
    result = gapwatch(config, "send", "-", "--speed", "60", stdin=as_lines(events))
    assert result.returncode == 0
    assert (datetime.now(UTC) - before).total_seconds() >= 3  # three minutes at 60 times life
