"""An author is forgotten: from a running worker, from one that was away, and for good."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from pipeline import erasing
from pipeline.settings import KafkaSettings, Settings
from pipeline.snapshot import _read_topic
from pipeline.topics import topic_specs
from tests.worker import WorkerProcess, as_lines, gapwatch, read_topic, wait_until, write_config

BRANDS = [{"key": "fernwick", "name": "Fernwick"}]
KEY = "a-key-of-at-least-thirty-two-characters"
WORDS = "zeppelin marmalade"
USUAL = (
    "Fernwick beans every morning, best part of my day",
    "Anyone tried the new Fernwick blend?",
    "Fernwick cafe in town is lovely, warm and quiet",
)


def posts(now: datetime) -> list[dict[str, Any]]:
    """Three hours of usual talk, and a quarter of an hour of complaints; one of them is Mara's."""

    def post(number: int, minutes: float, text: str, author: str, **actor: Any) -> dict[str, Any]:
        return {
            "id": f"p{number}",
            "source": "chirp",
            "published": (now - timedelta(minutes=minutes)).isoformat(),
            "text": text,
            "url": f"https://chirp.example/{author}/{number}",
            "actor": {"id": f"u-{author}", "name": author, **actor},
        }

    usual = [post(n, 195 - n, USUAL[n % 3], f"someone{n}") for n in range(180)]
    angry = [
        post(
            1000 + n,
            14 - n / 4,
            f"my Fernwick parcel number {n} is late again, they promised Tuesday. so disappointed",
            f"angry{n}",
        )
        for n in range(40)
    ]
    hers = post(
        2000,
        8,
        f"{WORDS}: my Fernwick order never arrived, seven calls, nobody answers. broken promise",
        "mara",
        followers=90_000,
    )
    return sorted([*usual, *angry, hers], key=lambda event: str(event["published"]))


async def standing(settings: Settings) -> bytes:
    """The latest value of every key of every compacted topic."""
    found = b""
    for spec in topic_specs(settings):
        if "compact" in spec.config["cleanup.policy"]:
            values = await _read_topic(settings, spec.name, msgspec.Raw)
            found += b"\n".join(key + b" " + bytes(value) for key, value in values.items())
    return found


def names_mara(text: bytes) -> bool:
    return any(word in text for word in (b"mara", WORDS.encode(), b"zeppelin"))


def an_alert_shows_her(worker: WorkerProcess) -> bool:
    return WORDS.encode() in worker.get("/api/alerts")[1]


async def test_an_author_is_forgotten_in_state_alerts_and_page_and_stays_so(
    tmp_path: Path, embedded_settings: KafkaSettings
) -> None:
    config = write_config(tmp_path, embedded_settings, brands=BRANDS)
    events = posts(datetime.now(UTC))
    with WorkerProcess(config) as worker:
        worker.ready()
        assert gapwatch(config, "send", "-", stdin=as_lines(events)).returncode == 0
        worker.handled(len(events))
        wait_until(lambda: an_alert_shows_her(worker), "an alert that shows Mara's post")
        assert names_mara(worker.get("/api/state")[1])
        assert names_mara(await standing(worker.settings))
        mentions = worker.metric("gapwatch_mentions_total")
        (before,) = json.loads(worker.get("/api/alerts")[1])

        done = gapwatch(config, "erase", "chirp:u-mara", "--by", "dpo")
        assert done.returncode == 0, done.stderr.decode()
        assert b"nothing is left" in done.stderr
        assert b"gone from Kafka's files by" in done.stderr
        assert not names_mara(await standing(worker.settings))
        for path in ("/api/state", "/api/alerts"):
            assert not names_mara(worker.get(path)[1]), path
        (after,) = json.loads(worker.get("/api/alerts")[1])
        assert (after["id"], after["posts"] != []) == (before["id"], True)
        assert after["authors"] >= before["authors"]

        again = {**events[-1], "id": "p3000", "actor": {"id": "u-mara", "name": "mara-2"}}
        broken = {**again, "id": "p3001", "published": "now"}
        assert gapwatch(config, "send", "-", stdin=as_lines([again, broken])).returncode == 0
        wait_until(lambda: worker.metric("gapwatch_erased_total") == 1, "her post to be left out")
        wait_until(lambda: worker.metric("gapwatch_rejected_total") == 1, "the other's rejection")
        assert worker.metric("gapwatch_mentions_total") == mentions
        ((_, letter),) = await read_topic(worker.settings, "rejected")
        assert not names_mara(letter)

        (listed,) = gapwatch(config, "erasures", "--json").stdout.splitlines()
        assert not names_mara(listed)
        assert json.loads(listed)["by"] == "dpo"
        assert worker.stop() == 0

    with WorkerProcess(config) as worker:  # restores its state, and reads the newest mentions
        worker.ready()
        wait_until(lambda: worker.get("/api/alerts")[1] != b"[]", "the alert to be shown again")
        wait_until(lambda: b"fernwick" in worker.get("/api/state")[1], "the page to be filled")
        for path in ("/api/state", "/api/alerts"):
            assert not names_mara(worker.get(path)[1]), path
        assert not names_mara(await standing(worker.settings))
        assert worker.stop() == 0


async def test_state_is_cleaned_by_the_next_worker_and_pseudonyms_are_known(
    tmp_path: Path, embedded_settings: KafkaSettings
) -> None:
    secret = tmp_path / "key"
    secret.write_text(KEY)
    config = write_config(
        tmp_path,
        embedded_settings,
        brands=BRANDS,
        privacy={"pseudonym_key_file": str(secret)},
    )
    events = posts(datetime.now(UTC))
    with WorkerProcess(config) as worker:
        worker.ready()
        assert gapwatch(config, "send", "-", stdin=as_lines(events)).returncode == 0
        worker.handled(len(events))
        wait_until(lambda: an_alert_shows_her(worker), "an alert that shows Mara's post")
        # Her words are shown; who she is is nowhere, neither is anybody else.
        settings = worker.settings
        mentions = b"".join(value for _, value in await read_topic(settings, "mentions"))
        for text in (
            worker.get("/api/state")[1], worker.get("/api/alerts")[1], mentions,
            await standing(settings),
        ):  # fmt: skip
            assert WORDS.encode() in text
            assert b"mara" not in text.replace(b"marmalade", b"")
            assert b"angry1" not in text
            assert b"anon-" in text
        assert worker.stop() == 0

    erasure = erasing.erasure_of(settings, "chirp", "u-mara", by="dpo")
    left = await erasing.erase(settings, erasure, say=lambda _: None, patience=0.0)
    assert left.state, "nobody is there to clean it"
    with WorkerProcess(config) as worker:
        worker.ready()
        left = await erasing.erase(settings, erasure, say=lambda _: None)
        assert not left
        assert not names_mara(await standing(settings))
        assert not names_mara(worker.get("/api/state")[1])
        assert worker.stop() == 0


def test_whom_to_forget_must_be_said_in_full(
    tmp_path: Path, embedded_settings: KafkaSettings
) -> None:
    config = write_config(tmp_path, embedded_settings, brands=BRANDS)
    for whom in ("mara", ":mara", "chirp:", "a b:mara"):
        refused = gapwatch(config, "erase", whom, "--by", "dpo")
        assert refused.returncode == 2
        assert b"SOURCE:AUTHOR" in refused.stderr
