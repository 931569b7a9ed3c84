"""Writes what docs/ repeats from the code, so that it cannot drift: JSON Schemas of the topics,
and what receivers show.

`python -m docs.generate` writes; with `--check` it changes nothing and fails where a file is old.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from docs.receivers import shown
from pipeline.records import RECORDS, json_schema

FOLDER = Path(__file__).parent


def generated() -> dict[Path, str]:
    """Every generated file with its contents."""
    schemas = {
        FOLDER / "schemas" / f"{topic}.json": json.dumps(json_schema(topic), indent=2) + "\n"
        for topic in RECORDS
    }
    return schemas | {FOLDER / "receivers-shown.md": shown()}


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
