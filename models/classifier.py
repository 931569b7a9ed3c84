"""The contract every classifier backend keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from models.labels import Labels

Backend: TypeAlias = Literal["onnx", "torch"]
"""What runs the network: `onnx`, int8 on the CPU; `torch`, float, on a GPU where there is one."""


class ModelError(Exception):
    """The model's files are missing, corrupt or not ours; the message names file and remedy."""


class Classifier(Protocol):
    """Texts in, labels with calibrated probabilities out.

    A backend may be called from several threads at once. It must give a text the same
    labels whatever the texts around it: a replayed event has to be labelled as it was before.
    """

    @property
    def version(self) -> str:
        """Name and revision of the weights, as carried by every mention."""
        ...

    def classify(self, texts: Sequence[str]) -> list[Labels]:
        """Label `texts`, in order. Never raises for what a text contains.

        Empty texts and other languages come back as an abstention (`Labels.abstained`).
        """
        ...

    def close(self) -> None:
        """Give back threads and memory."""
        ...
