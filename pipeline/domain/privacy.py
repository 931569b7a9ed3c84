"""What is kept of the authors of posts: who is to be forgotten, and under which name others are
kept."""

from __future__ import annotations

import msgspec

from pipeline.domain.erasures import Erasures
from pipeline.domain.pseudonyms import Pseudonyms
from pipeline.records import Event, Rejected


class Privacy:
    """What the settings and those who asked to be forgotten allow to be kept.

    Args:
        erasures: Who is to be forgotten.
        key: Makes pseudonyms; without it authors keep their names.
    """

    def __init__(self, erasures: Erasures | None = None, key: str | None = None) -> None:
        self._erasures = erasures or Erasures()
        self._pseudonyms = Pseudonyms(key) if key is not None else None

    def is_erased(self, event: Event) -> bool:
        """Whether nothing may be kept of an event."""
        return self._erasures.covers_event(event)

    def keep(self, event: Event) -> Event:
        """The event as it may be kept."""
        return event if self._pseudonyms is None else self._pseudonyms.hide(event)

    def keep_letter(self, key: bytes | None, letter: Rejected) -> tuple[bytes | None, Rejected]:
        """A dead letter and its key as they may be kept.

        Of an event that cannot be read nobody can say whose it is: with pseudonyms only its place
        is kept.
        """
        if self._pseudonyms is None and not self._erasures.revision:
            return key, letter
        event = _fields(letter)
        if event is not None and self._is_erased(event):
            return None, _emptied(letter)
        if self._pseudonyms is None:
            return key, letter
        if event is None:
            return None, _emptied(letter)
        hidden = msgspec.json.encode(self._pseudonyms.hide_raw(event)).decode()
        return None, msgspec.structs.replace(letter, event=hidden)

    def _is_erased(self, event: dict[str, object]) -> bool:
        actor = event.get("actor")
        names = (actor.get("id"), actor.get("name")) if isinstance(actor, dict) else ()
        authors = [name for name in names if isinstance(name, str)]
        return self._erasures.covers(str(event.get("source")), *authors)


def _fields(letter: Rejected) -> dict[str, object] | None:
    """The event, where it is a JSON object."""
    if letter.event is None:
        return None
    try:
        return msgspec.json.decode(letter.event, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _emptied(letter: Rejected) -> Rejected:
    return msgspec.structs.replace(letter, event=None, event_base64=None)
