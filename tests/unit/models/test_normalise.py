"""Normalisation: bounded, harmless, the same when done twice."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.normalise import MAX_CHARACTERS, normalise

ANY_TEXT = st.text(st.characters(codec=None))  # lone surrogates included
PIECES = [*"&#;amplt@uw.:/htsx0123 \n❤👩💻🇺🇸🏽＆", "&amp;", "\u200d", "\u200b", "\ufe0f", "\u0301"]
PIECES += ["\u20e3", "\x00", "\x1f", "\ud83d", "\ude02", "\u202e"]
TRICKY_TEXT = st.lists(st.sampled_from(PIECES)).map("".join)
FORBIDDEN = set("\u200b\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2069\ufeff")


@given(ANY_TEXT | TRICKY_TEXT)
def test_any_text_gives_clean_short_text(text: str) -> None:
    cleaned = normalise(text)
    cleaned.encode("utf-8")
    assert len(cleaned) <= MAX_CHARACTERS
    assert cleaned == " ".join(cleaned.split())
    assert not FORBIDDEN.intersection(cleaned)
    assert {"Cc", "Cs"}.isdisjoint(map(unicodedata.category, cleaned))


@given(ANY_TEXT | TRICKY_TEXT)
def test_twice_is_once(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("fish &amp; chips &lt;3", "fish & chips <3"),
        ("twice escaped &amp;amp; read", "twice escaped & read"),
        ("see https://example.org/a?b=c#d now", "see http now"),
        ("at www.example.org and pic.twitter.com/a1B2", "at http and http"),
        ("@someone told @AcmeSupport", "@user told @support"),
        ("write to me@example.org", "write to me@example.org"),
        ("sooooo gooood!!!!!!", "soo good!!!"),
        ("1000000 served", "1000000 served"),
        ("line\none\t two\r\n", "line one two"),
        ("a\x00b\u200bc\u202ed\ufeff", "abcd"),
        ("fa\u00adst", "fast"),
        ("half a pair \ud83d here", "half a pair here"),
        ("a split pair \ud83d\ude02", "a split pair face with tears of joy"),
        ("👍🏿 thanks ❤️", "thumbs up thanks red heart"),
        ("👩🏽‍💻", "woman technologist"),
        ("𝓼𝓸 𝓬𝓾𝓽𝓮", "so cute"),
        ("HTTPS://EXAMPLE.ORG/X!", "http"),
        ("(see http://example.org/a)", "(see http"),
        ("&#104;&#x74;tp://example.org &quot;late&quot;", 'http "late"'),
        ("&notanentity; R&D", "¬anentity; R & D"),
        ("＠ａｃｍｅ ｌａｔｅ", "@user late"),
        ("@Acme_Cares @under_score.", "@support @user."),
        ("nooo NOOO nOoO", "noo NOO nOO"),
        ("wait........ ok,,,,", "wait... ok,,,"),
        ("\u2066late\u2069 \u061cagain\u200e", "late again"),
        ("l\u200ba\u2060t\ufeffe", "late"),
        ("2\ufe0f\u20e3 days", "keycap 2 days"),
        ("\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "England"),
        ("", ""),
        (" \u200b\ufeff\x00\ud800 ", ""),
    ],
)
def test_rules(text: str, cleaned: str) -> None:
    assert normalise(text) == cleaned


@pytest.mark.parametrize(
    "text",
    ["a b " * 100_000, "😂" * 100_000, "&amp;" + "amp;" * 50_000, "\ufdfa" * 50_000, "@" * 100_000],
)
def test_huge_text_is_cut(text: str) -> None:
    cleaned = normalise(text)
    assert 0 < len(cleaned) <= MAX_CHARACTERS
    assert normalise(cleaned) == cleaned


def test_threads_that_start_together_read_emoji_alike() -> None:
    # In a process of its own: what goes wrong, goes wrong on first use.
    script = """
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
sys.setswitchinterval(1e-6)
from models.normalise import normalise
barrier = Barrier(8)
def read(_):
    barrier.wait()
    return normalise("\\U0001f937\\U0001f3fb\\u200d\\u2640\\ufe0f \\U0001f602 \\U0001f44d")
with ThreadPoolExecutor(8) as pool:
    print(len(set(pool.map(read, range(8)))))
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "1"
