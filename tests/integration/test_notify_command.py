"""`gapwatch notify test`: a sample goes the way real alerts go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.hook import Hook
from tests.worker import gapwatch


def written(folder: Path, receiver: dict[str, Any], **alerts: str) -> Path:
    """A settings file with one receiver, these `[alerts]`, and no broker to be found."""
    path = folder / "gapwatch.toml"
    lines = []
    for table, given in (("[alerts]", alerts), ("[[receivers]]", receiver)):
        lines += [table, *(f"{name} = {json.dumps(value)}" for name, value in given.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_marked_sample_arrives(tmp_path: Path) -> None:
    received: list[dict[str, Any]] = []
    with Hook(received) as hook:
        config = written(
            tmp_path,
            hook.receiver | {"brands": []},
            page_url="https://page.example/",
            runbook_url="https://w.example/{team}",
        )
        done = gapwatch(config, "notify", "test", "team", "--status", "escalated")
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"team: delivered (answer 204)\n"
    assert received[0]["test"] is True
    alert = received[0]["alert"]
    assert alert["status"] == "escalated"
    assert received[0]["links"] == {
        "page": f"https://page.example/alerts/{alert['id']}",
        "runbook": "https://w.example/Operations",
    }


def test_what_did_not_arrive_is_told_with_its_reason_and_without_the_address(
    tmp_path: Path,
) -> None:
    with Hook([]) as hook:
        hook.status = 410
        config = written(tmp_path, hook.receiver)
        done = gapwatch(config, "notify", "test", "team")
        assert done.returncode == 1
        assert done.stderr == b"gapwatch: team: not delivered: answer 410\n"
        refused = gapwatch(
            written(tmp_path, hook.receiver | {"allow_private": False}), "notify", "test", "team"
        )
    assert refused.returncode == 1
    assert b"its address is a private one" in refused.stderr
    assert b"127.0.0.1" not in refused.stderr


def test_a_receiver_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    config = written(tmp_path, {"name": "team", "kind": "teams", "url": "https://x.example"})
    done = gapwatch(config, "notify", "test", "chat")
    assert done.returncode == 2
    assert b"no receiver is named 'chat' (receivers: team)" in done.stderr
