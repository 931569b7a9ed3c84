from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.brands import MAX_LOOKED_AT, BrandMatcher
from pipeline.records import Actor, Event
from pipeline.settings import BrandSettings

ANY_TEXT = st.text(st.characters(exclude_categories=()))


def brand(key: str, name: str | None = None, **fields: Any) -> BrandSettings:
    return BrandSettings(key=key, name=name or f"unnamed {key}", **fields)


def event(text: str | None = None, **fields: Any) -> Event:
    return Event(
        id="1", source="test", published=datetime(2025, 1, 1, tzinfo=UTC), text=text, **fields
    )


def mentions(text: str, *brands: BrandSettings, **fields: Any) -> tuple[str, ...]:
    return BrandMatcher(brands).match(event(text, **fields))


@pytest.mark.parametrize(
    ("alias", "text", "found"),
    [
        ("Ara", "Ara!", True),
        ("Ara", "I like ara's shoes", True),
        ("Ara", "ara’s", True),
        ("Ara", "l'ara", True),
        ("Ara", "ara-shoes", True),
        ("Ara", "ara.com", True),
        ("Ara", "caramel", False),
        ("Ara", "aras", False),
        ("Ara", "ara2", False),
        ("Ara", "ara_x", False),
        ("Ara", "яara", False),
        ("Löwe", "LOWE", True),
        ("Lowe", "Ein Löwe", True),
        ("Lowe", "𝓛𝓸𝔀𝓮", True),
        ("Lowe", "L\u200bowe", True),
        ("Lowe", "Lowe™", True),
        ("Lowe", "love\u202eLowe", False),
        ("H&M", "at h&m.", True),
        ("H&M", "H&MX", False),
        ("7-Eleven", "7–eleven", True),
        ("7-Eleven", "7 eleven", False),
        ("A+", "an A+, really", True),
        ("A+", "a+b", False),
        ("A+", "AA+", False),
        ("Yahoo!", "yahoo! yes", True),
        ("North Face", "north\n\n  face", True),
        ("North Face", "north\u00a0face", True),
        ("North Face", "northface", False),
        ("🍎", "love🍎pie", True),
        ("小米", "我爱小米手机", True),
        ("Nike", "我爱Nike鞋", True),
        ("나이키", "나이키는 좋다", True),
        ("가", "각", False),
        ("カ", "ガ", False),
        ("นา", "ชาวนาไทย", True),
        ("\u0939", "\u0939\u093f\u0928\u094d\u0926\u0940", False),
        ("Lowe", "@lowe", False),
        ("Lowe", "#lowe", False),
        ("Lowe", "@lowe.official", False),
        ("Lowe", "@the-lowe", False),
        ("Lowe", "info@lowe.com", False),
        ("Lowe", "jane.lowe@mail.example", False),
        ("Lowe", "lowe.jane@mail.example", False),
        ("Lowe", "lowe. @jane", True),
        ("Lowe", "https://lowe.com/lowe?lowe", False),
        ("Lowe", "HTTP://shop.example/lowe", False),
        ("Lowe", "https://t.co/x lowe", True),
        ("Lowe", "<https://t.co/x>lowe", True),
        ("小米", "看https://t.co/x小米", True),
        ("小米", "#爱小米手机", False),
        ("小米", "@小米手机", False),
        ("小米", "@nike小米", True),
    ],
)
def test_aliases(alias: str, text: str, found: bool) -> None:
    assert bool(mentions(text, brand("b", alias))) is found


@pytest.mark.parametrize("handle", ["@Lowe", "lowe"])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("hey @lowe", True),
        (".@LOWE: why?", True),
        ("@lowe's", True),
        ("@lowe.", True),
        ("@lowe. Why", True),
        ("thanks,@lowe!", True),
        ("＠ｌｏｗｅ", True),
        ("你好@lowe你好", True),
        ("https://social.example/@lowe/1", True),
        ("lowe", False),
        ("#lowe", False),
        ("@ lowe", False),
        ("@lowe_", False),
        ("@lowes", False),
        ("@lowe2", False),
        ("@loweя", False),
        ("@lowe.official", False),
        ("@lowe-bikes", False),
        ("@lowe@social.example", False),
        ("info@lowe", False),
        ("info@lowe.com", False),
    ],
)
def test_handles(handle: str, text: str, found: bool) -> None:
    assert bool(mentions(text, brand("b", handles=(handle,)))) is found


