"""What authors wrote: without life, without length, and never with a link that lies."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.receivers.text import BREAK, clean, cut, link_to, utf16
from tests.unit.receivers.hostile import HOSTILE, URLS, texts

LIVE = re.compile(
    r"[@#](?![\s\u2060])|://|www\.|mailto:|tel:|\w\.[^\W\d_]{2}|(?<!\w)/\w|\$[^\W\d_]|\{\{", re.I
)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("limit", [10, 80, 500])
def test_nothing_that_a_client_brings_to_life_is_left(text: str, limit: int) -> None:
    check(text, limit)


@given(texts, st.integers(1, 200))
def test_nothing_that_a_client_brings_to_life_is_left_of_anything(text: str, limit: int) -> None:
    check(text, limit)


def check(text: str, limit: int) -> None:
    shown = clean(text, limit)
    assert len(shown) <= limit
    assert not LIVE.search(shown)
    for character in shown.replace(BREAK, "").replace("\u200c", "").replace("\u200d", ""):
        assert unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    assert not re.search(r"[\u0300-\u036f]{5}", shown)
    shown.encode()


@pytest.mark.parametrize(
    "text",
    ["می\u200cخواهم", "👩\u200d👧", "costs 3.50, e.g. a lot", "naïve café", "1/2 and/or", "5 $"],
)
def test_ordinary_words_stay_as_they_are(text: str) -> None:
    assert clean(text, 100) == text


def test_what_is_broken_up_reads_the_same() -> None:
    shown = clean("@north see https://x.example", 100)
    assert shown == f"@{BREAK}north see https:{BREAK}//{BREAK}x.{BREAK}example"


@pytest.mark.parametrize(
    ("text", "limit", "kept"),
    [
        ("one two three", 13, "one two three"),
        ("one two three", 12, "one two…"),
        ("one two three", 8, "one two…"),
        ("one two three", 7, "one…"),
        ("一二三四五", 3, "一二…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
        ("", 0, ""),
    ],
)
def test_a_text_is_cut_between_words(text: str, limit: int, kept: str) -> None:
    assert cut(text, limit) == kept


@given(st.text(max_size=60), st.integers(0, 40))
def test_a_cut_text_fits_in_any_unit(text: str, limit: int) -> None:
    for size in (len, utf16, lambda each: len(each.encode("utf-8", "surrogatepass"))):
        kept = cut(text, limit, size=size)
        assert size(kept) <= limit
        assert kept == text or text.startswith(kept.removesuffix("…"))


@pytest.mark.parametrize("url", URLS)
def test_an_address_that_is_not_to_be_followed_is_no_link(url: str) -> None:
    assert link_to(url) is None


@pytest.mark.parametrize(
    ("url", "link", "host"),
    [
        ("https://social.example/mia/1", "https://social.example/mia/1", "social.example"),
        ("http://a.example:8080/?a=1&b=2#c", "http://a.example:8080/?a=1&b=2#c", "a.example"),
        (
            "https://bücher.example/ö",
            "https://xn--bcher-kva.example/%C3%B6",
            "xn--bcher-kva.example",
        ),
        ("https://a.example/(x)[y]<z>", "https://a.example/%28x%29%5By%5D%3Cz%3E", "a.example"),
        ("https://a.example/@mia", "https://a.example/@mia", "a.example"),
    ],
)
def test_a_link_is_plain_and_shows_its_host(url: str, link: str, host: str) -> None:
    assert link_to(url) == (link, host)


@given(st.one_of(texts, texts.map(lambda text: f"https://a.example/{text}")))
def test_a_link_breaks_out_of_nothing(url: str) -> None:
    link = link_to(url)
    if link is not None:
        assert re.fullmatch(r"https?://[!-~]+", link.url)
        assert not re.search(r"""[<>"'`()\[\]{}|\\*_ ]""", link.url)
        assert re.fullmatch(r"[a-z0-9.-]+", link.host)
