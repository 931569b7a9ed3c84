"""Other names for authors, made with a key: the same for the same author, and telling nothing of
whom without the key.

A pseudonym is `anon-` and 16 letters and digits: 80 bits of HMAC-SHA256 over source and author. Of
ten million authors two have the same one with a chance of 4 in 10¹¹.
"""

from __future__ import annotations

import hmac
from base64 import b32encode
from typing import Any, Final

import msgspec

from pipeline.records import Actor, Event

PREFIX: Final = "anon-"
_BYTES: Final = 10
_TELLING: Final = 3
"""Characters from which on an author's name in an address tells who it is."""


class Pseudonyms:
    """Gives authors their other names.

    Args:
        key: The secret. With another one every author has another name.
    """

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def of(self, source: str, author: str) -> str:
        """The pseudonym of an author at a source."""
        return PREFIX + self._hash(f"author\0{source}\0{author}")

    def hide(self, event: Event) -> Event:
        """The event with a pseudonym for its author.

        The id and the address of the post go where they hold the author's own, and so does what it
        answers, which may hold another's. Words stay as they are.
        """
        actor = event.actor
        own = (actor.id, actor.name)
        who = actor.id or actor.name
        return msgspec.structs.replace(
            event,
            id=self.identity(event.id) if _tells(event.id, own) else event.id,
            actor=Actor(self.of(event.source, who), "", actor.followers) if who else actor,
            url=None if event.url and _tells(event.url, own) else event.url,
            in_reply_to=None,
        )

    def identity(self, event_id: str) -> str:
        """Another id for an event whose own tells who posted it."""
        return PREFIX + self._hash(f"event\0{event_id}")

    def hide_raw(self, event: dict[str, Any]) -> dict[str, Any]:
        """As `hide`, for an event that is JSON and perhaps not much more."""
        actor = event.get("actor")
        found = actor if isinstance(actor, dict) else {}
        own = tuple(value for name in ("id", "name") if isinstance(value := found.get(name), str))
        hidden = {name: value for name, value in event.items() if name != "in_reply_to"}
        if isinstance(known := event.get("id"), str) and _tells(known, own):
            hidden["id"] = self.identity(known)
        if isinstance(url := event.get("url"), str) and _tells(url, own):
            del hidden["url"]
        if actor is not None:
            who = next(filter(None, own), "")
            hidden["actor"] = {"id": self.of(str(event.get("source")), who)} if who else {}
            if "followers" in found:
                hidden["actor"]["followers"] = found["followers"]
        return hidden

    def _hash(self, words: str) -> str:
        mac = hmac.digest(self._key, words.encode("utf-8", "surrogatepass"), "sha256")
        return b32encode(mac[:_BYTES]).decode().lower()


def _tells(text: str, names: tuple[str, ...]) -> bool:
    """Whether a text holds one of an author's names."""
    plain = text.casefold()
    return any(len(name) >= _TELLING and name.casefold() in plain for name in names)
