"""Telegram, by a bot: one message an alert, edited as things change, news in reply to it.

Built here, since Apprise cannot edit or reply. Nothing is escaped because nothing is parsed: the
text is plain, and what is bold, quoted or linked is told by `entities`. Telegram takes no id to
drop repeats by.
"""

from __future__ import annotations

import contextlib
from typing import Annotated, Any, Final

import msgspec

from pipeline.receivers import Notice, Outcome, Rate
from pipeline.receivers.editing import keep_up
from pipeline.receivers.http import LONG_ANSWER_BYTES, Answer, HttpReceiver
from pipeline.receivers.settings import TelegramReceiver
from pipeline.receivers.story import Quote, Story, fitted, moment, story_of
from pipeline.receivers.text import utf16

MAX_UNITS: Final = 4096
"""UTF-16 units of a message's text (https://core.telegram.org/bots/api#sendmessage)."""

MAX_ENTITIES: Final = 100
"""https://core.telegram.org/api/entities"""

RATE: Final = Rate(per_second=1 / 3, burst=3)
"""Twenty a minute in a group (https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this)."""


class _Parameters(msgspec.Struct):
    retry_after: float | None = None


class _Message(msgspec.Struct):
    message_id: Annotated[int, msgspec.Meta(ge=1)]


class _Said(msgspec.Struct):
    """An answer, as far as it is used."""

    ok: bool
    description: str = ""
    parameters: _Parameters | None = None
    result: Any = None


class Telegram(HttpReceiver[TelegramReceiver]):
    """Receiver for a Telegram chat."""

    rate = RATE
    refreshes = True
    folds = True

    async def send(self, notice: Notice) -> Outcome:
        """As `Receiver.send`."""
        story = story_of(notice, self._links)
        whole = message(story) | {"chat_id": self._settings.chat}
        place: dict[str, Any] = (
            {} if self._settings.topic is None else {"message_thread_id": self._settings.topic}
        )

        async def first() -> Outcome:
            return _outcome(await self._call("sendMessage", whole | place))

        async def edit(handle: str) -> Outcome | None:
            answer = await self._call("editMessageText", whole | {"message_id": int(handle)})
            said = None if isinstance(answer, Outcome) else answer.read(_Said)
            if said is not None and not said.ok:
                if "message is not modified" in said.description:
                    return Outcome("delivered", "nothing to change", handle=handle)
                if "message to edit not found" in said.description or (
                    "message can't be edited" in said.description
                ):
                    return None
            return _outcome(answer, handle=handle)

        async def reply(handle: str) -> Outcome:
            beside = {"message_id": int(handle), "allow_sending_without_reply": True}
            body = news(story) | {"chat_id": self._settings.chat, "reply_parameters": beside}
            return _outcome(await self._call("sendMessage", body | place), handle=handle)

        return await keep_up(notice, first=first, edit=edit, reply=reply)

    async def _call(self, method: str, body: dict[str, Any]) -> Answer | Outcome:
        return await self._http.call(
            lambda: f"{self._settings.api}/bot{self._settings.credential()}/{method}",
            msgspec.json.encode(body),
            most=LONG_ANSWER_BYTES,
        )


def _outcome(answer: Answer | Outcome, *, handle: str | None = None) -> Outcome:
    if isinstance(answer, Outcome):
        return answer
    said = answer.read(_Said)
    wait = said.parameters.retry_after if said and said.parameters else None
    if handle is None and said is not None and said.ok:
        with contextlib.suppress(msgspec.ValidationError):
            handle = str(msgspec.convert(said.result, _Message).message_id)
    return answer.outcome(wait=wait, handle=handle)


class _Draft:
    """A text and where what of it is bold, quoted or linked."""

    def __init__(self) -> None:
        self.text = ""
        self.entities: list[dict[str, Any]] = []

    def add(self, text: str, kind: str | None = None, **properties: Any) -> None:
        """Append text, all of it of a kind of entity."""
        if kind is not None and text:
            self.entities.append(
                {"type": kind, "offset": utf16(self.text), "length": utf16(text), **properties}
            )
        self.text += text

    def payload(self) -> dict[str, Any]:
        """As the Bot API takes it, without a chat."""
        return {
            "text": self.text,
            "entities": self.entities,
            "link_preview_options": {"is_disabled": True},
        }


def message(story: Story) -> dict[str, Any]:
    """Text and entities of an alert's message."""
    return fitted(
        story,
        _message,
        lambda p: utf16(p["text"]) <= MAX_UNITS and len(p["entities"]) <= MAX_ENTITIES,
    )


def _message(story: Story) -> dict[str, Any]:
    draft = _Draft()
    draft.add(story.title, "bold")
    draft.add("\n\n" + "\n".join(story.lead))
    if story.facts:
        draft.add("\n")
    for name, value in story.facts:
        draft.add("\n")
        draft.add(f"{name}:", "bold")
        draft.add(f" {value}")
    if story.said:
        draft.add("\n\n")
        draft.add("What sets it apart:", "bold")
        draft.add(f" {story.said}")
    if story.curve:
        draft.add(f"\n\n{story.curve}")
    for quote in story.quotes:
        draft.add("\n\n")
        _quote(draft, quote)
    for note in story.notes:
        draft.add("\n\n")
        draft.add(note, "italic")
    for at, (words, link) in enumerate(story.links.named()):
        draft.add(" · " if at else "\n\n")
        draft.add(words, "text_link", url=link.url)
    return draft.payload()


def news(story: Story) -> dict[str, Any]:
    """What is said in reply to the message when something changes."""
    draft = _Draft()
    draft.add(story.title, "bold")
    draft.add("\n" + "\n".join(story.lead))
    return draft.payload()


def _quote(draft: _Draft, quote: Quote) -> None:
    draft.add(f"“{quote.text}”", "blockquote")
    draft.add(f"\n{', '.join(filter(None, (quote.author, moment(quote.published), quote.alike)))}")
    if quote.link:
        draft.add(", ")
        draft.add(f"read it at {quote.link.host}", "text_link", url=quote.link.url)
