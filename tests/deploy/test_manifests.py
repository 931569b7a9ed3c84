"""The manifests build, satisfy the schemas, and agree with the code and with each other."""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy.kubernetes import USERS
from pipeline.rights import Right, rights
from pipeline.settings import Settings, load_settings
from pipeline.streaming import DRAIN_SECONDS
from pipeline.topics import topic_specs
from tests.deploy.tools import (
    REQUIRE_DEPLOY,
    ROOT,
    TIMEOUT,
    go_tool,
    installed,
    run,
    schemas,
)

installed("go", "it builds the validators", REQUIRE_DEPLOY)
installed("mvn", "it fetches Strimzi's schemas", REQUIRE_DEPLOY)
pytestmark = pytest.mark.timeout(2 * TIMEOUT)  # the first time, tools are fetched

OVERLAYS: Final = ("dev", "production")
Manifest = dict[str, Any]


class Cluster:
    """What an overlay builds."""

    def __init__(self, overlay: str) -> None:
        self.overlay = overlay
        text = run([go_tool("kustomize"), "build", str(ROOT / "k8s" / "overlays" / overlay)])
        self.manifests: list[Manifest] = list(yaml.safe_load_all(text))

    def all(self, kind: str) -> list[Manifest]:
        """Every manifest of a kind."""
        return [manifest for manifest in self.manifests if manifest["kind"] == kind]

    def one(self, kind: str, name: str | None = None) -> Manifest:
        """The manifest of a kind, and of a name where there are several."""
        (found,) = [m for m in self.all(kind) if name in (None, m["metadata"]["name"])]
        return found

    @property
    def pod(self) -> Manifest:
        """The worker's pod."""
        found: Manifest = self.one("Deployment")["spec"]["template"]["spec"]
        return found

    @property
    def worker(self) -> Manifest:
        """The worker's container."""
        (container,) = self.pod["containers"]
        found: Manifest = container
        return found

    @property
    def mounted(self) -> Manifest:
        """The ConfigMap the worker reads its settings from, as the pod names it."""
        (volume,) = [v for v in self.pod["volumes"] if v["name"] == "settings"]
        return self.one("ConfigMap", volume["configMap"]["name"])

    def settings(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
        """What a worker makes of its files and variables."""
        for name, text in self.mounted["data"].items():
            (folder / name).write_text(text, encoding="utf-8")
        for name in os.environ:
            if name.startswith("GAPWATCH_"):
                monkeypatch.delenv(name)
        for variable in self.worker["env"]:
            if "value" in variable:
                monkeypatch.setenv(variable["name"], variable["value"])
        where = Path(os.environ["GAPWATCH_CONFIG"])
        assert where.parent == Path(self.mount("settings"))
        return load_settings(folder / where.name)

    def mount(self, volume: str) -> str:
        """Where a volume is mounted."""
        (path,) = [m["mountPath"] for m in self.worker["volumeMounts"] if m["name"] == volume]
        return str(path)


@pytest.fixture(scope="module", params=OVERLAYS)
def cluster(request: pytest.FixtureRequest) -> Cluster:
    return Cluster(request.param)


@pytest.fixture(scope="module")
def production() -> Cluster:
    return Cluster("production")


@pytest.fixture
def settings(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return cluster.settings(tmp_path, monkeypatch)


def complaints(manifests: list[Manifest], folder: Path) -> str:
    """What kubeconform has to say on manifests; empty where all is well."""
    path = folder / "manifests.yaml"
    path.write_text(yaml.safe_dump_all(manifests), encoding="utf-8")
    try:
        run([go_tool("kubeconform"), "-strict", "-schema-location", schemas(), str(path)])
    except AssertionError as error:
        return str(error)
    return ""


def test_every_manifest_satisfies_its_schema(cluster: Cluster, tmp_path: Path) -> None:
    assert not complaints(cluster.manifests, tmp_path)


def test_a_typo_in_any_kind_of_manifest_is_noticed(production: Cluster, tmp_path: Path) -> None:
    kinds = {manifest["kind"]: manifest for manifest in production.manifests}
    passed = []
    for kind, manifest in kinds.items():
        wrong = copy.deepcopy(manifest)
        wrong.get("spec", wrong)["replica"] = 1
        if not complaints([wrong], tmp_path):
            passed.append(kind)
    assert not passed


def test_topics_are_those_of_the_code(cluster: Cluster, settings: Settings) -> None:
    declared = {topic["spec"]["topicName"]: topic["spec"] for topic in cluster.all("KafkaTopic")}
    wanted = {spec.name: spec for spec in topic_specs(settings)}
    assert declared.keys() == wanted.keys()
    for name, topic in declared.items():
        spec = wanted[name]
        assert (topic["partitions"], topic["replicas"]) == (spec.partitions, spec.replication)
        assert topic["config"] == spec.config
    nodes = cluster.one("KafkaNodePool")["spec"]["replicas"]
    assert all(topic["replicas"] <= nodes for topic in declared.values())


def test_users_may_do_what_the_table_of_rights_says(cluster: Cluster, settings: Settings) -> None:
    declared = {user["metadata"]["name"]: user["spec"] for user in cluster.all("KafkaUser")}
    assert declared.keys() == set(USERS.values())
    for role, name in USERS.items():
        authorization = declared[name]["authorization"]
        assert authorization["type"] == "simple"
        granted = [
            Right(acl["resource"]["type"], acl["resource"]["name"], tuple(acl["operations"]))
            for acl in authorization["acls"]
            if acl["resource"]["patternType"] == "literal"
        ]
        assert granted == rights(role, settings)
        assert len(granted) == len(authorization["acls"])


def test_workers_speak_to_the_cluster_as_it_listens(cluster: Cluster, settings: Settings) -> None:
    kafka, user = cluster.one("Kafka"), cluster.one("KafkaUser", USERS["worker"])
    (listener,) = kafka["spec"]["kafka"]["listeners"]
    name = kafka["metadata"]["name"]
    assert settings.kafka.bootstrap_servers == f"{name}-kafka-bootstrap:{listener['port']}"
    assert listener["tls"]
    assert settings.kafka.security_protocol == "SASL_SSL"
    mechanism = listener["authentication"]["type"]
    assert mechanism == user["spec"]["authentication"]["type"]
    assert settings.kafka.sasl_mechanism.lower() == mechanism
    assert settings.kafka.sasl_username == user["metadata"]["name"]
    for manifest in (
        *cluster.all("KafkaTopic"),
        *cluster.all("KafkaNodePool"),
        *cluster.all("KafkaUser"),
    ):
        assert manifest["metadata"]["labels"]["strimzi.io/cluster"] == name


def test_secrets_are_mounted_by_reference_where_the_settings_look_for_them(
    cluster: Cluster, settings: Settings
) -> None:
    assert not cluster.all("Secret")
    volumes = {volume["name"]: volume.get("secret") for volume in cluster.pod["volumes"]}
    user, kafka = cluster.one("KafkaUser", USERS["worker"]), cluster.one("Kafka")
    assert volumes["kafka"]["secretName"] == user["metadata"]["name"]
    assert volumes["kafka-ca"]["secretName"] == f"{kafka['metadata']['name']}-cluster-ca-cert"
    for volume, path in (
        ("kafka", settings.kafka.sasl_password_file),
        ("kafka-ca", settings.kafka.ssl_cafile),
    ):
        (item,) = volumes[volume]["items"]
        assert str(path) == f"{cluster.mount(volume)}/{item['path']}"


def test_the_page_asks_for_a_token_that_stands_in_a_secret(
    cluster: Cluster, settings: Settings
) -> None:
    found = [v for v in cluster.worker["env"] if v["name"] == "GAPWATCH_WEB__TOKEN"]
    if cluster.overlay == "dev":
        assert not found
        assert settings.web.open
        return
    assert not settings.web.open
    reference = found[0]["valueFrom"]["secretKeyRef"]
    assert reference == {"name": "gapwatch-web", "key": "token"}, "and not optional"
    (endpoint,) = cluster.one("ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"] == reference


def test_a_worker_has_longer_to_end_than_it_takes(cluster: Cluster) -> None:
    assert cluster.pod["terminationGracePeriodSeconds"] >= 2 * DRAIN_SECONDS


def test_probes_ask_for_progress_on_the_port_that_the_worker_opens(
    cluster: Cluster, settings: Settings
) -> None:
    worker = cluster.worker
    (port,) = worker["ports"]
    assert port["containerPort"] == settings.web.port
    assert settings.web.host == "0.0.0.0"
    for probe, path in (
        ("startup", "/healthz"),
        ("liveness", "/healthz"),
        ("readiness", "/readyz"),
    ):
        asked = worker[f"{probe}Probe"]["httpGet"]
        assert asked == {"path": path, "port": port["name"]}
    service = cluster.one("Service")
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]


def test_kubernetes_sets_no_variable_that_the_settings_refuse(cluster: Cluster) -> None:
    assert cluster.pod["enableServiceLinks"] is False


def test_the_pod_is_as_the_restricted_standard_demands(cluster: Cluster) -> None:
    namespace = cluster.one("Namespace")
    enforced = namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert enforced == "restricted"
    assert namespace["metadata"]["name"] == cluster.one("Deployment")["metadata"]["namespace"]
    pod, worker = cluster.pod["securityContext"], cluster.worker["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] > 0
    assert pod["seccompProfile"]["type"] == "RuntimeDefault"
    assert worker["allowPrivilegeEscalation"] is False
    assert worker["capabilities"]["drop"] == ["ALL"]
    assert worker["readOnlyRootFilesystem"] is True
    assert cluster.pod["automountServiceAccountToken"] is False
    kinds = {next(key for key in volume if key != "name") for volume in cluster.pod["volumes"]}
    assert kinds <= {"configMap", "emptyDir", "secret"}


def test_selectors_select_the_workers(cluster: Cluster) -> None:
    deployment = cluster.one("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()

    def selects(selector: dict[str, str]) -> bool:
        return bool(selector) and selector.items() <= labels

    assert selects(deployment["spec"]["selector"]["matchLabels"])
    assert selects(cluster.one("Service")["spec"]["selector"])
    assert selects(cluster.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
    assert selects(cluster.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"])
    for constraint in cluster.pod["topologySpreadConstraints"]:
        assert selects(constraint["labelSelector"]["matchLabels"])


def test_the_network_lets_workers_reach_kafka(cluster: Cluster) -> None:
    (listener,) = cluster.one("Kafka")["spec"]["kafka"]["listeners"]
    ports = [
        port["port"]
        for rule in cluster.one("NetworkPolicy")["spec"]["egress"]
        for port in rule["ports"]
    ]
    assert listener["port"] in ports


def test_images_are_named_by_version(cluster: Cluster) -> None:
    tag = cluster.worker["image"].rpartition(":")[2]
    assert re.fullmatch(r"dev|\d+\.\d+\.\d+", tag)


def test_no_more_workers_than_partitions(
    production: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = production.settings(tmp_path, monkeypatch)
    scaler = production.one("ScaledObject")["spec"]
    assert scaler["maxReplicaCount"] == settings.kafka.partitions
    assert 2 <= scaler["minReplicaCount"] <= scaler["fallback"]["replicas"]
    assert "replicas" not in production.one("Deployment")["spec"], "the scaler's to say"
    assert scaler["scaleTargetRef"]["name"] == production.one("Deployment")["metadata"]["name"]
    (trigger,) = scaler["triggers"]
    asked = trigger["metadata"]
    assert asked["topic"] == settings.topic("events")
    assert asked["consumerGroup"] == settings.group
    assert asked["bootstrapServers"] == settings.kafka.bootstrap_servers
    assert asked["allowIdleConsumers"] == "false"


def test_the_scaler_signs_in_as_somebody_who_may_only_look(production: Cluster) -> None:
    (trigger,) = production.one("ScaledObject")["spec"]["triggers"]
    authentication = production.one("TriggerAuthentication")
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    (named,) = authentication["spec"]["configMapTargetRef"]
    user = production.one("KafkaUser", USERS["scaler"])["metadata"]["name"]
    assert production.one("ConfigMap", named["name"])["data"][named["key"]] == user
    secrets = {ref["parameter"]: ref["name"] for ref in authentication["spec"]["secretTargetRef"]}
    assert secrets == {"password": user, "ca": "kafka-cluster-ca-cert"}


def test_prometheus_finds_the_workers_under_the_job_that_rules_ask_for(
    production: Cluster,
) -> None:
    monitor, service = production.one("ServiceMonitor")["spec"], production.one("Service")
    labels = service["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    assert labels[monitor["jobLabel"]] == "gapwatch"
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    rules = [
        r for group in production.one("PrometheusRule")["spec"]["groups"] for r in group["rules"]
    ]
    assert any('job="gapwatch"' in rule["expr"] for rule in rules)


def test_grafana_finds_the_dashboards(production: Cluster) -> None:
    (dashboards,) = [
        manifest
        for manifest in production.all("ConfigMap")
        if manifest["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
    ]
    assert len(dashboards["data"]) == 3
