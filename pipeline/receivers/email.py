"""E-mail, by an SMTP server: plain text and HTML, the curve as a picture, one thread an alert.

Composed here with the standard library, which lets no header be broken out of; Apprise can neither
thread nor set the Message-ID. The id follows from the notification's, the same over all attempts,
so that mail systems can drop repeats. Later mails are answers to the first, under its subject.

Sent by `aiosmtplib` rather than `smtplib` in a thread: an attempt that hangs is given up as a
whole, where `smtplib` limits only each single wait.
"""

from __future__ import annotations

import asyncio
import hashlib
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from typing import Final

import aiosmtplib

from pipeline.receivers import Notice, Outcome, Rate
from pipeline.receivers.curve import picture
from pipeline.receivers.links import LinkTemplates
from pipeline.receivers.settings import EmailReceiver
from pipeline.receivers.story import COLOUR, Quote, Story, moment, story_of, subject_of

MAX_SUBJECT: Final = 200
"""Our own: more is not shown in any list."""

RATE: Final = Rate(per_second=0.5, burst=5)
"""Our own: common providers throttle above some thirty a minute."""

_DOMAIN: Final = "gapwatch.invalid"
_CURVE: Final = f"curve@{_DOMAIN}"


class Email:
    """Receiver for mailboxes."""

    rate = RATE
    refreshes = False
    folds = True

    def __init__(self, settings: EmailReceiver, links: LinkTemplates) -> None:
        self._settings = settings
        self._links = links

    async def send(self, notice: Notice) -> Outcome:
        """As `Receiver.send`."""
        settings = self._settings
        try:
            password = settings.login()
        except (OSError, UnicodeDecodeError):
            return Outcome("retry", "password_file cannot be read")
        story = story_of(notice, self._links)
        curve = notice.alert.curve
        image = await asyncio.to_thread(picture, curve) if curve is not None else None
        mail = compose(notice, story, image, sender=settings.sender, to=settings.to)
        try:
            async with asyncio.timeout(settings.timeout):
                refused, _ = await aiosmtplib.send(
                    mail,
                    hostname=settings.host,
                    port=settings.port,
                    username=settings.username,
                    password=password,
                    use_tls=settings.security == "tls",
                    start_tls=settings.security == "starttls",
                    timeout=settings.timeout,
                )
        except Exception as error:
            return _trouble(error, settings.timeout)
        handle = notice.handle or str(mail["Message-ID"])
        if refused:
            count = f"{len(refused)} of {len(settings.to)}"
            return Outcome("delivered", f"but {count} mailboxes were refused", handle=handle)
        return Outcome("delivered", "accepted", handle=handle)

    async def close(self) -> None:
        """As `Receiver.close`."""


def _trouble(error: Exception, timeout: float) -> Outcome:
    """In our own words: a server's may repeat who logs in."""
    match error:
        case TimeoutError() | aiosmtplib.SMTPTimeoutError():
            return Outcome("retry", f"the mail server did not finish within {timeout:g} s")
        case aiosmtplib.SMTPRecipientsRefused():
            codes = {recipient.code for recipient in error.recipients}
            final = all(code >= 500 for code in codes)
            said = ", ".join(map(str, sorted(codes)))
            return Outcome("refused" if final else "retry", f"all mailboxes were refused ({said})")
        case aiosmtplib.SMTPAuthenticationError():
            return Outcome("retry", f"the mail server refuses the login ({error.code})")
        case aiosmtplib.SMTPDataError() if error.code >= 500:
            return Outcome("refused", f"the mail server refuses the message ({error.code})")
        case aiosmtplib.SMTPResponseException():
            return Outcome("retry", f"the mail server answers {error.code}")
        case aiosmtplib.SMTPServerDisconnected():
            return Outcome("retry", "the mail server hung up")
        case aiosmtplib.SMTPConnectError() | OSError():
            return Outcome("retry", "cannot connect to the mail server")
        case aiosmtplib.SMTPException():
            return Outcome("retry", f"the mail server cannot be used ({type(error).__name__})")
        case _:
            raise error


