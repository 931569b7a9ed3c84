"""Every channel: what it shows, what it leaves out where it must, and what nobody can make it show.

Each channel has its markup, and so its own way to see what of a payload is text. What must hold of
that text is the same for all.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator
from slack_sdk.models.blocks import Block

from pipeline.receivers import (
    Notice,
    alertmanager,
    apprise,
    discord,
    email,
    google_chat,
    mattermost,
    pagerduty,
    slack,
    teams,
    telegram,
)
from pipeline.receivers.links import LinkTemplates
from pipeline.receivers.story import MAX_POSTS, Story, fitted
from pipeline.receivers.text import link_to, utf16
from pipeline.records import Term
from tests.unit.receivers.hostile import (
    HOSTILE,
    URLS,
    a_hostile_alert,
    a_post,
    a_story,
    an_alert,
    texts,
)
from tests.unit.receivers.schemas import ALERTMANAGER, DISCORD, GOOGLE_CHAT, PAGERDUTY, TEAMS

LIVE = re.compile(r"[@#][\w!&]|://|www\.|mailto:|tel:|\w\.[^\W\d_]{2}|\{\{", re.I)
WORDS = ("Live page", "Dashboard", "Runbook")
HOST = re.compile(r"(?:read it|post) at [a-z0-9.-]+")


@dataclass
class Shown:
    """What a payload shows: its texts, and where its links lead by the words they show."""

    texts: list[str]
    links: list[tuple[str, str]]


def strings(value: Any) -> Iterator[str]:
    """Every string in a payload."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from strings(each)


def notice_of(story: Story) -> Notice:
    return Notice(story.alert, story.alert.notification)


def in_slack(story: Story) -> Shown:
    payload = slack.message(story)
    for block in Block.parse_all(payload["blocks"]):
        block.validate_json()  # as Slack's own library sees it
    assert len(payload["blocks"]) <= slack.MAX_BLOCKS
    assert 1 <= len(payload["text"]) <= slack.MAX_SECTION
    assert len(payload["blocks"][0]["text"]["text"]) <= slack.MAX_HEADER
    found, links = [payload["text"]], []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if value.get("type") == "plain_text":
                assert value["emoji"] is False
                assert 1 <= len(value["text"]) <= slack.MAX_SECTION
                found.append(value["text"])
            elif value.get("type") == "mrkdwn":
                assert value["verbatim"] is True
                text = re.sub(
                    r"<!date\^\d+\^\{date_short_pretty\} \{time\}\|[^<>|]+>", "", value["text"]
                )
                links.extend(re.findall(r"<(https?://[^\s<>|]+)\|([^<>|]+)>", text))
                left = re.sub(r"<https?://[^\s<>|]+\|[^<>|]+>", "", text)
                assert re.fullmatch(r"(\*[A-Z][\w ',]+\*)?", left)  # the name of a fact
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    walk(payload["blocks"])
    for text in found:
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", text)
    return Shown([html.unescape(text) for text in found], [(html.unescape(u), w) for u, w in links])


def in_teams(story: Story) -> Shown:
    payload = teams.message(story)
    Draft202012Validator(TEAMS).validate(payload)
    assert len(msgspec.json.encode(payload)) <= teams.MAX_BYTES
    card = payload["attachments"][0]["content"]
    found, links = [card["fallbackText"]], []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            assert value.get("type") not in ("TextBlock", "FactSet")  # which read Markdown
            if value.get("type") == "TextRun":
                found.append(value["text"])
                if "selectAction" in value:
                    links.append((value["selectAction"]["url"], value["text"].strip(" ·")))
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    walk(card["body"])
    links += [(action["url"], action["title"]) for action in card.get("actions", ())]
    return Shown(found, links)


ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")


def unescaped(text: str, markup: str) -> str:
    """The text, once nothing unescaped is left in it that is markup."""
    assert not re.search(markup, ESCAPED.sub("", text)), text
    return ESCAPED.sub(r"\1", text)


