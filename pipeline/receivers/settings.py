"""Settings of the receivers: what each kind needs, and which alerts go where."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    SecretStr,
    field_validator,
    model_validator,
)

from models.labels import TEAM_OF_TOUCHPOINT, TOUCHPOINTS
from pipeline.receivers.hours import Hours, next_open
from pipeline.records import Alert
from pipeline.section import Key, Section

ALL: Final = "all"
"""The touchpoint of an alert on the brand as a whole."""


def _among(known: tuple[str, ...]) -> AfterValidator:
    def check(value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if one not in known:
                raise ValueError(f"{one!r} is none of {', '.join(known)}")
        return value

    return AfterValidator(check)


_TOUCHPOINTS: Final = (*(name for name in TOUCHPOINTS if name != "none"), ALL)
_TEAMS: Final = tuple(dict.fromkeys(TEAM_OF_TOUCHPOINT.values()))
_KINDS: Final = ("gap", "delight", "score", "rival")


class _Receiver(Section):
    """What all kinds have: a name, and which alerts go there when."""

    name: Key = Field(description="Stable short name, in commands and metrics.")
    brands: tuple[Key, ...] = Field((), description="Only these brands; all when empty.")
    touchpoints: Annotated[tuple[str, ...], _among(_TOUCHPOINTS)] = Field(
        (), description="Only these touchpoints (`all`: the brand as a whole); all when empty."
    )
    teams: Annotated[tuple[str, ...], _among(_TEAMS)] = Field(
        (), description="Only what these teams answer for; all when empty."
    )
    kinds: Annotated[tuple[str, ...], _among(_KINDS)] = Field(
        (), description="Only these kinds of alert; all when empty."
    )
    min_severity: int = Field(1, ge=1, le=10, description="Only alerts at least so severe.")
    hours: tuple[str, ...] = Field((), description="`mon-fri 08:00-18:00`; always when empty.")
    timezone: str = Field("UTC", description="Where `hours` are meant: `Europe/Berlin`.")
    outside_hours: Literal["hold", "drop", "urgent"] = Field(
        "hold",
        description="`hold`: wait for the next hours; `drop`: never send what begins outside; "
        "`urgent`: hold, but send at once what is severe.",
    )
    urgent_severity: int = Field(8, ge=1, le=10, description="So severe is `urgent`.")
    timeout: float = Field(10.0, gt=0, le=120, description="Seconds for one attempt.")

    _spans: tuple[Hours, ...] = PrivateAttr(())

    @field_validator("hours", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("hours")
    @classmethod
    def _hours(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            Hours.parse(text)
        return value

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("is no time zone known here; one is 'Europe/Berlin'") from None
        return value

    def model_post_init(self, context: Any, /) -> None:
        """Read the hours once."""
        self._spans = tuple(map(Hours.parse, self.hours))

    def wants(self, alert: Alert) -> bool:
        """Whether the alert is one for this receiver, as it is now."""
        return (
            (not self.brands or alert.brand in self.brands)
            and (
                not self.touchpoints
                or not set(self.touchpoints).isdisjoint((alert.touchpoint, *alert.touchpoints))
            )
            and (not self.teams or alert.team in self.teams)
            and (not self.kinds or alert.kind in self.kinds)
            and alert.severity >= self.min_severity
        )

    def opens(self, moment: float) -> float:
        """When, from a moment on, the receiver's hours are (epoch seconds)."""
        return next_open(self._spans, ZoneInfo(self.timezone), moment)

    def is_urgent(self, alert: Alert) -> bool:
        """Whether the alert is sent outside the hours too."""
        return self.outside_hours == "urgent" and alert.severity >= self.urgent_severity

    def check(self) -> None:
        """Read every secret, as an attempt would.

        Raises:
            OSError: A file cannot be read.
            ValueError: What it holds cannot be used. The message holds nothing of it.
        """


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def _one_of(*names: str) -> str:
    return f"needs exactly one of {' and '.join(names)}"


class CalledReceiver(_Receiver):
    """A receiver that is called over HTTP."""

    allow_http: bool = Field(False, description="Permit http://, which anybody may read and alter.")
    allow_private: bool = Field(
        False, description="Permit addresses in private networks and on this machine."
    )

    def _check_url(self, url: str) -> str:
        try:
            parts = urlsplit(url)
        except ValueError:  # its words would show the address
            raise ValueError("url is not an address") from None
        if parts.scheme == "http" and not self.allow_http:
            raise ValueError("url must start with https:// (allow_http = true permits http://)")
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError("url must start with https:// and name a host")
        return url


