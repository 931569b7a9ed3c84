"""A classifier that judges nothing, to measure what the pipeline costs without a model."""

from __future__ import annotations

from collections.abc import Sequence

from models.labels import Labels, neutral_labels


class NullClassifier:
    """Gives every post the neutral labels."""

    version = "null"

    def __init__(self) -> None:
        self._labels = neutral_labels()

    def classify(self, texts: Sequence[str]) -> list[Labels]:
        """The same neutral labels for each of `texts`."""
        return [self._labels] * len(texts)

    def close(self) -> None:
        """Nothing to give back."""