def in_discord(story: Story) -> Shown:
    payload = discord.message(story)
    Draft202012Validator(DISCORD).validate(payload)
    (embed,) = payload["embeds"]
    parts = [embed["title"], embed["description"]]
    parts += [field[key] for field in embed["fields"] for key in ("name", "value")]
    assert sum(map(utf16, parts)) <= discord.MAX_TOTAL
    assert payload["allowed_mentions"] == {"parse": []}
    news = discord.news(story)
    assert utf16(news["content"]) <= discord.MAX_CONTENT
    assert news["allowed_mentions"] == {"parse": []}
    links, found = [], []
    for part in (*parts, news["content"]):
        for words, url in re.findall(r"(?<!\\)\[([^\]]+)\]\(<([^>]+)>\)", part):
            links.append((url, ESCAPED.sub(r"\1", words)))
        part = re.sub(r"(?<!\\)\[[^\]]+\]\(<[^>]+>\)|(?<!\\)<t:\d+:f>", "", part)
        part = re.sub(r"^(> |-# )|^\*\*(What sets it apart:)\*\*", r"\2", part, flags=re.M)
        found += unescaped(part, r"[*_~`|<>\[\]@#\\()]").splitlines()
    return Shown(found, links)


def in_mattermost(story: Story) -> Shown:
    payload = mattermost.message(story)
    assert len(json.dumps(payload, ensure_ascii=False)) <= mattermost.MAX_CHARACTERS
    (attachment,) = payload["attachments"]
    assert set(attachment) == {"fallback", "color", "text", "fields"}
    links, found = [], [attachment["fallback"]]
    for part in (attachment["text"], *(field["value"] for field in attachment["fields"])):
        links += [
            (url, words) for words, url in re.findall(r"(?<!\\)\[([^\]]+)\]\(<([^>]+)>\)", part)
        ]
        part = re.sub(r"(?<!\\)\[[^\]]+\]\(<[^>]+>\)", "", part)
        part = re.sub(r"^> ", "", part, flags=re.M)
        part = re.sub(
            r"^\*\*(.*)\*\*$|^_(.*)_$|^\*\*(What sets it apart:)\*\*", r"\1\2\3", part, flags=re.M
        )
        found += html.unescape(
            unescaped(part, r"[*_~`|<>\[\]()$]|&(?!amp;|lt;|gt;|#36;)")
        ).splitlines()
    return Shown(found, links)


class Parsed(HTMLParser):
    """Text and links of HTML that holds only what is allowed in it."""

    def __init__(self, allowed: dict[str, set[str]]) -> None:
        super().__init__(convert_charrefs=True)
        self._allowed = allowed
        self._link: str | None = None
        self.texts: list[str] = []
        self.links: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert set(dict(attrs)) <= self._allowed[tag], (tag, attrs)
        if tag == "a":
            self._link = dict(attrs)["href"]

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._link = None

    def handle_data(self, data: str) -> None:
        if self._link is not None:
            self.links.append((self._link, data))
        else:
            self.texts.append(data)


def in_google_chat(story: Story) -> Shown:
    payload = google_chat.message(story, thread="a1")
    Draft202012Validator(GOOGLE_CHAT).validate(payload)
    assert len(msgspec.json.encode(payload)) <= google_chat.MAX_BYTES
    card = payload["cardsV2"][0]["card"]
    parsed = Parsed({"br": set(), "i": set(), "a": {"href"}})
    plain, links, widgets = [payload["fallbackText"], card["header"]["title"]], [], 0
    for section in card["sections"]:
        for widget in section["widgets"]:
            widgets += 1
            match widget:
                case {"textParagraph": {"text": text}}:
                    parsed.feed(text)
                case {"decoratedText": {"topLabel": label, "text": text}}:
                    plain.append(label)
                    parsed.feed(text)
                case {"buttonList": {"buttons": buttons}}:
                    links += [(b["onClick"]["openLink"]["url"], b["text"]) for b in buttons]
                case _:
                    raise AssertionError(widget)
            parsed.texts.append("\n")
    parsed.close()
    assert widgets <= google_chat.MAX_WIDGETS
    return Shown(plain + parsed.texts, links + parsed.links)


