"""The curve as bars and as a picture."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.receivers.curve import BARS, HEIGHT, MAX_BARS, WIDTH, picture, sparkline
from pipeline.records import Curve
from tests.unit.receivers.hostile import ONSET

counts = st.lists(st.integers(0, 10**6), max_size=200)


def a_curve(seen: list[int], expected: float = 1.0) -> Curve:
    return Curve(ONSET, 5, tuple(seen), tuple(expected for _ in seen))


@pytest.mark.parametrize(
    ("seen", "bars"),
    [([], ""), ([0], "▁"), ([0, 0], "▁▁"), ([0, 7], "▁█"), (list(range(8)), BARS)],
)
def test_bars(seen: list[int], bars: str) -> None:
    assert sparkline(a_curve(seen)) == bars


@given(counts)
def test_bars_are_few(seen: list[int]) -> None:
    assert len(sparkline(a_curve(seen))) <= MAX_BARS


def pixels(png: bytes) -> np.ndarray:
    """A PNG's pixels, read by the book."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, chunks = 8, {}
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        (crc,) = struct.unpack(">I", png[at + 8 + length : at + 12 + length])
        assert crc == zlib.crc32(kind + data)
        chunks[kind] = data
        at += 12 + length
    width, height, depth, colour, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (width, height, depth, colour) == (WIDTH, HEIGHT, 8, 6)
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, 4)


def test_the_picture_shows_the_spike_where_it_is() -> None:
    png = picture(a_curve([1, 1, 1, 1, 1, 1, 1, 40, 45, 44]))
    assert png is not None
    assert len(png) < 16_000
    image = pixels(png).astype(int)
    red = (image[..., 0] > 180) & (image[..., 1] < 100) & (image[..., 3] > 200)
    rows = [np.flatnonzero(red[:, column]).mean() for column in (60, 600)]
    assert rows[0] > HEIGHT - 50
    assert rows[1] < 40
    assert (image[..., 3] == 0).mean() > 0.5  # the ground is the reader's


@pytest.mark.parametrize("seen", [[], [3]])
def test_nothing_to_draw_is_no_picture(seen: list[int]) -> None:
    assert picture(a_curve(seen)) is None


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=50), st.floats(0, 1e6))
def test_anything_can_be_drawn(seen: list[int], expected: float) -> None:
    png = picture(a_curve(seen, expected))
    assert png is not None
    pixels(png)
