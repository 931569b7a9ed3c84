"""Remembering event ids, so that the same post arriving twice is one event."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

import msgspec

KEPT_SECONDS: Final = 24 * 3600.0
"""How long an id is remembered."""


class Block(msgspec.Struct, array_like=True):
    """Ids first seen in one chunk of an events partition.

    Attributes:
        seen: When, in epoch seconds.
        ids: 64-bit hashes of the ids, as one byte string of 8 bytes each.
        offsets: The offset each came with.
    """

    seen: float
    ids: bytes
    offsets: list[int]


def fuller(ours: Block, theirs: Block) -> Block:
    """Of two blocks under one key, the one of the longer chunk: it holds the other."""
    return ours if len(ours.offsets) > len(theirs.offsets) else theirs


def hash_id(event_id: str) -> bytes:
    """Eight bytes for an event id."""
    return blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()


class Repeats:
    """Ids of one events partition with the offset each came with, oldest forgotten first.

    An id that comes again at its own offset is a replay after a crash, to be processed again: its
    mention may never have left. At another offset it is a repeat, to be dropped.
    """

    def __init__(self, limit: int, blocks: Mapping[bytes, Block] | None = None) -> None:
        self._limit = limit
        self._offsets: dict[bytes, int] = {}
        self._blocks: OrderedDict[bytes, Block] = OrderedDict()
        for key, block in sorted((blocks or {}).items(), key=lambda item: int(item[0])):
            self.remember(key, block)

    def __len__(self) -> int:
        return len(self._offsets)

    def __contains__(self, hashed: bytes) -> bool:
        return hashed in self._offsets

    def is_repeat(self, hashed: bytes, offset: int) -> bool:
        """Whether the id came before, at another offset."""
        first = self._offsets.get(hashed)
        return first is not None and first != offset

    def remember(self, key: bytes, block: Block) -> None:
        """Take in a block under its key, the first offset of its chunk."""
        self._blocks[key] = block
        for at, offset in enumerate(block.offsets):
            self._offsets.setdefault(block.ids[8 * at : 8 * at + 8], offset)

    def forget(self, now: float) -> list[bytes]:
        """Drop blocks over 24 h old, and the oldest beyond the limit; returns their keys."""
        gone = []
        while self._blocks:
            key, block = next(iter(self._blocks.items()))
            if block.seen > now - KEPT_SECONDS and len(self._offsets) <= self._limit:
                break
            del self._blocks[key]
            for at, offset in enumerate(block.offsets):
                hashed = block.ids[8 * at : 8 * at + 8]
                if self._offsets.get(hashed) == offset:
                    del self._offsets[hashed]
            gone.append(key)
        return gone
