"""The language of a post: told where it is sure, the same every time, from any thread."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.language import LanguageDetector
from tests.unit.models.texts import HOSTILE, posts

ENGLISH = [
    "Third evening without my order, and nobody answers.",
    "omg the new phone is sooo good 😍😍",
    "u guys need 2 fix this asap smh",
    "RT @acme: Big summer sale starts tomorrow at nine",
    "THE PARCEL NEVER CAME AND I WANT MY MONEY BACK!!!",
    "Not sure if the café's crème brûlée got smaller or my hands got bigger",
    "The support guy just said “c'est la vie” and hung up on me",
]
OTHERS = {
    "de": "Seit drei Wochen warte ich auf mein Paket, und keiner meldet sich.",
    "es": "Llevo tres semanas esperando el pedido y nadie responde.",
    "fr": "Trois semaines que j'attends ma commande, et personne ne répond.",
    "it": "Aspetto il pacco da tre settimane e nessuno mi risponde.",
    "pt": "Há três semanas à espera da encomenda e ninguém responde.",
    "nl": "Al drie weken wacht ik op mijn pakket en niemand reageert.",
    "pl": "Od trzech tygodni czekam na paczkę i nikt nie odpowiada.",
    "tr": "Üç haftadır siparişimi bekliyorum, kimse cevap vermiyor.",
    "id": "Sudah tiga minggu saya menunggu paket dan tidak ada yang menjawab.",
    "ru": "Три недели жду посылку, и никто не отвечает.",
    "ar": "أنتظر الطلب منذ ثلاثة أسابيع ولا أحد يرد.",
    "hi": "तीन हफ़्ते से ऑर्डर का इंतज़ार है और कोई जवाब नहीं देता।",
    "ja": "三週間も荷物を待っているのに、誰も返事をくれない。",
    "ko": "주문한 지 3주가 지났는데 아무도 답이 없어요.",
    "zh": "等了三个星期的包裹，没有人回复。",
}


@pytest.fixture(scope="module")
def detector() -> LanguageDetector:
    return LanguageDetector({"en"})


@pytest.mark.parametrize("text", ENGLISH)
def test_english_is_told(detector: LanguageDetector, text: str) -> None:
    assert detector.detect(text) == "en"
    assert not detector.is_foreign("en")


def test_no_english_post_is_taken_for_another_language(detector: LanguageDetector) -> None:
    told = {detector.detect(text) for text in posts()}
    assert told == {"en", None}


@pytest.mark.parametrize(("lang", "text"), OTHERS.items())
def test_other_languages_are_told(detector: LanguageDetector, lang: str, text: str) -> None:
    assert detector.detect(text) == lang
    assert detector.is_foreign(lang)


@pytest.mark.parametrize(
    "text",
    ["", "ok", "😂😂😂", "🇫🇷🇩🇪", "12:30 14/7", "@larkbasket #gutenmorgen https://example.de/über-uns",
     "naïve?", "Müller", "merci"],
)  # fmt: skip
def test_too_little_tells_nothing(detector: LanguageDetector, text: str) -> None:
    assert detector.detect(text) is None
    assert not detector.is_foreign(None)


def test_emoji_links_and_handles_do_not_count(detector: LanguageDetector) -> None:
    plain = OTHERS["es"]
    dressed = f"@acme_help 😡😡 {plain} 😡 https://example.com/the-order-is-late #customerservice"
    assert detector.detect(dressed) == "es"


def test_invisible_signs_do_not_hide_a_language(detector: LanguageDetector) -> None:
    for text in (ENGLISH[0], OTHERS["de"]):
        assert detector.detect("\u200b".join(text)) == detector.detect(text)
        assert detector.detect(f"\u202e{text}\u202c") == detector.detect(text)


def test_a_judged_language_is_not_foreign() -> None:
    both = LanguageDetector({"en", "de"})
    assert both.detect(OTHERS["de"]) == "de"
    assert not both.is_foreign("de")
    assert both.is_foreign("es")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_neither_breaks_nor_stalls(detector: LanguageDetector, name: str) -> None:
    began = time.monotonic()
    detector.detect(HOSTILE[name])
    assert time.monotonic() - began < 5


@given(st.text(st.characters(codec=None), max_size=200))
def test_any_text_gets_the_same_answer_twice(text: str) -> None:
    # Two detectors, so that the second answer is not remembered.
    assert LanguageDetector({"en"}).detect(text) == LanguageDetector({"en"}).detect(text)


def test_threads_get_the_same_answers(detector: LanguageDetector) -> None:
    texts = [*ENGLISH, *OTHERS.values()] * 20
    alone = [detector.detect(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        fresh = LanguageDetector({"en"})
        assert list(pool.map(fresh.detect, texts)) == alone


def test_threads_that_start_together_load_it_alike() -> None:
    # In a process of its own: what goes wrong, goes wrong on first use.
    script = f"""
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
sys.setswitchinterval(1e-6)
from models.language import LanguageDetector
barrier = Barrier(4)
def read(_):
    barrier.wait()
    detector = LanguageDetector({{"en"}})
    return tuple(detector.detect(text) for text in {list(OTHERS.values())!r})
with ThreadPoolExecutor(4) as pool:
    print(*set(pool.map(read, range(4))), sep="\\n")
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert done.stdout.strip() == str(tuple(OTHERS))
