"""Inputs worth keeping: those that once broke something, and those that nearly would."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).with_name("corpus")


def inputs(target: str) -> list[Path]:
    """The kept inputs of a target."""
    return sorted(path for path in (FOLDER / target).glob("*") if path.is_file())


def keep(target: str, raw: bytes) -> Path:
    """Keep an input, named by what is in it."""
    path = FOLDER / target / sha256(raw).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path
