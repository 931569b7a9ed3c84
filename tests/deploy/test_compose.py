"""compose.yaml is what Compose accepts, and its parts find each other."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.generate import DASHBOARD_FOLDER
from pipeline.cli.data import COMMANDS as DATA
from pipeline.cli.work import COMMANDS as WORK
from pipeline.settings import load_settings
from pipeline.streaming import DRAIN_SECONDS
from pipeline.web.access import check_access
from tests.deploy.tools import REQUIRE_DEPLOY, ROOT, TIMEOUT, go_tool, installed, run
from tests.kafka.server import VERSION

installed("go", "it builds the validators", REQUIRE_DEPLOY)
pytestmark = pytest.mark.timeout(2 * TIMEOUT)  # the first time, tools are fetched

DEPLOY = ROOT / "deploy"
Service = dict[str, Any]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The file as Compose itself loads it: interpolated, merged, checked."""
    loaded: dict[str, Any] = json.loads(
        run([go_tool("compose"), "-format", "json", "compose.yaml"], cwd=DEPLOY)
    )
    return loaded


@pytest.fixture(scope="module")
def services(project: dict[str, Any]) -> dict[str, Service]:
    found: dict[str, Service] = project["services"]
    return found


COMMANDS = {command.name for command in (*DATA, *WORK)}


def mounts(service: Service) -> dict[str, Path]:
    """Files and folders of this repository in a container, by where they are there."""
    return {
        volume["target"]: Path(volume["source"])
        for volume in service.get("volumes", ())
        if volume["type"] == "bind"
    }


def test_everything_is_there(services: dict[str, Service]) -> None:
    wanted = {"kafka", "worker", "sender", "prometheus", "alertmanager", "grafana"}
    assert set(services) == wanted


def test_what_is_mounted_exists_and_cannot_be_written(
    project: dict[str, Any], services: dict[str, Service]
) -> None:
    for name, service in services.items():
        for volume in service.get("volumes", ()):
            if volume["type"] == "bind":
                assert Path(volume["source"]).exists(), (name, volume)
                assert volume["read_only"], (name, volume)
    assert Path(project["secrets"]["slack-url"]["file"]).is_file()


def test_images_are_named_by_version(services: dict[str, Service]) -> None:
    for name, service in services.items():
        if "build" not in service:
            assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name


def test_kafka_is_the_one_that_tests_run_on(services: dict[str, Service]) -> None:
    assert services["kafka"]["image"] == f"apache/kafka:{VERSION}"


def test_our_own_images_may_do_nothing_they_need_not(services: dict[str, Service]) -> None:
    for name in ("worker", "sender"):
        service = services[name]
        assert service["read_only"]
        assert service["tmpfs"] == ["/tmp"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_nothing_listens_beyond_this_machine(services: dict[str, Service]) -> None:
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert port["host_ip"] == "127.0.0.1", name


def test_the_worker_is_given_settings_it_accepts(
    services: dict[str, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, kafka = services["worker"], services["kafka"]
    found = mounts(worker)
    for name in os.environ:
        if name.startswith("GAPWATCH_"):
            monkeypatch.delenv(name)
    for name, value in worker["environment"].items():
        where = found.get(value)
        monkeypatch.setenv(name, str(where) if where else value)
    settings = load_settings()
    assert settings.brands
    check_access(settings.web)
    listens = kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert listens == f"PLAINTEXT://{settings.kafka.bootstrap_servers}"
    assert settings.kafka.replication == 1
    # A port of the host for every worker that could have a partition.
    first, last = services["worker"]["ports"][0]["published"].split("-")
    assert int(last) - int(first) + 1 == settings.kafka.partitions


def test_commands_exist(services: dict[str, Service]) -> None:
    (command,) = services["worker"]["command"]
    assert command in COMMANDS
    (line,) = services["sender"]["command"]
    for part in line.split("|"):
        program, subcommand, *_ = part.split()
        assert program == "gapwatch"
        assert subcommand in COMMANDS


def test_a_worker_has_longer_to_end_than_it_takes(services: dict[str, Service]) -> None:
    assert int(services["worker"]["stop_grace_period"].removesuffix("s")) >= 2 * DRAIN_SECONDS


def test_prometheus_finds_workers_and_alertmanager(services: dict[str, Service]) -> None:
    folder = mounts(services["prometheus"])["/etc/prometheus"]
    settings = yaml.safe_load((folder / "prometheus.yml").read_text(encoding="utf-8"))
    (scrape,) = settings["scrape_configs"]
    (found,) = scrape["dns_sd_configs"]
    assert scrape["job_name"] == "gapwatch"
    assert set(found["names"]) <= set(services)
    assert found["port"] == services["worker"]["ports"][0]["target"]
    (managers,) = settings["alerting"]["alertmanagers"]
    (target,) = managers["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert services[host]["ports"][0]["target"] == int(port)


def test_grafana_finds_prometheus_and_the_dashboards(services: dict[str, Service]) -> None:
    found = mounts(services["grafana"])
    provisioning = found["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    host, port = source["url"].removeprefix("http://").split(":")
    assert services[host]["ports"][0]["target"] == int(port)
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "gapwatch.yaml").read_text())[
        "providers"
    ]
    assert found[provider["options"]["path"]] == DASHBOARD_FOLDER
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (DASHBOARD_FOLDER / Path(home).name).is_file()


def test_alertmanager_reads_its_secret_where_it_is_mounted(services: dict[str, Service]) -> None:
    alertmanager = services["alertmanager"]
    (secret,) = alertmanager["secrets"]
    settings = mounts(alertmanager)["/etc/alertmanager"] / "alertmanager.yml"
    wanted = yaml.safe_load(settings.read_text(encoding="utf-8"))["global"]["slack_api_url_file"]
    assert wanted == secret.get("target", f"/run/secrets/{secret['source']}")