def in_telegram(story: Story) -> Shown:
    links = []
    for payload in (telegram.message(story), telegram.news(story)):
        assert utf16(payload["text"]) <= telegram.MAX_UNITS
        assert "parse_mode" not in payload
        assert payload["link_preview_options"] == {"is_disabled": True}
        units = payload["text"].encode("utf-16-le")
        for entity in payload["entities"]:
            assert entity["type"] in ("bold", "italic", "blockquote", "text_link")
            start, end = entity["offset"], entity["offset"] + entity["length"]
            assert 0 <= start < end <= len(units) // 2
            words = units[2 * start : 2 * end].decode("utf-16-le")
            if entity["type"] == "text_link":
                links.append((entity["url"], words))
    return Shown(telegram.message(story)["text"].splitlines(), links)


def in_email(story: Story) -> Shown:
    mail = email.compose(
        notice_of(story), story, b"\x89PNG", sender="from@x.example", to=("a@x.example",)
    )
    assert set(mail.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted",
        "X-Auto-Response-Suppress", "MIME-Version", "Content-Type",
    }  # fmt: skip
    raw = mail.as_bytes()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert [part.get_content_type() for part in mail.walk()] == [
        "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png"
    ]  # fmt: skip
    text = mail.get_body(("plain",))
    rich = mail.get_body(("html",))
    assert text is not None
    assert rich is not None
    style = {"style"}
    parsed = Parsed(
        {
            "html": set(), "body": style, "h2": style, "p": style, "br": set(), "tr": set(),
            "table": {"style", "cellpadding"}, "td": style, "blockquote": style, "span": style,
            "img": {"src", "width", "height", "alt", "style"}, "a": {"href"},
        }
    )  # fmt: skip
    parsed.feed(rich.get_content().replace("\r\n", "\n"))
    parsed.close()
    lines, links = apart(line for line in text.get_content().splitlines() if not link_to(line))
    assert links == [link for link in parsed.links if link[1] in WORDS]
    return Shown([mail["Subject"], *lines, *parsed.texts], parsed.links)


