"""Both backends on the weights that came with the package; torch where it can be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from models.bundle import FLOAT_FILE, packaged_folder
from models.encoder import EncoderClassifier
from models.onnx import OnnxClassifier

REQUIRE_TORCH = "REQUIRE_TORCH"
"""Set to 1 where a missing torch must fail the run rather than leave out its tests."""

_LEFT_OUT = pytest.StashKey[str]()


def _missing() -> str | None:
    """Why the torch backend cannot be tested, if it cannot."""
    if not all(find_spec(name) for name in ("safetensors", "torch", "transformers")):
        return "pip install 'gapwatch[torch]'"
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that need torch where it cannot be, and say so once, not per test."""
    missing = _missing()
    if missing is None or os.environ.get(REQUIRE_TORCH) == "1":
        return
    left_out = [item for item in items if item.get_closest_marker("torch")]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
        config.stash[_LEFT_OUT] = (
            f"SKIPPED [{len(left_out)}] tests of the torch backend: {missing} "
            f"({REQUIRE_TORCH}=1 makes this an error)"
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out."""
    if line := terminalreporter.config.stash.get(_LEFT_OUT, ""):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def onnx() -> Iterator[EncoderClassifier]:
    """The production backend; nothing is remembered, so every answer comes from the model."""
    classifier = OnnxClassifier(sessions=2, cache_posts=0)
    yield classifier
    classifier.close()


@pytest.fixture(scope="session")
def torch() -> Iterator[EncoderClassifier]:
    """The torch backend on the CPU, remembering nothing. Mark its tests `torch`."""
    if not (packaged_folder() / FLOAT_FILE).exists():
        pytest.skip(f"the packaged weights have no {FLOAT_FILE}")
    from models.torch import TorchClassifier

    classifier = TorchClassifier(threads=2, device="cpu", cache_posts=0)
    yield classifier
    classifier.close()


@pytest.fixture(scope="session", params=["onnx", pytest.param("torch", marks=pytest.mark.torch)])
def backend(request: pytest.FixtureRequest) -> EncoderClassifier:
    """Each backend in turn."""
    classifier: EncoderClassifier = request.getfixturevalue(request.param)
    return classifier
