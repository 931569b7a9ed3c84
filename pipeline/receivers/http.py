"""One POST to a receiver, and what its answer means."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp

from pipeline import __version__
from pipeline.receivers import Outcome

ANSWER_BYTES: Final = 4096
"""Most that is read of an answer."""

LONGEST_RETRY_AFTER: Final = 900.0
"""Seconds; a receiver that asks for more is tried again all the same."""

_TRY_LATER: Final = frozenset({408, 425, 429})
"""Client errors that say nothing about the request: timeout, too early, too many requests."""

_CODE: Final = re.compile(r"[a-z][a-z_]{2,39}")
"""An error code as Slack and others answer with, and nothing that could repeat the address."""


async def post(
    session: aiohttp.ClientSession,
    target: Callable[[], str],
    body: bytes,
    *,
    headers: Mapping[str, str],
    timeout: float,  # noqa: ASYNC109 (the session's own mechanism, not a cancellation)
) -> Outcome:
    """POST JSON once.

    Redirects are not followed: they would carry the alert, and the secret in the address, to
    where nobody decided to send them.

    Args:
        target: Gives the address at each attempt, so that a secret can be renewed in its file.
        timeout: Seconds for all of it.
    """
    try:
        url = target()
    except OSError as error:
        return Outcome("retry", f"url_file cannot be read: {error.strerror}")
    except ValueError:
        return Outcome("retry", "url_file does not hold an http:// or https:// address")
    try:
        async with session.post(
            url,
            data=body,
            headers={
                "Content-Type": "application/json",
                "User-Agent": f"gapwatch/{__version__}",
                "Accept-Encoding": "identity",
                **headers,
            },
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout),
        ) as response:
            answer = b""
            # What the status says holds, whatever becomes of the rest.
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                answer = await _read(response.content)
            return _judge(response.status, response.headers, answer, url)
    except TimeoutError:  # before ClientError: aiohttp's timeouts are both
        return Outcome("retry", f"no answer within {timeout:g} s")
    except (aiohttp.InvalidURL, ValueError):
        return Outcome("refused", "url is not an address that can be called")
    except (aiohttp.ClientError, OSError) as error:
        return Outcome("retry", _network_trouble(error))


async def _read(content: aiohttp.StreamReader) -> bytes:
    """The answer's beginning. What is not read is not waited for: the connection is closed."""
    answer = b""
    while len(answer) < ANSWER_BYTES:
        part = await content.read(ANSWER_BYTES - len(answer))
        if not part:
            break
        answer += part
    return answer


def _judge(status: int, headers: Mapping[str, str], answer: bytes, url: str) -> Outcome:
    detail = f"answer {status}"
    code = answer.decode("utf-8", "replace").strip()
    if status >= 400 and _CODE.fullmatch(code) and code not in url:
        detail += f" ({code})"
    if 200 <= status < 300:
        return Outcome("delivered", detail)
    if status >= 500 or status in _TRY_LATER:
        return Outcome("retry", detail, retry_after(headers.get("Retry-After"), datetime.now(UTC)))
    if 300 <= status < 400:
        return Outcome("refused", f"{detail}: redirects are not followed; set url to where it is")
    return Outcome("refused", detail)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, seconds or a date), capped."""
    if value is None:
        return None
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        seconds = float(value)
    else:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        # RFC 9110 dates are GMT, also where none is given.
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _network_trouble(error: Exception) -> str:
    """In our own words: aiohttp's would show the address."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return "its TLS certificate is not trusted"
        case aiohttp.ClientConnectorDNSError():
            return "its host name cannot be resolved"
        case aiohttp.ClientSSLError():
            return "TLS failed"
        case aiohttp.ClientConnectorError():
            return f"cannot connect: {error.os_error.strerror or 'no reason given'}"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | OSError():
            return "the connection broke"
        case _:
            return f"no usable answer ({type(error).__name__})"
