"""What is generated from code is as the code would write it now."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.generate import ROOT, generated

FILES = generated()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_is_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == FILES[path], "run `make docs`"