def test_a_handle_with_its_server_is_one_of_its_own() -> None:
    social = brand("b", handles=("@lowe@social.example",))
    assert mentions("@lowe@social.example, hi", social) == ("b",)
    assert mentions("@lowe, hi", social) == ()


def test_a_handle_in_a_script_without_spaces_ends_with_the_word() -> None:
    xiaomi = brand("b", handles=("小米",))
    assert mentions("@小米, hi", xiaomi) == ("b",)
    assert mentions("@小米手机", xiaomi) == ()


@pytest.mark.parametrize("hashtag", ["#Lowe", "lowe"])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("#lowe", True),
        ("(#LÖWE)", True),
        ("#lowe#other", True),
        ("#lowe-bikes", True),
        ("#lowe's", True),
        ("#lowebikes", False),
        ("#lowe_bikes", False),
        ("#lowe鞋", False),
        ("a#lowe", False),
        ("https://shop.example/#lowe", False),
        ("lowe", False),
    ],
)
def test_hashtags(hashtag: str, text: str, found: bool) -> None:
    assert bool(mentions(text, brand("b", hashtags=(hashtag,)))) is found


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("The North Face", ("face",)),
        ("North of here", ("north",)),
        ("North and The North Face", ("north", "face")),
        ("north fabulous", ("north",)),
        ("North Face Off", ("face",)),
        ("Face Off", ("off",)),
        ("north face Face Off", ("face", "off")),
    ],
)
def test_the_leftmost_longest_alias_has_the_place(text: str, keys: tuple[str, ...]) -> None:
    brands = (brand("north", "North"), brand("face", "North Face"), brand("off", "Face Off"))
    assert mentions(text, *brands) == keys


def test_keys_come_once_in_the_order_of_the_settings() -> None:
    brands = (brand("b", "Beta", handles=("beta",)), brand("a", "Alpha"))
    assert mentions("alpha @beta beta beta", *brands) == ("b", "a")


class TestContext:
    APPLE = brand(
        "apple",
        "Apple",
        handles=("apple",),
        hashtags=("apple",),
        required=("phone", "Mac Pro"),
        forbidden=("pie", "Crème"),
    )

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("apple", False),
            ("apple phone", True),
            ("my PHONE is an Apple", True),
            ("apple phones", False),
            ("apple mac\npro", True),
            ("apple #phone", True),
            ("apple phone pie", False),
            ("apple phone, creme", False),
            ("apple phone pies", True),
            ("@apple pie", True),
            ("#apple pie", True),
        ],
    )
    def test_aliases_need_their_context(self, text: str, found: bool) -> None:
        assert bool(mentions(text, self.APPLE)) is found

    def test_context_is_looked_for_in_the_same_text(self) -> None:
        assert mentions("apple", self.APPLE, object="phone") == ()
        assert mentions("pie", self.APPLE, object="apple phone") == ("apple",)

    def test_a_word_serves_brands_and_contexts_alike(self) -> None:
        phone = brand("phone", "Phone", forbidden=("apple",))
        assert mentions("apple phone", self.APPLE, phone) == ("apple",)
        assert mentions("phone", self.APPLE, phone) == ("phone",)

    def test_an_alias_out_of_context_still_has_its_place(self) -> None:
        face = brand("face", "North Face", required=("jacket",))
        assert mentions("North Face", brand("north", "North"), face) == ()


