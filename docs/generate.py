"""Writes what docs/ repeats from the code, so that it cannot drift: JSON Schemas of the topics, the
pages of reference with the OpenAPI document, the picture of the flow, and what receivers show.

`python -m docs.generate` writes; with `--check` it changes nothing and fails where a file is old.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from docs.generators import about, api, commands, diagram, metrics, rights, settings, topics
from docs.receivers import shown
from pipeline.records import RECORDS, json_schema
from pipeline.web.openapi import document

FOLDER = Path(__file__).parent


def generated() -> dict[Path, str]:
    """Every generated file with its contents."""
    schemas = {
        FOLDER / "schemas" / f"{topic}.json": json.dumps(json_schema(topic), indent=2) + "\n"
        for topic in RECORDS
    }
    files = schemas | {
        FOLDER / "receivers-shown.md": shown(),
        FOLDER / "images" / "flow.svg": diagram.picture(),
        FOLDER / "reference" / "settings.md": settings.page(),
        FOLDER / "reference" / "commands.md": commands.page(),
        FOLDER / "reference" / "topics.md": topics.page(),
        FOLDER / "reference" / "metrics.md": metrics.page(),
        FOLDER / "reference" / "kafka-rights.md": rights.page(),
        FOLDER / "reference" / "api.md": api.page(),
        FOLDER / "reference" / "openapi.json": json.dumps(document(), indent=2) + "\n",
    }
    texts = {path.relative_to(FOLDER).as_posix(): text for path, text in files.items()}
    return files | {FOLDER / about.PAGE: about.page(texts)}


def bring_up_to_date(files: Mapping[Path, str]) -> int:
    """Write files that are old, or with `--check` only name them; returns the exit code."""
    check = "--check" in sys.argv[1:]
    old = []
    for path, text in files.items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if check:
            old.append(path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(FOLDER.parent))
    for path in old:
        print(f"{path.relative_to(FOLDER.parent)} is not current: run `make docs`", file=sys.stderr)
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(bring_up_to_date(generated()))