def compose(
    notice: Notice, story: Story, image: bytes | None, *, sender: str, to: tuple[str, ...]
) -> EmailMessage:
    """The mail of a notice."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address("Gapwatch", addr_spec=sender)
    mail["To"] = [Address(addr_spec=each) for each in to]
    mail["Subject"] = _subject(notice)
    mail["Date"] = format_datetime(notice.alert.updated)
    mail["Message-ID"] = message_id(notice.notification)
    if notice.handle is not None:
        mail["In-Reply-To"] = notice.handle
        mail["References"] = notice.handle
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: answer it with no absence note
    mail["X-Auto-Response-Suppress"] = "All"
    mail.set_content(_text(story))
    mail.add_alternative(_html(story, image is not None), subtype="html")
    if image is not None:
        html = mail.get_payload()[-1]  # type: ignore[index]
        assert isinstance(html, EmailMessage)
        html.add_related(image, "image", "png", cid=f"<{_CURVE}>", filename="curve.png")
    return mail


def message_id(notification: str) -> str:
    """The mail's id; a digest, as a notification's id may hold what an address may not."""
    return f"<{hashlib.sha256(notification.encode()).hexdigest()[:32]}@{_DOMAIN}>"


def _subject(notice: Notice) -> str:
    """The same over the alert's life but for `Re:`, which mail programs thread by."""
    mark = "TEST, not an alert: " if notice.sample else ""
    again = "Re: " if notice.handle is not None else ""
    onset = f"{notice.alert.onset:%Y-%m-%d %H:%M}"
    return f"{again}[Gapwatch] {mark}{subject_of(notice.alert)}, since {onset} UTC"[:MAX_SUBJECT]


def _text(story: Story) -> str:
    lines = [story.title, "", *story.lead, ""]
    lines += [f"{name}: {value}" for name, value in story.facts]
    if story.said:
        lines += ["", f"What sets it apart: {story.said}"]
    if story.curve:
        lines += ["", story.curve]
    for quote in story.quotes:
        lines += ["", f"“{quote.text}”", f"— {_by(quote)}"]
        if quote.link:
            lines.append(quote.link.url)
    lines += ["", *story.notes] if story.notes else []
    if links := story.links.named():
        lines += ["", *(f"{words}: {link.url}" for words, link in links)]
    return "\n".join(lines) + "\n"


def _by(quote: Quote) -> str:
    return ", ".join(filter(None, (quote.author, moment(quote.published), quote.alike)))


def _html(story: Story, with_picture: bool) -> str:
    colour = f"#{COLOUR[story.alert.status]:06x}"
    parts = [
        f'<h2 style="margin:0 0 8px;border-left:6px solid {colour};padding-left:10px">'
        f"{escape(story.title)}</h2>",
        f"<p>{'<br>'.join(map(escape, story.lead))}</p>",
        '<table cellpadding="3" style="border-collapse:collapse">',
        *(
            f'<tr><td style="color:#70757d">{escape(name)}</td><td>{escape(value)}</td></tr>'
            for name, value in story.facts
        ),
        "</table>",
    ]
    if story.said:
        parts.append(f"<p>What sets it apart: {escape(story.said)}</p>")
    if with_picture:
        parts.append(
            f'<p><img src="cid:{_CURVE}" width="640" height="180" '
            f'alt="{escape(story.curve)}" style="max-width:100%;height:auto"></p>'
        )
    elif story.curve:
        parts.append(f"<p>{escape(story.curve)}</p>")
    for quote in story.quotes:
        by = escape(_by(quote))
        if quote.link:
            by += f', <a href="{escape(quote.link.url)}">read it at {escape(quote.link.host)}</a>'
        parts.append(
            f'<blockquote style="margin:12px 0;padding-left:10px;border-left:3px solid #c4c9d0">'
            f'“{escape(quote.text)}”<br><span style="color:#70757d">{by}</span></blockquote>'
        )
    parts += [f'<p style="color:#70757d">{escape(note)}</p>' for note in story.notes]
    if links := story.links.named():
        ways = [f'<a href="{escape(link.url)}">{words}</a>' for words, link in links]
        parts.append(f"<p>{' · '.join(ways)}</p>")
    return (
        '<!doctype html><html><body style="font-family:sans-serif;max-width:680px">\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