def apart(lines: Iterable[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Lines that are an address shown whole, `Live page: https://…`, apart from the others."""
    found, links = [], []
    for line in lines:
        words, _, url = line.partition(": ")
        if words in WORDS and link_to(url):
            links.append((url, words))
        else:
            found.append(line)
    return found, links


def in_pagerduty(story: Story) -> Shown:
    event = pagerduty.event_of(notice_of(story), story)
    assert event is not None
    Draft202012Validator(PAGERDUTY).validate(event | {"routing_key": "0" * 32})
    payload = event["payload"]
    shown = [payload["summary"], *strings(payload["custom_details"])]
    return Shown(shown, [(link["href"], link["text"]) for link in event["links"]])


def in_alertmanager(story: Story) -> Shown:
    notice = notice_of(story)
    alert = alertmanager.alert_of(notice, story, alertmanager.labels_of(notice, {"env": "prod"}))
    Draft202012Validator(ALERTMANAGER).validate([alert])
    annotations = dict(alert["annotations"])
    urls = (
        alert.get("generatorURL"),
        annotations.pop("dashboard_url", None),
        annotations.pop("runbook_url", None),
    )
    links = [(url, words) for url, words in zip(urls, WORDS, strict=True) if url]
    return Shown(list(annotations.values()), links)


def in_apprise(story: Story) -> Shown:
    title, body = apprise.message(story)
    lines, links = apart(body.splitlines())
    assert not re.search(r"[*_~`\[\]<>|\\&]", "\n".join([title, *lines]))
    return Shown([title, *lines], links)


CHANNELS: dict[str, Callable[[Story], Shown]] = {
    "slack": in_slack,
    "teams": in_teams,
    "discord": in_discord,
    "mattermost": in_mattermost,
    "google-chat": in_google_chat,
    "telegram": in_telegram,
    "email": in_email,
    "pagerduty": in_pagerduty,
    "alertmanager": in_alertmanager,
    "apprise": in_apprise,
}

channel = pytest.mark.parametrize("channel", CHANNELS)


def check(shown: Shown) -> None:
    for text in shown.texts:
        assert not LIVE.search(HOST.sub("", text)), text
        for character in text:
            hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
            assert not hidden or character in "\n\u2060\u200c\u200d", (character, text)
    for url, words in shown.links:
        assert words in WORDS or words.endswith(f" at {link_to(url).host}")  # type: ignore[union-attr]
        assert link_to(url) == (url, link_to(url).host)  # type: ignore[union-attr]


@channel
@pytest.mark.parametrize("text", HOSTILE)
def test_what_authors_write_comes_alive_nowhere(channel: str, text: str) -> None:
    check(CHANNELS[channel](a_story(a_hostile_alert(text))))


@channel
@settings(deadline=None, max_examples=60)
@given(text=texts)
def test_whatever_authors_write_comes_alive_nowhere(channel: str, text: str) -> None:
    check(CHANNELS[channel](a_story(a_hostile_alert(text))))


@channel
@pytest.mark.parametrize("url", URLS)
def test_an_address_that_is_not_to_be_followed_is_not_linked(channel: str, url: str) -> None:
    shown = CHANNELS[channel](a_story(an_alert(posts=(a_post(url=url),)), links=LinkTemplates()))
    assert shown.links == []


@channel
def test_it_tells_what_was_seen_and_expected_since_when_and_who_answers(channel: str) -> None:
    shown = CHANNELS[channel](a_story())
    said = "\n".join(shown.texts)
    for words in (
        "North Bikes: disappointment on delivery is above what is usual",
        "47 posts tell of falling short on delivery in 15 minutes; about 6.2 expected.",
        "Since 2026-05-04 09:30 UTC",
        "Operations",
        "1 of 10",
        "31%",
        "52,300 followers",
        "1 in 10,000,000",
        "“Third week without my order.”",
        "mia, 1,200 followers",
    ):
        assert words in said, words
    if channel not in ("alertmanager", "apprise"):  # which show no post's address
        assert ("https://social.example/mia/1") in [url for url, _ in shown.links]


@channel
def test_it_leads_on_to_the_alert_its_dashboard_and_its_runbook(channel: str) -> None:
    shown = CHANNELS[channel](a_story())
    assert [(url, words) for url, words in shown.links if words in WORDS] == [
        ("https://gapwatch.example/alerts/a1?a=1&b=2", "Live page"),
        (
            "https://grafana.example/d/x?var-brand=north-bikes&from=1777879800000&to=1777888800000",
            "Dashboard",
        ),
        ("https://wiki.example/Operations/delivery", "Runbook"),
    ]


@channel
def test_an_alert_shows_all_it_has(channel: str) -> None:
    alert = a_hostile_alert(
        "plain words",
        terms=(Term("lost parcel", 9, 4.0),),
        posts=(a_post(alike=41),),
        acknowledged="Dana",
        changed="twice as many",
    )
    said = "\n".join(CHANNELS[channel](a_story(alert)).texts)
    wanted = ["as a rule 10%", "40 authors", "-4 (was +10)", "consumption 3", "Dana"]
    wanted += ["Since the last message: twice as many", "plain words"]
    if channel not in ("pagerduty", "alertmanager"):  # which others read, not people in a channel
        wanted += ["“lost parcel”", "and 41 like it", "▂▃█"[:1], "history is short"]
    for words in wanted:
        assert words in said, words


@channel
def test_a_sample_is_marked_as_one(channel: str) -> None:
    story = a_story(sample=True)
    assert "TEST, not an alert" in "\n".join(CHANNELS[channel](story).texts)


@channel
@pytest.mark.parametrize(
    ("status", "notice", "words"),
    [
        ("firing", {}, "is above what is usual"),
        ("escalated", {}, "keeps growing"),
        ("resolved", {"told": True}, "talk on delivery is back to usual"),
        ("resolved", {}, "talk on delivery came up and is back to usual"),
        ("firing", {"silence": "begun"}, "is silenced"),
        ("firing", {"silence": "over"}, "the silence on disappointment on delivery is over"),
    ],
)
def test_the_title_tells_how_it_stands(
    channel: str, status: str, notice: dict[str, Any], words: str
) -> None:
    if channel == "pagerduty" and (status == "resolved" or notice.get("silence") == "begun"):
        return  # resolve events say nothing, silences are not told
    story = a_story(an_alert(status=status), **notice)
    assert words in "\n".join(CHANNELS[channel](story).texts)


@channel
def test_the_brand_as_a_whole_is_not_called_a_touchpoint(channel: str) -> None:
    said = "\n".join(CHANNELS[channel](a_story(an_alert(touchpoint="all", team="none"))).texts)
    assert "North Bikes: disappointment is above what is usual" in said
    assert "47 posts tell of falling short in 15 minutes" in said
    assert "Team that answers" not in said


@channel
def test_touchpoints_that_fire_together_are_all_named(channel: str) -> None:
    alert = an_alert(touchpoints=("delivery", "support", "price"))
    said = "\n".join(CHANNELS[channel](a_story(alert)).texts)
    assert "disappointment on delivery, support and price" in said


@channel
def test_three_posts_at_most_are_quoted(channel: str) -> None:
    alert = an_alert(posts=tuple(a_post(f"words {n}") for n in range(9)))
    said = "\n".join(CHANNELS[channel](a_story(alert)).texts)
    assert [f"words {n}" in said for n in range(9)] == [n < MAX_POSTS for n in range(9)]


@pytest.mark.parametrize("channel", ["discord", "telegram", "mattermost", "google-chat", "teams"])
def test_what_does_not_fit_is_left_out_from_the_end_and_said_so(channel: str) -> None:
    """Posts of 500 characters that escaping makes thousands of, or that take four bytes each."""
    text = "*&𝕏" * 400
    shown = CHANNELS[channel](a_story(a_hostile_alert(text, brand_name="North Bikes")))
    said = "\n".join(shown.texts)
    assert "North Bikes: disappointment on delivery keeps growing" in said
    assert "47 posts tell of falling short on delivery" in said
    if channel in ("discord", "telegram"):
        assert "Shortened: there is more on the live page." in said


def test_of_the_links_the_live_page_stays_longest() -> None:
    fitted_to_one = fitted(a_story(), lambda story: story, lambda s: len(s.links.named()) == 1)
    assert [words for words, _ in fitted_to_one.links.named()] == ["Live page"]
    assert len(fitted_to_one.quotes) == 1
    without_posts = fitted(a_story(), lambda story: story, lambda s: not s.quotes)
    assert [words for words, _ in without_posts.links.named()] == ["Live page"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("delight", "delight on delivery is above what is usual"),
        ("score", "the advocacy score has fallen"),
        ("rival", "disappointment with South Bikes on delivery is above what is usual"),
    ],
)
def test_other_kinds_have_their_own_words(kind: str, words: str) -> None:
    assert words in a_story(an_alert(kind=kind, rival="South Bikes")).title


def test_an_alert_about_a_rival_names_it_to_the_end() -> None:
    alert = an_alert(kind="rival", rival="South Bikes", cold=True)
    story = a_story(alert)
    assert "47 posts tell of South Bikes falling short on delivery" in story.lead[0]
    assert ("Share of the rival's talk", "31%") in story.facts
    assert "The rival's history is short" in story.notes[0]
    over = a_story(an_alert(kind="rival", rival="South Bikes", status="resolved"), told=True)
    assert "talk of South Bikes on delivery is back to usual" in over.title
