"""Kubernetes manifests that repeat what stands elsewhere: topics and rights of the code, and rules.

The topics are those that a worker with the settings of k8s/base would create itself. Declared, they
are there before it, and it needs no right to create any.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from pipeline.rights import Role, rights
from pipeline.settings import Settings, load_settings
from pipeline.topics import topic_specs

ROOT: Final = Path(__file__).parents[1]
SETTINGS: Final = ROOT / "k8s" / "base" / "gapwatch.toml"
RULES: Final = ROOT / "deploy" / "prometheus" / "rules"
CLUSTER: Final = "kafka"
"""Name of the Strimzi cluster the topics belong to."""

_GENERATED: Final = "# Written by `make docs` from {}; do not edit.\n"


def worker_settings() -> Settings:
    """The settings that workers in a cluster are given."""
    return load_settings(SETTINGS)


def topics_manifest() -> str:
    """A Strimzi `KafkaTopic` for every topic."""
    topics = [
        {
            "apiVersion": "kafka.strimzi.io/v1",
            "kind": "KafkaTopic",
            "metadata": {
                "name": re.sub(r"[^a-z0-9.-]", "-", spec.name.lower()),
                "labels": {"strimzi.io/cluster": CLUSTER},
            },
            "spec": {
                "topicName": spec.name,
                "partitions": spec.partitions,
                "replicas": spec.replication,
                "config": dict(spec.config),
            },
        }
        for spec in topic_specs(worker_settings())
    ]
    return _GENERATED.format("pipeline/topics.py and k8s/base/gapwatch.toml") + _documents(topics)


USERS: Final[Mapping[Role, str]] = {
    "worker": "gapwatch",
    "sender": "gapwatch-sender",
    "reader": "gapwatch-reader",
    "desk": "gapwatch-desk",
    "eraser": "gapwatch-eraser",
    "scaler": "gapwatch-scaler",
}
"""Who signs in to the cluster; the topics are created by Strimzi's own operator."""


def users_manifest() -> str:
    """A Strimzi `KafkaUser` for everybody who signs in."""
    settings = worker_settings()
    users = [
        {
            "apiVersion": "kafka.strimzi.io/v1",
            "kind": "KafkaUser",
            "metadata": {"name": name, "labels": {"strimzi.io/cluster": CLUSTER}},
            "spec": {
                "authentication": {"type": "scram-sha-512"},
                "authorization": {
                    "type": "simple",
                    "acls": [
                        {
                            "resource": {
                                "type": right.kind,
                                "name": right.name,
                                "patternType": "literal",
                            },
                            "operations": list(right.operations),
                        }
                        for right in rights(role, settings)
                    ],
                },
            },
        }
        for role, name in USERS.items()
    ]
    return _GENERATED.format("pipeline/rights.py and k8s/base/gapwatch.toml") + _documents(users)


def rules_manifest() -> str:
    """The rules of deploy/prometheus as a `PrometheusRule`."""
    groups: list[dict[str, Any]] = []
    for path in sorted(RULES.glob("*.yml")):
        groups += yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "gapwatch"},
        "spec": {"groups": groups},
    }
    return _GENERATED.format("deploy/prometheus/rules") + _documents([rule])


def _documents(manifests: list[dict[str, Any]]) -> str:
    return yaml.safe_dump_all(manifests, sort_keys=False, explicit_start=True, width=100)