class TestOwnAccounts:
    BRANDS = (brand("lowe", "Löwe", accounts=("@LoweBikes",)), brand("rival", "Rival"))

    @pytest.mark.parametrize(
        "actor",
        [Actor(name="lowebikes"), Actor(name="@LÖWEBIKES"), Actor(id="lowebikes", name="Shop")],
    )
    def test_mention_rivals_only(self, actor: Actor) -> None:
        assert mentions("Löwe beats Rival", *self.BRANDS, actor=actor) == ("rival",)

    @pytest.mark.parametrize("actor", [Actor(), Actor(name="lowebikes2"), Actor(id="lowe")])
    def test_are_named_exactly(self, actor: Actor) -> None:
        assert mentions("Löwe beats Rival", *self.BRANDS, actor=actor) == ("lowe", "rival")

    def test_may_be_shared(self) -> None:
        group = (brand("a", "Alpha", accounts=("g",)), brand("b", "Beta", accounts=("G",)))
        assert mentions("alpha beta", *group, actor=Actor(name="g")) == ()


class TestEvents:
    LOWE = brand("lowe", "Lowe", handles=("lowe",))

    def test_are_searched_in_their_object(self) -> None:
        follow = event(type="Follow", object="@lowe")
        assert BrandMatcher([self.LOWE]).match(follow) == ("lowe",)

    def test_are_not_searched_in_what_they_answer(self) -> None:
        assert mentions("thanks", self.LOWE, in_reply_to="@lowe", url="https://x/@lowe") == ()

    def test_are_searched_up_to_a_limit(self) -> None:
        assert mentions(" " * (MAX_LOOKED_AT - 4) + "lowe", self.LOWE) == ("lowe",)
        assert mentions(" " * MAX_LOOKED_AT + "lowe", self.LOWE) == ()

    def test_mention_nothing_where_there_are_no_brands(self) -> None:
        assert mentions("lowe") == ()


