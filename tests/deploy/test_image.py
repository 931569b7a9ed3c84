"""The image: what its Dockerfile promises, and its steps carried out where no Docker is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import __version__
from pipeline.broker.embedded import EmbeddedBroker
from pipeline.settings import load_settings
from tests.deploy.dockerfile import DOCKERFILE, Scratch, stages
from tests.deploy.tools import REQUIRE_DEPLOY, ROOT, TIMEOUT, run
from tests.worker import wait_until

pytestmark = pytest.mark.timeout(2 * TIMEOUT)  # the first time, tools are fetched

STAGES = stages()
RUNTIME = STAGES["runtime"]

# The root becomes read-only, for this process alone; /mnt stands for a container's own /tmp.
MOUNTS = 'mount -o remount,bind,ro / && mount -t tmpfs tmpfs /mnt && exec "$0" "$@"'
READ_ONLY = ("unshare", "--mount", "--map-root-user", "sh", "-c", MOUNTS)


def test_the_linter_has_nothing_to_say() -> None:
    run([str(Path(sys.executable).with_name("hadolint")), str(DOCKERFILE)])


def test_targets_are_made_of_the_same_runtime() -> None:
    assert STAGES["cpu"].base == STAGES["cuda"].base == "runtime"
    assert RUNTIME.base.endswith("-slim-bookworm")
    assert STAGES["cpu"].all("COPY") == ["--from=build /opt/gapwatch /opt/gapwatch"]
    assert STAGES["cuda"].all("COPY") == ["--from=build-cuda /opt/gapwatch /opt/gapwatch"]
    assert "torch" not in str(STAGES["build"].instructions)
    assert "[torch]" in str(STAGES["build-cuda"].instructions)


def test_it_runs_as_nobody_and_says_what_it_is() -> None:
    uid, gid = RUNTIME.all("USER")[-1].split(":")
    assert int(uid) > 0 and int(gid) > 0
    assert RUNTIME.all("STOPSIGNAL") == ["SIGTERM"]
    assert f"VERSION={__version__}" in RUNTIME.all("ARG")
    labels = " ".join(RUNTIME.all("LABEL"))
    for name in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{name}=" in labels


@pytest.mark.parametrize("target", ["runtime", "cuda"])
def test_what_it_sets_are_settings(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in STAGES[target].environment.items():
        if name.startswith("GAPWATCH_"):
            monkeypatch.setenv(name, value)
    settings = load_settings()
    if target == "runtime":
        assert (settings.web.host, settings.web.port) == ("0.0.0.0", 8600)
        assert RUNTIME.all("EXPOSE") == [str(settings.web.port)]
    else:
        assert settings.model.backend == "torch"


installs = pytest.mark.skipif(
    os.environ.get(REQUIRE_DEPLOY) != "1",
    reason=f"installs the package afresh, a minute; {REQUIRE_DEPLOY}=1 makes it happen",
)


@pytest.fixture(scope="module")
def image() -> Iterator[Scratch]:
    """What the build stage makes, in a folder: a clean environment with the package installed."""
    folder = Path(tempfile.mkdtemp(prefix="gapwatch-image-"))
    try:
        scratch = Scratch(folder)
        scratch.build(STAGES["build"])
        yield scratch
    finally:
        shutil.rmtree(folder)


@installs
def test_the_bill_of_materials_lists_what_is_installed_and_no_torch(image: Scratch) -> None:
    path = Path(image.path("/opt/gapwatch/sbom.cdx.json"))
    label = " ".join(RUNTIME.all("LABEL"))
    assert 'dev.gapwatch.sbom="/opt/gapwatch/sbom.cdx.json"' in label
    bill = json.loads(path.read_text(encoding="utf-8"))
    listed = {component["name"].lower(): component for component in bill["components"]}
    installed = json.loads(
        run([image.path("/opt/gapwatch/bin/pip"), "list", "--format", "json"], cwd="/")
    )
    assert {package["name"].lower() for package in installed} <= set(listed)
    assert {"gapwatch", "aiokafka", "faust-streaming", "onnxruntime"} <= set(listed)
    assert not {"torch", "transformers", "cyclonedx-bom", "pytest"} & set(listed)


@installs
def test_a_worker_starts_is_well_and_stops_with_a_root_it_cannot_write_to(
    image: Scratch, embedded: EmbeddedBroker
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    kafka = embedded.kafka_settings().model_dump(exclude_defaults=True, exclude_none=True)
    environment = {
        **RUNTIME.environment,
        "TMPDIR": "/mnt",
        "PATH": f"{image.path('/opt/gapwatch/bin')}:/usr/sbin:/usr/bin:/sbin:/bin",
        "GAPWATCH_WEB__PORT": port,
        "GAPWATCH_CONFIG": str(ROOT / "deploy" / "gapwatch.compose.toml"),
        "GAPWATCH_BRANDS_FILE": str(ROOT / "pipeline" / "sample" / "brands.toml"),
        "GAPWATCH_GROUP": "image",
        **{f"GAPWATCH_KAFKA__{name.upper()}": str(value) for name, value in kafka.items()},
        "GAPWATCH_KAFKA__TOPIC_PREFIX": "image",
    }
    command = [*READ_ONLY, *RUNTIME.command("ENTRYPOINT"), *RUNTIME.command("CMD")]
    check = json.loads(RUNTIME.all("HEALTHCHECK")[-1].partition("CMD ")[2])

    def healthy() -> bool:
        assert worker.poll() is None, log.read_text()
        return not subprocess.run(
            check, env=environment, cwd="/", capture_output=True, check=False
        ).returncode

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return True
        except OSError:
            return False

    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            worker = subprocess.Popen(
                command, env=environment, cwd="/", stdout=output, stderr=subprocess.STDOUT
            )
        try:
            wait_until(healthy, "a worker that is well")
            wait_until(ready, "a worker that is ready")
            worker.send_signal(getattr(signal, RUNTIME.all("STOPSIGNAL")[-1]))
            assert worker.wait(30) == 0, log.read_text()
            assert "Read-only file system" not in log.read_text()
        finally:
            worker.kill()
            worker.wait()
