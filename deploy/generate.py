"""Writes what is generated from code under deploy/ and k8s/, so that it cannot drift from it.

`python -m deploy.generate` writes; with `--check` it changes nothing and fails where a file is old.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana import DASHBOARDS
from deploy.kubernetes import rules_manifest, topics_manifest, users_manifest
from docs.generate import bring_up_to_date

ROOT = Path(__file__).parents[1]
DASHBOARD_FOLDER = ROOT / "deploy" / "grafana" / "dashboards"
MANIFESTS = {
    ROOT / "k8s" / "kafka" / "topics.yaml": topics_manifest,
    ROOT / "k8s" / "kafka" / "users.yaml": users_manifest,
    ROOT / "k8s" / "monitoring" / "rules.yaml": rules_manifest,
}


def generated() -> dict[Path, str]:
    """Every generated file with its contents."""
    files = {path: manifest() for path, manifest in MANIFESTS.items()}
    for build in DASHBOARDS:
        dashboard = build()
        text = JSONEncoder(sort_keys=True, indent=2).encode(dashboard)
        files[DASHBOARD_FOLDER / f"{dashboard.uid}.json"] = text + "\n"
    return files


if __name__ == "__main__":
    sys.exit(bring_up_to_date(generated()))
