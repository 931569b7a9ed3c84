"""Writes what is generated from code under deploy/ and k8s/, so that it cannot drift from it.

`python -m deploy.generate` writes; with `--check` it changes nothing and fails where a file is old.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana import DASHBOARDS
from deploy.kubernetes import rules_manifest, topics_manifest

ROOT = Path(__file__).parents[1]
DASHBOARD_FOLDER = ROOT / "deploy" / "grafana" / "dashboards"
MANIFESTS = {
    ROOT / "k8s" / "kafka" / "topics.yaml": topics_manifest,
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


def main() -> int:
    """Write or check; returns the exit code."""
    check = "--check" in sys.argv[1:]
    old = []
    for path, text in generated().items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if check:
            old.append(path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(ROOT))
    for path in old:
        print(f"{path.relative_to(ROOT)} is not current: run `make docs`", file=sys.stderr)
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
