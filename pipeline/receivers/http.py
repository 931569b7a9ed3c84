"""One call to a receiver over HTTP, and what its answer means."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Generic, TypeVar

import aiohttp
import msgspec
from yarl import URL

from pipeline import __version__
from pipeline.receivers import Outcome
from pipeline.receivers.guard import PrivateAddressError, PublicResolver, is_private_literal
from pipeline.receivers.links import LinkTemplates
from pipeline.receivers.settings import CalledReceiver

T = TypeVar("T")
S = TypeVar("S", bound=CalledReceiver)

ANSWER_BYTES: Final = 4096
"""Most that is read of an answer that only its status matters of."""

LONG_ANSWER_BYTES: Final = 256 * 1024
"""Most that is read of an answer that repeats the message and tells its id."""

LONGEST_RETRY_AFTER: Final = 900.0
"""Seconds; a receiver that asks for more is tried again all the same."""

_UNMENDABLE: Final = frozenset({400, 406, 409, 411, 413, 414, 415, 422, 431, 451})
"""Client errors about this very message: another attempt would end the same.

All others may be mended by a person: a token renewed (401), an application allowed into a channel
(403), an address corrected (404). Until then their messages wait.
"""

_CODE: Final = re.compile(r"[a-z][a-z_]{2,39}")
"""An error code as Slack and others answer with, and nothing that could repeat the address."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer, as far as it was read."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    secret: str = field(repr=False)

    def read(self, kind: type[T]) -> T | None:
        """The body as JSON of this shape, if it is."""
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            return msgspec.json.decode(self.body, type=kind)
        return None

    def outcome(self, *, wait: float | None = None, handle: str | None = None) -> Outcome:
        """What the status says.

        Args:
            wait: Seconds the body asked to be left alone for, where services say it there.
            handle: Passed on if it is delivered.
        """
        status, detail = self.status, f"answer {self.status}"
        code = self.body[:64].decode("utf-8", "replace").strip()
        if status >= 400 and _CODE.fullmatch(code) and code not in self.secret:
            detail += f" ({code})"
        if 200 <= status < 300:
            return Outcome("delivered", detail, handle=handle)
        if 300 <= status < 400:
            detail += ": redirects are not followed; set url to where it is"
        if status == 410:
            return Outcome("gone", detail)
        if status in _UNMENDABLE:
            return Outcome("refused", detail)
        if wait is None:
            return Outcome(
                "retry", detail, retry_after(self.headers.get("Retry-After"), datetime.now(UTC))
            )
        return Outcome("retry", detail, min(max(wait, 0.0), LONGEST_RETRY_AFTER))


class Caller:
    """Makes the calls of one receiver; its connections are its own.

    Args:
        timeout: Seconds for all of one call.
        allow_private: Whether it may call what is not on the public internet.
    """

    def __init__(self, *, timeout: float, allow_private: bool) -> None:
        self._timeout = timeout
        self._allow_private = allow_private
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=None if allow_private else PublicResolver(), limit=4
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def post(
        self,
        target: Callable[[], str],
        body: bytes,
        *,
        headers: Callable[[], Mapping[str, str]] = dict,
    ) -> Outcome:
        """As `call`, where of the answer only its meaning matters."""
        answer = await self.call(target, body, headers=headers)
        return answer if isinstance(answer, Outcome) else answer.outcome()

    async def call(
        self,
        target: Callable[[], str],
        data: Any,
        *,
        method: str = "POST",
        headers: Callable[[], Mapping[str, str]] = dict,
        json: bool = True,
        most: int = ANSWER_BYTES,
    ) -> Answer | Outcome:
        """Call once; an `Outcome` where there was no answer.

        Redirects are not followed: they would carry the alert, and the secret in the address, to
        where nobody decided to send them.

        Args:
            target: Gives the address at each attempt, so that a secret can be renewed in its file.
            data: Bytes of JSON, or a form where `json` is off.
            headers: Gives further headers, which may hold secrets too.
            most: Bytes of the answer to read. What is beyond is not waited for.
        """
        try:
            url = target()
            given = headers()
        except OSError as error:
            return Outcome("retry", f"a file with a secret cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            return Outcome("retry", "a file with a secret is not UTF-8 text")
        except ValueError as error:
            # Ours, and nothing of what was read is in it.
            return Outcome("retry", str(error))
        try:
            if not self._allow_private and is_private_literal(URL(url).host or ""):
                return _PRIVATE
            async with self._session.request(
                method,
                url,
                data=data,
                headers={
                    **({"Content-Type": "application/json"} if json else {}),
                    "User-Agent": f"gapwatch/{__version__}",
                    "Accept-Encoding": "identity",
                    **given,
                },
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._timeout),
            ) as response:
                body = b""
                # What the status says holds, whatever becomes of the rest.
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                    body = await _read(response.content, most)
                return Answer(response.status, response.headers, body, url)
        except TimeoutError:  # before ClientError: aiohttp's timeouts are both
            return Outcome("retry", f"no answer within {self._timeout:g} s")
        except aiohttp.InvalidURL:
            return _NO_URL
        except (aiohttp.ClientError, OSError) as error:
            return _trouble(error)
        except ValueError:  # last: a certificate that is not trusted is one too
            return _NO_URL


class HttpReceiver(Generic[S]):
    """What the receivers that are called over HTTP have in common."""

    def __init__(self, settings: S, links: LinkTemplates) -> None:
        self._settings = settings
        self._links = links
        self._http = Caller(timeout=settings.timeout, allow_private=settings.allow_private)

    async def close(self) -> None:
        """As `Receiver.close`."""
        await self._http.close()


_NO_URL: Final = Outcome("retry", "url is not an address that can be called")
_PRIVATE: Final = Outcome(
    "retry", "its address is a private one; allow_private = true permits that for this receiver"
)


async def _read(content: aiohttp.StreamReader, most: int) -> bytes:
    """The answer's beginning. What is not read is not waited for: the connection is closed."""
    body = b""
    while len(body) < most:
        part = await content.read(most - len(body))
        if not part:
            break
        body += part
    return body


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, seconds or a date), capped."""
    if value is None:
        return None
    value = value.strip()
    # Discord gives fractions of a second.
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
        seconds = float(value)
    else:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, OverflowError):  # the latter where the zone is days away
            return None
        # RFC 9110 dates are GMT, also where none is given.
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _trouble(error: Exception) -> Outcome:
    """In our own words: aiohttp's would show the address."""
    match error:
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, PrivateAddressError):
            return _PRIVATE
        case aiohttp.ClientConnectorCertificateError():
            said = "its TLS certificate is not trusted"
        case aiohttp.ClientConnectorDNSError():
            said = "its host name cannot be resolved"
        case aiohttp.ClientSSLError():
            said = "TLS failed"
        case aiohttp.ClientConnectorError():
            said = f"cannot connect: {error.os_error.strerror or 'no reason given'}"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | OSError():
            said = "the connection broke"
        case _:
            said = f"no usable answer ({type(error).__name__})"
    return Outcome("retry", said)
