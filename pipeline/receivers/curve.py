"""The counts around an alert as a picture: a line of text, or a small PNG.

The PNG is drawn and written here: a line and an area on a transparent ground need no drawing
library, only the dozen lines by which PNG wraps zlib (https://www.w3.org/TR/png-3/). Colours are of
middling lightness, legible on a light and on a dark ground.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.records import Curve

BARS: Final = "▁▂▃▄▅▆▇█"
MAX_BARS: Final = 40

WIDTH: Final = 640
HEIGHT: Final = 180
_FINER: Final = 2
"""Drawn so many times as large and averaged down, which smooths the edges."""

_SEEN: Final = (217, 63, 60)
_EXPECTED: Final = (120, 136, 160)
_INK: Final = (128, 134, 142)

_MARGIN: Final = 16
_BELOW: Final = 24

Plane = NDArray[np.float32]


def sparkline(curve: Curve) -> str:
    """What was seen, as bars; a longer curve is summed to `MAX_BARS` at most."""
    seen = _coarser(curve.seen, MAX_BARS)
    most = max(max(seen, default=0), 1)
    return "".join(BARS[round(count / most * (len(BARS) - 1))] for count in seen)


def _coarser(values: Sequence[float], most: int) -> list[float]:
    """Neighbours summed, from the end, so that there are at most so many."""
    width = -(-len(values) // most) if values else 1
    first = len(values) % width
    groups = [values[:first]] if first else []
    groups += [values[at : at + width] for at in range(first, len(values), width)]
    return [sum(group) for group in groups]


def picture(curve: Curve) -> bytes | None:
    """What was seen (a line) over what was expected (an area), as a PNG; None with nothing to show.

    Marked are the most that was seen, and the first and last moment (UTC).
    """
    count = min(len(curve.seen), len(curve.expected))
    if count < 2:
        return None
    seen = np.asarray(curve.seen[-count:], np.float32)
    expected = np.asarray(curve.expected[-count:], np.float32)
    most = max(seen.max(), expected.max(), 1.0)
    width, height = WIDTH * _FINER, HEIGHT * _FINER
    left, right = _MARGIN * _FINER, width - _MARGIN * _FINER
    top, bottom = _MARGIN * _FINER, height - _BELOW * _FINER
    places = np.linspace(left, right - 1, count)

    def rows(values: Plane) -> Plane:
        heights = bottom - values / most * (bottom - top)
        return np.asarray(np.interp(np.arange(left, right), places, heights), np.float32)

    grid = np.arange(height, dtype=np.float32)[:, None]
    canvas = _Canvas(width, height, left, right)
    area = rows(expected)
    canvas.paint((grid >= area) & (grid <= bottom), _EXPECTED, 0.35)
    canvas.paint(abs(grid - area) <= _FINER, _EXPECTED, 0.9)
    canvas.paint(abs(grid - bottom) <= 1, _INK, 0.6)
    line = rows(seen)
    # As thick where it is steep: from the lowest to the highest point of its neighbourhood.
    reach = int(1.5 * _FINER)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(line, reach, "edge"), 2 * reach + 1)
    low, high = around.min(axis=1) - reach, around.max(axis=1) + reach
    canvas.paint((grid >= low) & (grid <= high), _SEEN, 1.0)

    small = canvas.averaged()
    last = curve.start + timedelta(minutes=curve.step_minutes * (len(curve.seen) - 1))
    _write(small, f"{int(seen.max())}", x=_MARGIN, y=2)
    _write(small, f"{curve.start:%H:%M}", x=_MARGIN, y=HEIGHT - 16)
    _write(small, f"{last:%H:%M}", x=WIDTH - _MARGIN - 5 * _ADVANCE, y=HEIGHT - 16)
    return _png(small)


class _Canvas:
    """Colour (multiplied by opacity) and opacity of each pixel; painted from `left` to `right`."""

    def __init__(self, width: int, height: int, left: int, right: int) -> None:
        self._pixels = np.zeros((height, width, 4), np.float32)
        self._part = self._pixels[:, left:right]

    def paint(self, where: NDArray[np.bool_], colour: tuple[int, int, int], opacity: float) -> None:
        """Lay a colour over the marked pixels (Porter and Duff's `over`)."""
        alpha = np.where(where, np.float32(opacity), np.float32(0))[..., None]
        self._part *= 1 - alpha
        self._part += np.array([*colour, 1], np.float32) * alpha

    def averaged(self) -> NDArray[np.uint8]:
        """As RGBA of the final size."""
        height, width, _ = self._pixels.shape
        blocks = self._pixels.reshape(height // _FINER, _FINER, width // _FINER, _FINER, 4)
        mean = blocks.mean(axis=(1, 3))
        alpha = mean[..., 3:]
        colour = np.divide(mean[..., :3], alpha, out=np.zeros_like(mean[..., :3]), where=alpha > 0)
        return np.concatenate([colour, alpha * 255], axis=2).round().astype(np.uint8)


_GLYPHS: Final = {
    "0": "755557", "1": "262227", "2": "717447", "3": "717117", "4": "557111", "5": "747117",
    "6": "747557", "7": "711222", "8": "757557", "9": "757117", ":": "020020",
}  # fmt: skip
"""Digits of 3 × 6 dots: a row a figure, its bits from left to right."""

_DOT: Final = 2
_ADVANCE: Final = 4 * _DOT


def _write(pixels: NDArray[np.uint8], text: str, *, x: int, y: int) -> None:
    for place, character in enumerate(text):
        for row, bits in enumerate(_GLYPHS[character]):
            for column in range(3):
                if int(bits) >> (2 - column) & 1:
                    at_x, at_y = x + place * _ADVANCE + column * _DOT, y + row * _DOT
                    pixels[at_y : at_y + _DOT, at_x : at_x + _DOT] = (*_INK, 255)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    height, width, _ = pixels.shape
    # Each line is led by its filter: none.
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(lines.tobytes(), 9))
        + chunk(b"IEND", b"")
    )