class _Addressed(CalledReceiver):
    """A receiver whose address is all it needs, and mostly a secret itself."""

    url: SecretStr | None = Field(None, description="Target; often holds a secret itself.")
    url_file: Path | None = Field(None, description="File holding the target.")

    @model_validator(mode="after")
    def _target(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise ValueError(_one_of("url", "url_file"))
        if self.url is not None:
            self._check_url(self.url.get_secret_value())
        return self

    def target(self) -> str:
        """The URL, read now from its file if it is given as one.

        Raises:
            OSError: The file cannot be read.
            ValueError: It does not hold a permitted URL.
        """
        if self.url is not None:
            return self.url.get_secret_value()
        assert self.url_file is not None
        return self._check_url(_read(self.url_file))

    def check(self) -> None:
        """As `_Receiver.check`."""
        self.target()


class _Keyed(CalledReceiver):
    """A receiver at a known address that is told who calls by a token."""

    token: SecretStr | None = Field(None, description="What tells the service who calls.")
    token_file: Path | None = Field(None, description="File holding the token.")

    @model_validator(mode="after")
    def _has_token(self) -> Self:
        if (self.token is None) == (self.token_file is None):
            raise ValueError(_one_of("token", "token_file"))
        return self

    def credential(self) -> str:
        """The token, read now from its file if it is given as one.

        Raises:
            OSError: The file cannot be read.
            ValueError: It holds nothing, or what no token looks like.
        """
        return _token(self.token, self.token_file)

    def check(self) -> None:
        """As `_Receiver.check`."""
        self.credential()


def _token(value: SecretStr | None, file: Path | None) -> str:
    token = value.get_secret_value() if value is not None else _read(file) if file else ""
    if not re.fullmatch(r"[!-~]{1,4096}", token):
        raise ValueError("token must be one word of ASCII characters")
    return token


def _secret(text: str) -> bytes:
    """A signing secret, `whsec_` and Base64 of 24 to 64 bytes, as Standard Webhooks has them."""
    try:
        secret = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        secret = b""
    if not 24 <= len(secret) <= 64:
        raise ValueError("secrets must be whsec_ and Base64 of 24 to 64 bytes, one a line")
    return secret


class WebhookReceiver(_Addressed):
    """Any HTTP endpoint: signed JSON as in Standard Webhooks."""

    kind: Literal["webhook"]
    secrets: tuple[SecretStr, ...] = Field(
        (), description="Signed with each, so that they can be renewed one after the other."
    )
    secrets_file: Path | None = Field(None, description="File holding them, one a line.")
    updates: bool = Field(False, description="Send new figures too, not only news.")

    @model_validator(mode="after")
    def _known_secrets(self) -> Self:
        if self.secrets and self.secrets_file is not None:
            raise ValueError("needs at most one of secrets and secrets_file")
        for secret in self.secrets:
            _secret(secret.get_secret_value())
        return self

    def keys(self) -> list[bytes]:
        """The signing secrets, read now from their file if they are given as one.

        Raises:
            OSError: The file cannot be read.
            ValueError: It holds none, or something else.
        """
        if self.secrets_file is None:
            return [_secret(secret.get_secret_value()) for secret in self.secrets]
        lines = [line for line in _read(self.secrets_file).splitlines() if line.strip()]
        if not lines:
            raise ValueError("secrets_file holds no secret")
        return [_secret(line.strip()) for line in lines]

    def check(self) -> None:
        """As `_Receiver.check`."""
        super().check()
        self.keys()


class SlackReceiver(CalledReceiver):
    """A Slack channel: by an incoming webhook, or by a bot's token and the channel."""

    kind: Literal["slack"]
    url: SecretStr | None = Field(None, description="Address of an incoming webhook.")
    url_file: Path | None = Field(None, description="File holding the address.")
    token: SecretStr | None = Field(None, description="Bot token with the scope chat:write.")
    token_file: Path | None = Field(None, description="File holding the token.")
    channel: str | None = Field(
        None, pattern=r"^[A-Z0-9]{3,30}$", description="Channel id, with a token: `C0123456789`."
    )
    api: str = Field("https://slack.com/api", description="With a token: where Slack's API is.")

    @model_validator(mode="after")
    def _either(self) -> Self:
        given = [name for name in ("url", "url_file", "token", "token_file") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(_one_of("url", "url_file", "token", "token_file"))
        if (self.channel is not None) != given[0].startswith("token"):
            raise ValueError("needs channel with a token, and none with an incoming webhook")
        self._check_url(self.api)
        if self.url is not None:
            self._check_url(self.url.get_secret_value())
        return self

    @property
    def by_bot(self) -> bool:
        """Whether a bot writes, which can edit what it wrote."""
        return self.channel is not None

    def target(self) -> str:
        """Address of the incoming webhook; raises as `_Addressed.target`."""
        if self.url is not None:
            return self.url.get_secret_value()
        assert self.url_file is not None
        return self._check_url(_read(self.url_file))

    def credential(self) -> str:
        """The bot's token; raises as `_Keyed.credential`."""
        return _token(self.token, self.token_file)

    def check(self) -> None:
        """As `_Receiver.check`."""
        if self.by_bot:
            self.credential()
        else:
            self.target()


class TeamsReceiver(_Addressed):
    """A Microsoft Teams channel or chat, by the address of a workflow."""

    kind: Literal["teams"]


class DiscordReceiver(_Addressed):
    """A Discord channel, by the address of a webhook."""

    kind: Literal["discord"]


class MattermostReceiver(_Addressed):
    """A Mattermost channel, by the address of an incoming webhook."""

    kind: Literal["mattermost"]


class GoogleChatReceiver(_Addressed):
    """A Google Chat space, by the address of a webhook."""

    kind: Literal["google-chat"]


class TelegramReceiver(_Keyed):
    """A Telegram chat, by a bot's token."""

    kind: Literal["telegram"]
    chat: Annotated[str, Field(pattern=r"^(-?\d{1,20}|@\w{4,64})$")] = Field(
        description="Chat id, or `@name` of a public channel."
    )
    topic: int | None = Field(None, ge=1, description="Topic of a forum to write to.")
    api: str = Field("https://api.telegram.org", description="Where the Bot API is.")

    @field_validator("chat", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _api(self) -> Self:
        self._check_url(self.api)
        return self


def _mailbox(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}", value):
        raise ValueError("must be a bare address: 'team@example.com'")
    return value


Mailbox = Annotated[str, AfterValidator(_mailbox)]


class EmailReceiver(_Receiver):
    """Mailboxes, by an SMTP server."""

    kind: Literal["email"]
    host: str = Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$", description="The SMTP server.")
    port: int = Field(587, ge=1, le=65535, description="Its port.")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="`tls`: from the first byte (port 465); `none`: for a local relay."
    )
    username: str | None = Field(None, description="Who logs in, where the server wants that.")
    password: SecretStr | None = Field(None, description="The password that goes with it.")
    password_file: Path | None = Field(None, description="File holding the password.")
    sender: Mailbox = Field(description="Address the mail is from.")
    to: tuple[Mailbox, ...] = Field(min_length=1, max_length=50, description="Who gets it.")

    @model_validator(mode="after")
    def _login(self) -> Self:
        given = [self.password, self.password_file]
        if (self.username is None) != (given == [None, None]) or None not in given:
            raise ValueError("needs username with exactly one of password and password_file")
        if self.username and self.security == "none":
            raise ValueError("sends no password without TLS: set security to starttls or tls")
        return self

    def login(self) -> str | None:
        """The password, read now from its file if it is given as one.

        Raises:
            OSError: The file cannot be read.
        """
        if self.password is not None:
            return self.password.get_secret_value()
        return _read(self.password_file) if self.password_file is not None else None

    def check(self) -> None:
        """As `_Receiver.check`."""
        self.login()


class PagerDutyReceiver(_Keyed):
    """A PagerDuty service, by the integration key (the token) of its Events API v2."""

    kind: Literal["pagerduty"]
    api: str = Field(
        "https://events.pagerduty.com", description="`https://events.eu.pagerduty.com` in the EU."
    )

    @model_validator(mode="after")
    def _api(self) -> Self:
        self._check_url(self.api)
        return self


class AlertmanagerReceiver(_Addressed):
    """A Prometheus Alertmanager, by its base address: `https://alertmanager.example.com`."""

    kind: Literal["alertmanager"]
    token: SecretStr | None = Field(None, description="Sent as a bearer token.")
    token_file: Path | None = Field(None, description="File holding the token.")
    labels: dict[str, str] = Field(default_factory=dict, description="Added to every alert.")

    @field_validator("labels")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name):
                raise ValueError(f"{name!r} is no label name: letters, digits and _")
        return value

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise ValueError("needs at most one of token and token_file")
        return self

    def credential(self) -> str | None:
        """The bearer token, if there is one; raises as `_Keyed.credential`."""
        if self.token is None and self.token_file is None:
            return None
        return _token(self.token, self.token_file)

    def check(self) -> None:
        """As `_Receiver.check`."""
        super().check()
        self.credential()


class AppriseReceiver(_Receiver):
    """Anything Apprise knows, by its URL (https://github.com/caronc/apprise/wiki)."""

    kind: Literal["apprise"]
    url: SecretStr | None = Field(None, description="Apprise URL; holds secrets.")
    url_file: Path | None = Field(None, description="File holding the URL.")
    allow_private: bool = Field(
        False,
        description="Must be true: Apprise makes its own connections, which are not looked at.",
    )

    @model_validator(mode="after")
    def _target(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise ValueError(_one_of("url", "url_file"))
        if not self.allow_private:
            raise ValueError(
                "needs allow_private = true: Apprise makes its own connections, and where they "
                "lead is not looked at"
            )
        return self

    def target(self) -> str:
        """The URL, read now from its file if it is given as one.

        Raises:
            OSError: The file cannot be read.
            ValueError: It holds no URL.
        """
        if self.url is not None:
            given = self.url.get_secret_value()
        else:
            assert self.url_file is not None
            given = _read(self.url_file)
        if "://" not in given:
            raise ValueError("url must be one that Apprise knows: 'ntfys://topic'")
        return given

    def check(self) -> None:
        """As `_Receiver.check`."""
        self.target()


ReceiverSettings = Annotated[
    WebhookReceiver
    | SlackReceiver
    | TeamsReceiver
    | DiscordReceiver
    | MattermostReceiver
    | GoogleChatReceiver
    | TelegramReceiver
    | EmailReceiver
    | PagerDutyReceiver
    | AlertmanagerReceiver
    | AppriseReceiver,
    Field(discriminator="kind"),
]
"""One place alerts are sent to; `kind` says which settings it has."""
