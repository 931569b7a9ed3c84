"""Reaching a Kafka cluster: what its clients are told, and waiting for it to come up."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

from aiokafka import errors
from aiokafka.conn import AIOKafkaConnection, collect_hosts, create_conn
from aiokafka.protocol.metadata import MetadataRequest

from pipeline.broker import BrokerError
from pipeline.settings import KafkaSettings

_TRY_SECONDS: Final = 5.0
"""Longest that one broker is tried at a time."""

_ADVERTISED_SECONDS: Final = 2.0
"""Longest that its advertised addresses are tried; the rest is left to say what is wrong."""

_SAY_EVERY: Final = 5.0
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0

_FAILURES: Final = (OSError, errors.KafkaError, ValueError, AssertionError)
"""What aiokafka raises as it connects; the last two where a server's SASL answer is nonsense."""


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """What every aiokafka client of this cluster is constructed with: address and security.

    Raises:
        BrokerError: A file that the settings name cannot be used.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": kafka.security_protocol,
    }
    if kafka.security_protocol in ("SSL", "SASL_SSL"):
        options["ssl_context"] = _ssl_context(kafka)
    if kafka.security_protocol.startswith("SASL"):
        try:
            password = kafka.password()
        except (OSError, UnicodeDecodeError) as error:
            raise BrokerError(f"kafka.sasl_password_file cannot be read: {error}") from None
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": password,
        }
    return options


def _ssl_context(kafka: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_cafile)
    except OSError as error:  # ssl.SSLError is one
        raise BrokerError(f"kafka.ssl_cafile {kafka.ssl_cafile}: {error}") from None
    if kafka.ssl_certfile is not None:
        try:
            # A password would be asked for on the terminal, where nobody sits.
            context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile, password="")
        except (OSError, ValueError) as error:
            raise BrokerError(
                f"kafka.ssl_certfile {kafka.ssl_certfile} with kafka.ssl_keyfile "
                f"{kafka.ssl_keyfile}: {error}"
            ) from None
    elif kafka.ssl_keyfile is not None:
        raise BrokerError("kafka.ssl_keyfile is given without kafka.ssl_certfile")
    return context


async def wait_for_broker(
    kafka: KafkaSettings,
    *,
    say: Callable[[str], None],
    timeout: float | None,  # noqa: ASYNC109 (it also words the error)
) -> None:
    """Wait until the cluster answers, and can be reached where it says that it is.

    Args:
        say: Told every few seconds what is waited for, and why.
        timeout: Seconds to wait at most; None waits for ever.

    Raises:
        BrokerError: The time is up, or waiting cannot mend it: wrong credentials, a certificate
            that is not trusted, settings that cannot be used.
    """
    options = client_options(kafka)
    servers = options.pop("bootstrap_servers")
    hosts = _hosts(servers)
    deadline = float("inf") if timeout is None else time.monotonic() + timeout
    say_next = 0.0
    pause = _FIRST_PAUSE
    while True:
        seconds = max(0.1, min(deadline - time.monotonic(), _TRY_SECONDS))
        reason = await _try_any(kafka, hosts, options, seconds=seconds)
        if reason is None:
            return
        now = time.monotonic()
        if now >= deadline:
            raise BrokerError(
                f"no Kafka broker at {servers} within {timeout:g} s: {reason}. "
                "Is kafka.bootstrap_servers right, and the cluster up?"
            )
        if now >= say_next:
            say(f"waiting for Kafka at {servers}: {reason}")
            say_next = now + _SAY_EVERY
        await asyncio.sleep(min(pause, deadline - now))
        pause = min(pause * 2, _LONGEST_PAUSE)


def _hosts(servers: str) -> list[tuple[str, int]]:
    try:
        hosts = [(host, port) for host, port, _ in collect_hosts(servers, randomize=False)]
    except ValueError:
        hosts = []
    if not hosts or not all(host and 0 < port < 2**16 for host, port in hosts):
        raise BrokerError(
            f"kafka.bootstrap_servers = {servers!r}: must be host:port, comma-separated"
        )
    return hosts


def is_momentary(error: BaseException) -> bool:
    """Whether what a client raised may be over in a moment: a network or a leader that is away."""
    if isinstance(error, errors.KafkaError):
        return bool(error.retriable) or isinstance(error, errors.KafkaTimeoutError)
    return True


async def _try_any(
    kafka: KafkaSettings, hosts: list[tuple[str, int]], options: dict[str, Any], *, seconds: float
) -> str | None:
    """Why none of the brokers can be used yet; None if one can.

    Raises:
        BrokerError: None can, and one said that it never will.
    """
    reasons: list[str] = []
    hopeless: BrokerError | None = None
    for host, port in hosts:
        try:
            async with asyncio.timeout(seconds):
                await _reach(host, port, options)
            return None
        except _FAILURES as error:
            if advice := _hopeless(error, kafka):
                hopeless = BrokerError(f"Kafka at {host}:{port}: {advice}")
            reason = _reason(error, kafka)
            if reason not in reasons:
                reasons.append(reason)
    if hopeless is not None:
        raise hopeless
    return "; ".join(reasons)


async def _reach(host: str, port: int, options: dict[str, Any]) -> None:
    """Ask a broker for its cluster, then connect to a broker where the cluster says it is.

    Clients use the advertised addresses only; that these cannot be reached from here is the usual
    mistake in a set-up with containers, and clients then just hang.
    """
    connection = await _connect(host, port, options)
    try:
        metadata = await connection.send(MetadataRequest([]))
    finally:
        await connection.close()
    advertised = [(broker[1], broker[2]) for broker in metadata.brokers]
    if not advertised:
        raise errors.KafkaConnectionError("the cluster has no brokers yet")
    if (host, port) in advertised:
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ADVERTISED_SECONDS):
            for address in advertised:
                with contextlib.suppress(*_FAILURES):
                    connection = await _connect(*address, options)
                    await connection.close()
                    return
    places = ", ".join(f"{name}:{number}" for name, number in advertised)
    raise errors.KafkaConnectionError(
        f"the broker answers here, but advertises {places}, which cannot be reached from here"
    )


async def _connect(host: str, port: int, options: dict[str, Any]) -> AIOKafkaConnection:
    return await create_conn(
        host, port, client_id="gapwatch", request_timeout_ms=int(_TRY_SECONDS * 1000), **options
    )


def _hopeless(error: BaseException, kafka: KafkaSettings) -> str | None:
    """What to change, where waiting would be in vain."""
    if isinstance(error, errors.KafkaConnectionError) and isinstance(error.__cause__, ssl.SSLError):
        error = error.__cause__  # TLS 1.3: a client hears only afterwards that it is refused
    match error:
        case errors.UnsupportedSaslMechanismError():
            return f"it does not offer kafka.sasl_mechanism {kafka.sasl_mechanism}"
        case errors.SaslAuthenticationFailed() | errors.AuthenticationFailedError():
            return (
                f"authentication failed for kafka.sasl_username {kafka.sasl_username!r}: check it, "
                "kafka.sasl_password (or its file) and kafka.sasl_mechanism "
                f"({kafka.sasl_mechanism})"
            )
        case errors.IllegalSaslStateError() | errors.UnsupportedVersionError():
            return (
                f"it does not speak kafka.security_protocol {kafka.security_protocol} on this port"
            )
        case ssl.SSLCertVerificationError():
            return _untrusted(error, kafka)
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | ssl.SSLSyscallError():
            return None  # the connection broke: the broker may just be starting
        case ssl.SSLError() if re.search("ALERT.*CERTIFICATE", error.reason or ""):
            if kafka.ssl_certfile is None:
                return (
                    "it asks for a certificate: set kafka.ssl_certfile and kafka.ssl_keyfile to "
                    "one that it trusts"
                )
            return (
                f"it refuses kafka.ssl_certfile {kafka.ssl_certfile}: it has expired, or no "
                "authority that the broker trusts has issued it; have a new one issued "
                f"(`openssl x509 -noout -dates -issuer -in {kafka.ssl_certfile}` says which)"
            )
        case ssl.SSLError():
            return (
                f"TLS failed ({error.reason}): check kafka.security_protocol "
                f"({kafka.security_protocol}), kafka.ssl_certfile and kafka.ssl_keyfile"
            )
        case _:
            return None


_EXPIRED: Final = 10
_NOT_YET_VALID: Final = 9
_OTHER_NAME: Final = (62, 64)
"""OpenSSL's X509_V_ERR_*: host name and IP address mismatch among them."""


