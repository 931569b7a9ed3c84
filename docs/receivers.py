"""The sample alert as each channel shows it, as text: what stands in `receivers-shown.md`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from html import unescape
from typing import Any, Final

import msgspec

from pipeline.receivers import (
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
    webhook,
)
from pipeline.receivers.links import LinkTemplates
from pipeline.receivers.sample import sample_notice
from pipeline.receivers.story import Story, story_of
from pipeline.receivers.text import BREAK

NOTICE: Final = sample_notice("firing", datetime(2026, 5, 4, 9, 30, tzinfo=UTC))
LINKS: Final = LinkTemplates(
    page="https://gapwatch.example/",
    dashboard="https://grafana.example/d/gapwatch-incident?var-brand={brand}"
    "&var-touchpoint={touchpoint}&from={from_ms}&to={to_ms}",
    runbook="https://wiki.example/{team}/{touchpoint}",
)

_HEAD: Final = """# What each channel shows

Written by `make docs` from the sample alert that `gapwatch notify test` sends. Layout, colours and
the picture of the curve are left out; a link stands as its words with the address behind.

"""


def shown() -> str:
    """The page."""
    story = story_of(NOTICE, LINKS)
    parts = [_HEAD]
    for name, render in _CHANNELS.items():
        parts.append(f"## {name}\n\n```\n{render(story).replace(BREAK, '')}\n```\n")
    return "\n".join(parts)


def _slack(story: Story) -> str:
    return "\n".join(_slack_lines(slack.message(story)["blocks"]))


def _slack_lines(blocks: list[dict[str, Any]]) -> Iterator[str]:
    for block in blocks:
        match block:
            case {"fields": fields}:
                for name, value in zip(fields[::2], fields[1::2], strict=True):
                    yield f"{name['text'].strip('*')}: {value['text']}"
            case {"elements": elements}:
                yield "  " + " · ".join(_slack_text(element["text"]) for element in elements)
            case _:
                yield _slack_text(block["text"]["text"])


def _slack_text(text: str) -> str:
    text = re.sub(r"<!date\^\d+\^[^|]*\|([^>]+)>", r"\1", text)
    return unescape(re.sub(r"<(https?://[^|>]+)\|([^>]+)>", r"\2 [\1]", text))


def _teams(story: Story) -> str:
    card = teams.message(story)["attachments"][0]["content"]
    lines = list(_teams_lines(card["body"]))
    lines += [f"( {action['title']} ) [{action['url']}]" for action in card["actions"]]
    return "\n".join(lines)


def _teams_lines(elements: list[dict[str, Any]]) -> Iterator[str]:
    for element in elements:
        if "items" in element:
            yield from _teams_lines(element["items"])
        else:
            yield "".join(
                run["text"] + (f" [{run['selectAction']['url']}]" if "selectAction" in run else "")
                for run in element["inlines"]
            )


def _markdown(text: str) -> str:
    text = re.sub(r"(?<!\\)\[([^\]]+)\]\(<([^>]+)>\)", r"\1 [\2]", text)
    text = re.sub(
        r"<t:(\d+):f>", lambda m: f"{datetime.fromtimestamp(int(m[1]), UTC):%d %B %Y %H:%M}", text
    )
    text = re.sub(r"^(-# |_(?=\w))|(?<![\\*])\*\*|(?<=\.)_$| {2}$", "", text, flags=re.M)
    return unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text))


def _discord(story: Story) -> str:
    (embed,) = discord.message(story, with_picture=True)["embeds"]
    fields = [f"{field['name']}: {field['value']}" for field in embed["fields"]]
    return _markdown("\n\n".join((embed["title"], embed["description"], "\n".join(fields))))


def _mattermost(story: Story) -> str:
    (attachment,) = mattermost.message(story)["attachments"]
    fields = [f"{field['title']}: {field['value']}" for field in attachment["fields"]]
    return _markdown("\n\n".join((attachment["text"], "\n".join(fields))))


def _google_chat(story: Story) -> str:
    card = google_chat.message(story, thread="")["cardsV2"][0]["card"]
    lines = [card["header"]["title"]]
    for section in card["sections"]:
        for widget in section["widgets"]:
            match widget:
                case {"textParagraph": {"text": text}}:
                    lines.append(_html(text))
                case {"decoratedText": {"topLabel": label, "text": text}}:
                    lines.append(f"{label}: {_html(text)}")
                case {"buttonList": {"buttons": buttons}}:
                    lines += [
                        f"( {b['text']} ) [{b['onClick']['openLink']['url']}]" for b in buttons
                    ]
    return "\n".join(lines)


def _html(text: str) -> str:
    text = re.sub(r'<a href="([^"]+)">([^<]+)</a>', r"\2 [\1]", text.replace("<br>", "\n"))
    return unescape(re.sub(r"<[^>]+>", "", text))


def _telegram(story: Story) -> str:
    text: str = telegram.message(story)["text"]
    return text


def _email(story: Story) -> str:
    mail = email.compose(
        NOTICE, story, None, sender="gapwatch@example.com", to=("team@example.com",)
    )
    body = mail.get_body(("plain",))
    assert body is not None
    return f"Subject: {mail['Subject']}\n\n{body.get_content().replace(chr(13), '').rstrip()}"


def _apprise(story: Story) -> str:
    return "\n\n".join(apprise.message(story))


def _json(payload: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(payload), indent=2).decode()


_CHANNELS: Final[dict[str, Callable[[Story], str]]] = {
    "Slack": _slack,
    "Microsoft Teams": _teams,
    "Discord": _discord,
    "Mattermost": _mattermost,
    "Google Chat": _google_chat,
    "Telegram": _telegram,
    "E-mail": _email,
    "Apprise": _apprise,
    "PagerDuty": lambda story: _json(pagerduty.event_of(NOTICE, story)),
    "Alertmanager": lambda story: _json(
        [alertmanager.alert_of(NOTICE, story, alertmanager.labels_of(NOTICE, {}))]
    ),
    "Webhook": lambda _: _json(webhook.message(NOTICE, LINKS.of(NOTICE.alert))),
}
