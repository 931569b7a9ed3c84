"""What authors wrote, made fit to be shown: hostile until then, in every channel.

Two lines of defence. `clean` takes the life out of a text whatever shows it: control and direction
characters go, and mentions, addresses and commands are broken up by a character that shows nothing.
Then each channel escapes what is markup to it, of every text without exception.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final, NamedTuple

from yarl import URL

BREAK: Final = "\u2060"
"""Word joiner: shows nothing, and what it stands in is no mention and no address any more."""

_LIVE: Final = re.compile(
    r"(?<=[@#])(?=\S|$)"  # mentions, and roles and channels as Discord has them
    r"|(?<=\$)(?=[^\W\d_])"  # cashtags
    r"|(?<=:)(?=//)|(?<=www)(?=\.)|(?<=mailto)(?=:)|(?<=tel)(?=:)"
    r"|(?<=\w\.)(?=[^\W\d_]{2})"  # bare domains, which many clients link
    r"|(?<=(?<!\w)/)(?=\w)"  # commands
    r"|(?<=\{)(?=\{)",  # Adaptive Card functions
    re.I,
)
"""Where what clients bring to life is broken up."""

_JOINERS: Final = "\u200c\u200d"
"""The only format characters kept: Persian and Hindi are spelt with them, emoji joined by them."""

_MARKS: Final = 4
"""Combining marks in a row that any language needs; more are there to climb over other lines."""


def clean(text: str, limit: int) -> str:
    """A text of somebody else's on one line, at most `limit` characters, safe but for markup."""
    kept = []
    marks = 0
    # A text long enough to fill the limit after all is taken out that may be.
    for character in text[: 4 * limit]:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks > _MARKS:
            continue
        gone = category in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") and character not in _JOINERS
        kept.append(" " if gone else character)
    line = cut(" ".join("".join(kept).split()), limit)
    broken = _LIVE.sub(BREAK, line)
    # Breaking up lengthens: cut the plain words until it fits, so that none is left whole.
    while len(broken) > limit:
        line = cut(line, len(line) - (len(broken) - limit))
        broken = _LIVE.sub(BREAK, line)
    return broken


def cut(text: str, limit: int, *, size: Callable[[str], int] = len) -> str:
    """The text, or as many of its words as fit, ending in `…`.

    Args:
        size: Measures in the unit of `limit`.
    """
    if size(text) <= limit:
        return text
    if limit <= 0:
        return ""
    # The longest beginning that fits with its ellipsis.
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if size(text[:middle] + "…") <= limit:
            low = middle
        else:
            high = middle - 1
    kept = text[:low]
    words = kept.rpartition(" ")[0]
    # A word too long to be kept whole is cut within; so are scripts without spaces.
    if text[low : low + 1] != " " and len(words) >= low - 40 and words:
        kept = words
    kept = kept.rstrip()
    return kept + "…" if size(kept + "…") <= limit else ""


def utf16(text: str) -> int:
    """Length in UTF-16 code units, as JavaScript and Telegram count."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


class Link(NamedTuple):
    """An address that may be followed.

    Attributes:
        url: In ASCII, without credentials, of http or https, without anything that could end it
            early in any markup.
        host: Where it leads, as an address is read: international names in Punycode.
    """

    url: str
    host: str


LONGEST_LINK: Final = 1000


def link_to(url: str | None) -> Link | None:
    """The link, if the address is one that may be followed.

    Never one that is not http or https, that hides its host behind credentials
    (`https://bank.example@evil.example`), or that does not come out as plain ASCII.
    """
    if not url or len(url) > LONGEST_LINK or re.search(r"[\x00-\x20\x7f]", url):
        return None
    if not re.match(r"https?://[^/\\@]+(/|\?|#|$)", url):
        return None
    try:
        parsed = URL(url)
        host = parsed.raw_host
        if parsed.raw_user is not None or parsed.raw_password is not None:
            return None
    except ValueError:
        return None
    whole = str(parsed)
    if not host or len(whole) > LONGEST_LINK:
        return None
    if not re.fullmatch(r"[a-z0-9.-]+", host) or ".." in host:
        return None
    # What markup could take for its own is percent-encoded, which means the same to a server.
    whole = re.sub(r"""[<>"'`()\[\]{}|\\^*_~!$ ]""", lambda m: f"%{ord(m[0]):02X}", whole)
    return Link(whole, host) if re.fullmatch(r"[!-~]+", whole) else None
