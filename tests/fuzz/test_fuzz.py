"""A few hostile inputs for everything that reads what others write, and all that once broke it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.corpus import FOLDER, inputs
from tests.fuzz.targets import TARGETS

KEPT = [(name, path) for name in TARGETS for path in inputs(name)]


@pytest.fixture(autouse=True, scope="module")
def _no_settings_from_outside() -> object:
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("GAPWATCH_"):
                patch.delenv(name)
        yield


@pytest.mark.parametrize(("name", "path"), KEPT, ids=lambda each: str(getattr(each, "name", each)))
def test_what_broke_something_once_breaks_nothing_now(name: str, path: Path) -> None:
    TARGETS[name].run(path.read_bytes())


def test_every_kept_input_has_its_target() -> None:
    assert {folder.name for folder in FOLDER.iterdir()} <= TARGETS.keys()


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_hostile_gets_further_than_it_should(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def run(data: st.DataObject) -> None:
        target.run(data.draw(target.inputs))

    run()
