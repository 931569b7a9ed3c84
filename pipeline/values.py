"""State by key, kept as it was read until somebody asks for it.

Most of what a worker restores it does not look at for long: last week's hours, yesterday's event
ids. As bytes it is there at once, and takes a fraction of the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, TypeVar

T = TypeVar("T")


class Values(MutableMapping[bytes, T]):
    """Live objects by key: what is got from here may be changed, and is the same the next time.

    Args:
        decode: Makes a value of what was read.
        merge: What is known from two versions of a value, the second one read later.
    """

    __slots__ = ("_decode", "_held", "_merge")

    def __init__(self, decode: Callable[[bytes], T], merge: Callable[[T, T], T]) -> None:
        self._decode = decode
        self._merge = merge
        self._held: dict[bytes, Any] = {}

    def take(self, key: bytes, raw: bytes, *, supersedes: bool) -> None:
        """Take in what was read of a key.

        Args:
            supersedes: It is a later state of the value held, unless that was changed since.
        """
        held = self._held.get(key)
        if held is None or (supersedes and type(held) is bytes):
            self._held[key] = raw
        else:
            self._held[key] = self._merge(self[key], self._decode(raw))

    def __getitem__(self, key: bytes) -> T:
        value = self._held[key]
        if type(value) is bytes:
            value = self._held[key] = self._decode(value)
        found: T = value
        return found

    def get(self, key: bytes, default: Any = None) -> Any:
        """The value of a key; without the exception that the inherited one takes for a miss."""
        return self[key] if key in self._held else default

    def __setitem__(self, key: bytes, value: T) -> None:
        self._held[key] = value

    def __delitem__(self, key: bytes) -> None:
        del self._held[key]

    def __contains__(self, key: object) -> bool:
        return key in self._held

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)
