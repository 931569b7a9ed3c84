"""Programs that validate what is under deploy/ and k8s/, fetched once and kept.

Go builds kustomize, kubeconform and Compose's own loader; Maven brings what generates Strimzi's
schemas; the other schemas are in Python packages. Where one of them cannot be had, its tests are
skipped, unless `REQUIRE_DEPLOY=1`.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
CACHE: Final = ROOT / ".cache"

REQUIRE_DEPLOY: Final = "REQUIRE_DEPLOY"
"""Set to 1 where a missing tool must fail the run rather than skip its tests."""

REQUIRE_PROMETHEUS: Final = "REQUIRE_PROMETHEUS"
"""The same for Prometheus, Alertmanager and their tools."""

KUBERNETES: Final = "1.33.0"
"""The version whose schemas the manifests must satisfy."""

STRIMZI: Final = "0.51.0"

TIMEOUT: Final = 600
"""Seconds a program may take: building and installing load the network and a cold cache."""

GO_TOOLS: Final = {
    "kustomize": "sigs.k8s.io/kustomize/kustomize/v5@v5.8.1",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0",
    "compose": "github.com/compose-spec/compose-go/v2/cmd@v2.16.2",
}

_BUILTIN: Final = {
    "v1": ("ConfigMap", "Namespace", "Service", "ServiceAccount"),
    "apps/v1": ("Deployment",),
    "networking.k8s.io/v1": ("NetworkPolicy",),
    "policy/v1": ("PodDisruptionBudget",),
}
_STRIMZI_KINDS: Final = {
    "Kafka": "kafka",
    "KafkaNodePool": "nodepool",
    "KafkaTopic": "topic",
    "KafkaUser": "user",
}
_MODELS: Final = {
    "cloudcoil.models.keda.v1alpha1": ("ScaledObject", "TriggerAuthentication"),
    "cloudcoil.models.prometheus_operator.v1": ("ServiceMonitor", "PrometheusRule"),
}


def debian(program: str, package: str) -> str:
    """Path of a program of Prometheus's Debian packages; skips the test where there is none."""
    return installed(program, f"Debian's package {package}", REQUIRE_PROMETHEUS)


def installed(program: str, what: str, variable: str) -> str:
    """Path of a program; skips the test, or the module that asks at its head, where it is missing.

    Args:
        what: What it is, for whoever reads that it is missing.
        variable: Set to 1 in the environment it makes this an error.
    """
    path = shutil.which(program)
    if path is None:
        missing = f"no {program} ({what})"
        assert os.environ.get(variable) != "1", f"{variable}=1, but there is {missing}"
        pytest.skip(f"{missing}; {variable}=1 makes this an error", allow_module_level=True)
    return path


def go_tool(name: str) -> str:
    """Path of a tool built by Go; skips as `installed` does."""
    go = installed("go", "it builds the validators", REQUIRE_DEPLOY)
    module, version = GO_TOOLS[name].rsplit("@", 1)

    def build(folder: Path) -> None:
        run(
            [go, "install", f"{module}@{version}"],
            env={**os.environ, "GOBIN": str(folder), "GOFLAGS": ""},
        )
        (built,) = folder.iterdir()
        built.rename(folder / name)

    return str(_kept(f"{name}-{version}", build) / name)


def schemas() -> str:
    """Where kubeconform finds the schema of each kind of manifest, in its own notation."""
    maven = installed("mvn", "it fetches Strimzi's schemas", REQUIRE_DEPLOY)

    def build(folder: Path) -> None:
        _from_kubernetes(folder)
        _from_strimzi(maven, folder)
        for module, kinds in _MODELS.items():
            for kind in kinds:
                model = getattr(importlib.import_module(module), kind)
                version = model.model_fields["api_version"].default
                _write(folder, version, kind, model.model_json_schema(by_alias=True))

    folder = _kept(f"schemas-{KUBERNETES}-{STRIMZI}", build)
    return f"{folder}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"


def _from_kubernetes(folder: Path) -> None:
    """Kubernetes' own, each made to stand alone: kubeconform would fetch what they refer to."""
    found = find_spec("kubernetes_validate")
    assert found is not None and found.origin is not None
    shelf = Path(found.origin).parent / "kubernetes-json-schema" / f"v{KUBERNETES}-local-strict"

    def read(name: str) -> dict[str, Any]:
        text = (shelf / name).read_text(encoding="utf-8")
        schema: dict[str, Any] = json.loads(text.replace("/api/_definitions.json#", "#"))
        return schema

    shared = read("_definitions.json")["$defs"]
    for version, kinds in _BUILTIN.items():
        for kind in kinds:
            schema = read(_file_of(version, kind))
            del schema["$id"]
            _write(folder, version, kind, {**schema, "$defs": shared})


def _from_strimzi(maven: str, folder: Path) -> None:
    """Strimzi publishes its API as Java classes, and what makes schemas of them."""
    with tempfile.TemporaryDirectory() as scratch:
        jars, pom = Path(scratch) / "jars", Path(__file__).with_name("strimzi.xml")
        run(
            [maven, "--batch-mode", "--no-transfer-progress", "--quiet", "--file", str(pom),
             f"-Dstrimzi.version={STRIMZI}", f"-DoutputDirectory={jars}",
             "dependency:copy-dependencies"]
        )  # fmt: skip
        made = {kind: Path(scratch) / f"{kind}.yaml" for kind in _STRIMZI_KINDS}
        run(
            ["java", "-cp", f"{jars}/*", "io.strimzi.crdgenerator.CrdGenerator", "--yaml",
             "--crd-api-version", "v1",
             *(f"io.strimzi.api.kafka.model.{package}.{kind}={made[kind]}"
               for kind, package in _STRIMZI_KINDS.items())]
        )  # fmt: skip
        for kind, path in made.items():
            spec = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
            for version in spec["versions"]:
                schema = version["schema"]["openAPIV3Schema"]
                _write(folder, f"{spec['group']}/{version['name']}", kind, schema)


def _write(folder: Path, api_version: str, kind: str, schema: dict[str, Any]) -> None:
    path = folder / _file_of(api_version, kind)
    path.write_text(json.dumps(_strict(schema)), encoding="utf-8")


def _file_of(api_version: str, kind: str) -> str:
    """`deployment-apps-v1.json`: the name that kubeconform's notation gives."""
    group, _, version = api_version.rpartition("/")
    return (
        "-".join(part for part in (kind.lower(), group.partition(".")[0], version) if part)
        + ".json"
    )


def _strict(schema: Any) -> Any:
    """The schema without room for fields it does not know: a typo must not pass."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        strict["additionalProperties"] = False
    return strict


def run(command: list[str], **options: Any) -> str:
    """Run a program; returns what it wrote, fails the test with it where it failed."""
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT, check=False, **options
    )
    if result.returncode != 0:
        raise AssertionError(
            f"{Path(command[0]).name} failed ({result.returncode}):\n"
            f"{result.stdout[-6000:]}{result.stderr[-6000:]}"
        )
    return result.stdout


def _kept(name: str, build: Callable[[Path], None]) -> Path:
    """A folder of the cache, built the first time; safe to ask for from several processes."""
    folder = CACHE / name
    CACHE.mkdir(exist_ok=True)
    with _locked(CACHE / f"{name}.lock"):
        if not folder.exists():
            partial = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=CACHE))
            try:
                build(partial)
                # Appears whole or not at all: what was interrupted is begun again.
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return folder


@contextmanager
def _locked(path: Path) -> Any:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