def _untrusted(error: ssl.SSLCertVerificationError, kafka: KafkaSettings) -> str:
    """Why its certificate is not trusted, and who can mend that."""
    why = error.verify_message.rstrip(".")
    if error.verify_code in (_EXPIRED, _NOT_YET_VALID):
        advice = "give the broker a new one, or set this machine's clock right"
    elif error.verify_code in _OTHER_NAME:
        advice = (
            "name it in kafka.bootstrap_servers, and in the broker's advertised.listeners, as its "
            "certificate does"
        )
    else:
        given = kafka.ssl_cafile or "not set: those that this system trusts"
        advice = f"set kafka.ssl_cafile ({given}) to the certificate of who issued it"
    return f"its certificate is not trusted ({why}): {advice}"


def _reason(error: BaseException, kafka: KafkaSettings) -> str:
    """What an operator is told."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionResetError() | ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            pass
        case errors.KafkaConnectionError() if isinstance(
            error.__cause__, EOFError | ConnectionError
        ):
            pass
        case OSError() if error.strerror:
            return error.strerror
        case _:
            return _words(error)
    return (
        "it closes the connection (starting up, or kafka.security_protocol "
        f"{kafka.security_protocol} is not what this port speaks)"
    )


def _words(error: BaseException) -> str:
    """An error's own words, without aiokafka's class names and codes before them."""
    return str(error.args[0]) if error.args else type(error).__name__