@pytest.mark.parametrize(
    ("brands", "message"),
    [
        ([brand("a", "\u200b")], r"brand 'a': alias '\\u200b' holds nothing"),
        ([brand("a", aliases=("",))], "brand 'a': alias '' holds nothing"),
        ([brand("a", handles=("@",))], "brand 'a': handle '@' must be '@' and letters"),
        ([brand("a", handles=("two words",))], "handle 'two words' must be .* without spaces"),
        ([brand("a", hashtags=("# x",))], "hashtag '# x' must be '#' and letters"),
        ([brand("a", accounts=("@",))], "account '@' holds nothing"),
        ([brand("a", required=("\u0301",))], "required word .* holds nothing"),
        ([brand("a", forbidden=("",))], "forbidden word '' holds nothing"),
        ([brand("a", aliases=("@lowe",))], "alias '@lowe' holds a handle"),
        ([brand("a", aliases=("https://a.example",))], "alias 'https://a.example' holds"),
        (
            [brand("a", "Löwe"), brand("b", aliases=("LOWE",))],
            "brand 'b': alias 'LOWE' is the same as alias 'Löwe' of brand 'a'",
        ),
        (
            [brand("a", handles=("@x",)), brand("b", handles=("X",))],
            "brand 'b': handle 'X' is the same as handle '@x' of brand 'a'",
        ),
        (
            [brand("a", hashtags=("x",)), brand("b", hashtags=("#x",))],
            "brand 'b': hashtag '#x' is the same as hashtag 'x' of brand 'a'",
        ),
    ],
)
def test_patterns_that_cannot_be_told_are_refused(
    brands: list[BrandSettings], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        BrandMatcher(brands)


def test_a_brand_may_repeat_itself() -> None:
    assert mentions("lowe", brand("a", "Löwe", aliases=("lowe", "LOWE"))) == ("a",)


MATCHER = BrandMatcher(
    [
        brand("north", "North", handles=("north",), hashtags=("north",), forbidden=("pole",)),
        brand("face", "North Face", aliases=("TNF",), handles=("tnf",)),
        brand("mi", "小米", handles=("小米",), accounts=("mi",)),
    ]
)


@given(ANY_TEXT, ANY_TEXT, st.sampled_from(["{} @north {}", "{} (@North)! {}", "{}\n@NORTH: {}"]))
def test_a_handle_is_found_in_any_text(before: str, after: str, form: str) -> None:
    assert "north" in MATCHER.match(event(form.format(before, after)))


PIECES = st.lists(
    st.sampled_from(["north", " ", "face", "tnf", "@", "#", ".", "pole", "小米", "é", "https://"])
).map("".join)


@given(PIECES, st.randoms(use_true_random=False))
def test_case_is_no_difference(text: str, random: Any) -> None:
    changed = "".join(random.choice((c, c.swapcase())) if c.isascii() else c for c in text)
    assert MATCHER.match(event(changed)) == MATCHER.match(event(text))


def reference(brands: Sequence[BrandSettings], text: str) -> tuple[str, ...]:
    """The same for folded text of ASCII and Han, one regular expression at a time."""
    han = "\u4e00-\u9fff"
    latin = f"[^\\W{han}]"
    tail = f"{latin}+(?:[.@-]{latin}+)*"
    addresses = [rf"https?://[^\s<>\"{han}]+", f"@{tail}", f"@[{han}]\\w*", r"#\w+"]

    def words(pattern: str) -> str:
        before = "" if pattern[0] > "\x7f" else f"(?<!{latin})"
        after = "" if pattern[-1] > "\x7f" else f"(?!{latin})"
        return f"{before}{re.escape(pattern)}{after}"

    def any_of(patterns: Iterable[str]) -> bool:
        return any(re.search(words(pattern), text) for pattern in patterns)

    found = set()
    for b in brands:
        for handle in b.handles:
            more = r"\w" if handle[-1] > "\x7f" else latin
            if re.search(f"(?<!{latin})@{re.escape(handle)}(?!{more}|[.@-]{latin})", text):
                found.add(b.key)
        if any(re.search(rf"(?<!{latin})(?<!/)#{re.escape(t)}(?!\w)", text) for t in b.hashtags):
            found.add(b.key)

    position = 0
    while position < len(text):
        here: list[tuple[int, BrandSettings | None]] = [
            (match.end(), None)
            for address in addresses
            if (match := re.compile(address).match(text, position))
        ]
        for b in brands:
            for alias in (b.name, *b.aliases):
                match = re.compile(words(alias) + r"(?!(?:[\w.+&'-]*\w)?@\w)").match(text, position)
                if match:
                    here.append((match.end(), b))
        if not here:
            position += 1
            continue
        position, owner = max(here, key=lambda candidate: candidate[0])
        if owner is None or any_of(owner.forbidden):
            continue
        if not owner.required or any_of(owner.required):
            found.add(owner.key)
    return tuple(b.key for b in brands if b.key in found)


WORDS = st.from_regex("[ab小](-?[ab小]){0,2}", fullmatch=True)
PHRASES = st.lists(WORDS, min_size=1, max_size=2).map(" ".join)


@st.composite
def brand_lists(draw: st.DrawFn) -> list[BrandSettings]:
    aliases, tags, handles = (
        draw(st.lists(each, min_size=3, max_size=6, unique=True))
        for each in (PHRASES, WORDS, WORDS)
    )
    return [
        BrandSettings(
            key=string.ascii_lowercase[index],
            name=aliases[index],
            aliases=tuple(aliases[3:][index::3]),
            hashtags=tuple(tags[index::3]),
            handles=tuple(handles[index::3]),
            required=tuple(draw(st.lists(WORDS, max_size=1))),
            forbidden=tuple(draw(st.lists(WORDS, max_size=1))),
        )
        for index in range(3)
    ]


SMALL_TEXT = st.lists(
    st.sampled_from([*"aabb小  @#._-+/'", "http://", "https://a"]), max_size=24
).map(lambda pieces: " ".join("".join(pieces).split()))


@settings(max_examples=200)
@given(brand_lists(), SMALL_TEXT)
def test_equals_the_slow_reference(brands: list[BrandSettings], text: str) -> None:
    assert BrandMatcher(brands).match(event(text)) == reference(brands, text)
