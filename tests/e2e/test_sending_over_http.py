"""Events over HTTP and a page that asks for its token, with a worker as it runs."""

from __future__ import annotations

import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from docs.blocks import blocks, read
from pipeline.settings import KafkaSettings
from tests.worker import WorkerProcess, wait_until, write_config

PAGE = "how-to/ingest.md"
TOKEN = "page-token-of-some-length"


class Guarded(WorkerProcess):
    """A worker that asks for a token; `metric` and `get` send it."""

    def get(self, path: str, token: str = TOKEN) -> tuple[int, bytes]:
        """As `WorkerProcess.get`."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("openssl")), reason="the page uses curl and openssl"
)
def test_it_goes_as_the_page_says_and_the_page_itself_asks_for_its_own_token(
    tmp_path: Path, embedded_settings: KafkaSettings
) -> None:
    page = list(blocks(PAGE, read(PAGE)))
    for block in page:
        if block.title is not None:
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    prepare, send = (block for block in page if block.commands)
    for command, _ in prepare.commands:
        subprocess.run(["bash", "-ec", command], cwd=tmp_path, check=True)
    (settings,) = (block.text for block in page if block.language == "toml")
    config = write_config(
        tmp_path,
        embedded_settings,
        brands=[{"key": "fernwick", "name": "Fernwick"}],
        model={"name": "null"},
        web={"port": 0, "host": "0.0.0.0", "token": TOKEN},
    )
    own = settings.replace("secrets/", f"{tmp_path}/secrets/")
    config.write_text(config.read_text(encoding="utf-8") + "\n" + own, encoding="utf-8")
    with Guarded(config) as worker:
        worker.ready()
        for command, shown in send.commands:
            done = subprocess.run(
                ["bash", "-ec", command.replace("http://127.0.0.1:8600", worker.url)],
                cwd=tmp_path,
                capture_output=True,
                check=True,
            )
            assert done.stdout.decode() == "\n".join(shown).strip()
        wait_until(lambda: worker.metric("gapwatch_mentions_total") == 2, "the two that are good")
        # The second time they are repeats.
        wait_until(lambda: worker.metric("gapwatch_repeats_total") == 2, "the repeats")
        accepted = {"client": "shop", "outcome": "accepted"}
        assert worker.metric("gapwatch_ingest_events_total", **accepted) == 4

        shop = (tmp_path / "secrets" / "shop").read_text().strip()
        for path in ("/", "/api/state", "/metrics", "/api/stream"):
            assert worker.get(path, token="")[0] == 401, path
            assert worker.get(path, token=shop)[0] == 401, path
        assert worker.get("/", token=TOKEN)[0] == 200
        for path in ("/healthz", "/readyz"):
            assert worker.get(path, token="")[0] == 200, path
        for secret in (TOKEN, shop):
            assert secret not in worker.output
        assert worker.stop() == 0


def test_beyond_loopback_a_worker_does_not_start_without_a_token(
    tmp_path: Path, embedded_settings: KafkaSettings
) -> None:
    config = write_config(
        tmp_path,
        embedded_settings,
        brands=[{"key": "fernwick", "name": "Fernwick"}],
        model={"name": "null"},
        web={"port": 0, "host": "0.0.0.0"},
    )
    with WorkerProcess(config) as worker:
        assert worker.process.wait(60) == 2
        assert "web.open = true" in worker.output
