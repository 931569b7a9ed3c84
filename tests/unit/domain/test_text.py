from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.text import extends, fold, is_unspaced, is_word, joins

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        pytest.param("LÖWE", "lowe", id="case and accent"),
        pytest.param("Lo\u0308we", "lowe", id="decomposed accent"),
        pytest.param("Straße", "strasse", id="sharp s"),
        pytest.param("ΛΌΓΟΣ", "λογοσ", id="final sigma"),
        pytest.param(
            "Ørsted Łódź Kığılı", "orsted lodz kigili", id="letters without decomposition"
        ),
        pytest.param("İstanbul", "istanbul", id="dotted capital i"),
        pytest.param("Ｌｏｗｅ　＠ｌｏｗｅ　＃ｌｏｗｅ", "lowe @lowe #lowe", id="full width"),
        pytest.param("𝓛𝕠𝖜𝐞 ʟᴏᴡᴇ Ⓛⓞⓦⓔ 🅛🅞🅦🅔 🄻🄾🅆🄴", "lowe lowe lowe lowe lowe", id="stylised"),
        pytest.param("L̶o̶w̶e̶ L̷̈́o̷w̸e̵", "lowe lowe", id="struck through"),
        pytest.param("L\u200bo\u00adw\u2066e\ufeff", "lowe", id="invisible"),
        pytest.param("❤\ufe0f", "❤", id="variation selector"),
        pytest.param("Lowe™ Lowe® Lowe℠", "lowe lowe lowe", id="trade marks"),
        pytest.param(
            "L’Oréal L‘O LʼO L`O L´O L＇O", "l'oreal l'o l'o l'o l'o l'o", id="apostrophes"
        ),
        pytest.param("7‑11 7‐11 7–11 7−11 7－11", "7-11 7-11 7-11 7-11 7-11", id="hyphens"),
        pytest.param("Lowe—great", "lowe—great", id="em dash is no hyphen"),
        pytest.param(" a\t\r\nb\u00a0\u3000c\u2028", "a b c", id="white space"),
        pytest.param("a\ud800b", "a\ufffdb", id="lone surrogate"),
        pytest.param("ｶﾞ ガ", "カ\u3099 カ\u3099", id="kana voicing is no accent"),
        pytest.param("กิน กุ้ง", "กิน กุ้ง", id="Thai vowels and tones are no accents"),
        pytest.param("\u0647\u0650", "\u0647", id="Arabic vowel points are"),
    ],
)
def test_fold(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_composed_and_decomposed_hangul_are_one() -> None:
    assert fold("나이키") == fold("\u1102\u1161\u110b\u1175\u110f\u1175")


def test_every_character_folds_to_characters_that_stay() -> None:
    for start in range(0, sys.maxunicode + 1, 4096):
        block = "".join(map(chr, range(start, start + 4096)))
        assert fold(fold(block)) == fold(block), hex(start)


def test_ascii_is_folded_as_everything_else() -> None:
    ascii_text = "".join(map(chr, range(128)))
    assert fold(ascii_text + " é") == fold(ascii_text) + " e"


@given(ANY_TEXT)
def test_folding_is_idempotent_and_encodable(text: str) -> None:
    folded = fold(text)
    assert fold(folded) == folded
    folded.encode()


@given(ANY_TEXT, ANY_TEXT)
def test_words_fold_without_their_neighbours(left: str, right: str) -> None:
    assert fold(f"{left} {right}") == f"{fold(left)} {fold(right)}".strip()


def test_piled_up_marks_are_no_work() -> None:
    """Unicode normalisation sorts marks in quadratic time: half a second for these."""
    started = time.process_time()
    fold("\u0e48" * 10_000 + "\u0e3a" * 10_000)
    assert time.process_time() - started < 0.1


@pytest.mark.parametrize(
    ("character", "word", "unspaced", "joined", "extending"),
    [
        ("a", True, False, True, False),
        ("я", True, False, True, False),
        ("7", True, False, True, False),
        ("_", True, False, True, False),
        ("'", False, False, False, False),
        ("🍎", False, False, False, False),
        ("米", True, True, False, False),
        ("の", True, True, False, False),
        ("\u1102", True, True, False, False),
        ("\u1161", True, True, False, True),
        ("\u3099", True, True, False, True),
        ("\u0e34", True, True, False, True),
        ("\u093f", True, False, True, True),
    ],
)
def test_classes(character: str, word: bool, unspaced: bool, joined: bool, extending: bool) -> None:
    assert is_word(character) is word
    assert is_unspaced(character) is unspaced
    assert joins(character) is joined
    assert extends(character) is extending
