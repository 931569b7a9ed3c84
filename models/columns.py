"""Where the values of each head stand among a classifier's outputs."""

from __future__ import annotations

from itertools import accumulate
from typing import Final

from models.labels import HEADS

COLUMNS: Final = sum(len(values) for values in HEADS.values())
"""Outputs per post: the values of all heads side by side, in the order of `HEADS`."""

_ENDS: Final = accumulate(len(values) for values in HEADS.values())
OFFSETS: Final[dict[str, slice]] = {
    head: slice(end - len(values), end)
    for (head, values), end in zip(HEADS.items(), _ENDS, strict=True)
}
"""Head to its columns among the outputs."""
