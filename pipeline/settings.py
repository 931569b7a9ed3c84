"""Settings: one TOML file and `GAPWATCH_*` environment variables, checked before anything starts.

The environment wins over the file. A nested setting is reached with two underscores:
`GAPWATCH_KAFKA__BOOTSTRAP_SERVERS`. Secrets are best given as files: a setting ending in `_file`
names one.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError as SourceError

from models.classifier import Backend
from models.labels import STAGES
from pipeline.receivers.links import (
    DASHBOARD_PLACEHOLDERS,
    RUNBOOK_PLACEHOLDERS,
    LinkTemplates,
    check_template,
)
from pipeline.receivers.settings import ReceiverSettings
from pipeline.records import AlertKind
from pipeline.section import Key
from pipeline.section import Section as _Section
from pipeline.sources.files import MAX_LINE

CONFIG_ENV: Final = "GAPWATCH_CONFIG"
"""Names the TOML file where `--config` does not."""


class SettingsError(Exception):
    """Settings that cannot be used; the message names each setting, its value and what is meant."""


SHORTEST_TOKEN: Final = 16
SHORTEST_KEY: Final = 32
"""Characters of a token, and of a key from which nobody must ever find back: fewer can be tried."""


def read_secret(name: str, value: SecretStr | None, path: Path | None, *, least: int) -> str | None:
    """A secret given as itself or as the file that holds it; None where it is not given.

    Args:
        name: The setting's, for what is said; with `_file` it names the file.
        least: Fewest characters.

    Raises:
        SettingsError: Both are given, the file cannot be read, or the secret is too short. Nothing
            of it is in the message.
    """
    if value is not None and path is not None:
        raise SettingsError(f"{name}: is given as itself and as a file; give one of the two")
    if path is not None:
        try:
            secret = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(f"{name}: {path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SettingsError(f"{name}: {path} is not UTF-8 text") from None
    elif value is not None:
        secret = value.get_secret_value()
    else:
        return None
    if len(secret) < least or not secret.isascii() or not secret.isprintable():
        raise SettingsError(
            f"{name}: must be {least} or more ASCII characters (`openssl rand -hex 32` makes one)"
        )
    return secret


class KafkaSettings(_Section):
    """The Kafka cluster, and the topics' shape when Gapwatch creates them."""

    bootstrap_servers: str = Field(
        "localhost:9092", description="Brokers to start from: `host:port`, comma-separated."
    )
    topic_prefix: str = Field(
        "gapwatch", pattern=r"^[A-Za-z0-9._-]{1,100}$", description="Topics are `PREFIX.events` …"
    )
    partitions: int = Field(8, ge=1, le=1024, description="Partitions of each topic.")
    events_partitions: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Of the events topic, once it has been given more (`gapwatch topics grow`).",
    )
    replication: int = Field(3, ge=1, le=7, description="Replicas of each partition.")
    min_insync_replicas: int = Field(2, ge=1, le=7, description="Replicas that must confirm.")
    retention_hours: int = Field(
        7 * 24, ge=1, description="How long events, mentions and rejected are kept."
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="`SSL`: TLS; `SASL`: with a user and a password."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="How the password is shown to the brokers."
    )
    sasl_username: str | None = Field(None, description="The user, with SASL.")
    sasl_password: SecretStr | None = Field(None, description="Its password.")
    sasl_password_file: Path | None = Field(None, description="File holding the password.")
    ssl_cafile: Path | None = Field(None, description="CA bundle; the system's when absent.")
    ssl_certfile: Path | None = Field(None, description="A certificate of the worker's own.")
    ssl_keyfile: Path | None = Field(None, description="The key that goes with it.")
    idempotent: bool = Field(
        True, description="Idempotent producer. Off only for brokers without it (the embedded)."
    )
    session_timeout: float = Field(
        10.0, gt=0, le=300, description="Seconds without a heartbeat until a worker is given up."
    )
    standby_replicas: int = Field(
        0, ge=0, le=3, description="Other workers that keep a copy of a worker's state."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.security_protocol.startswith("SASL") and not (
            self.sasl_username and (self.sasl_password or self.sasl_password_file)
        ):
            raise ValueError(
                f"security_protocol {self.security_protocol} needs sasl_username and "
                "sasl_password or sasl_password_file"
            )
        if self.min_insync_replicas > self.replication:
            raise ValueError(
                f"min_insync_replicas ({self.min_insync_replicas}) is above "
                f"replication ({self.replication}): no write could ever be confirmed"
            )
        return self

    @property
    def of_events(self) -> int:
        """Partitions of the events topic."""
        return self.events_partitions or self.partitions

    def password(self) -> str | None:
        """The SASL password, read now from its file if it is given as one."""
        if self.sasl_password_file is not None:
            return self.sasl_password_file.read_text(encoding="utf-8").strip()
        return self.sasl_password.get_secret_value() if self.sasl_password else None


class ModelSettings(_Section):
    """The classifier."""

    name: str = Field(
        "default",
        description="`default` (bundled), `null` (labels nothing; for measuring), or a folder.",
    )
    backend: Backend = Field(
        "onnx",
        description="`onnx`: int8 on the CPU. `torch`: float, on a GPU where there is one; needs "
        "the extra `torch`.",
    )
    sessions: int = Field(0, ge=0, le=256, description="Model threads; 0 means one a core.")
    batch: int = Field(
        512, ge=1, le=4096, description="Most events classified, scored and committed together."
    )


class IntakeSettings(_Section):
    """What is accepted as an event."""

    max_ahead: float = Field(
        300.0, ge=0, description="Seconds an event may be published after it came in."
    )
    max_event_bytes: int = Field(
        512 * 1024, ge=1024, le=16 * 2**20, description="Larger events are rejected."
    )
    repeats_kept: int = Field(
        1_000_000, ge=0, description="Event ids remembered a worker, for 24 h at most."
    )
    max_reject_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="A worker that rejects more than this share of 1,000 events stops.",
    )


class ScoreSettings(_Section):
    """The advocacy score."""

    stage_weights: dict[str, float] = Field(
        default_factory=lambda: {
            "consumption": 1.0,
            "curation": 2.0,
            "creation": 3.0,
            "collaboration": 4.0,
        },
        description="What a mention counts by the author's engagement stage.",
    )
    reach: bool = Field(True, description="Weigh by reach: 1 + log10(1 + followers).")
    few: int = Field(30, ge=0, description="Below so many mentions a score is marked as on few.")
    publish_every: float = Field(1.0, ge=0.05, le=60, description="Seconds between publications.")

    @field_validator("stage_weights")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        if set(value) != set(STAGES) or not all(0 <= w <= 1000 for w in value.values()):
            raise ValueError(f"must give each of {', '.join(STAGES)} a weight of 0 to 1000")
        return value


def _address(*placeholders: str) -> AfterValidator:
    return AfterValidator(lambda template: check_template(template, placeholders))


class AlertSettings(_Section):
    """When talk becomes an alert, and how often one may speak up."""

    false_alarms_per_week: float = Field(
        1.0, gt=0, le=1000, description="Alerts raised by chance that a brand may have a week."
    )
    min_mentions: int = Field(8, ge=1, description="Fewer mentions in the window never alert.")
    min_share: float = Field(0.1, ge=0, le=1, description="Nor does a smaller share of the talk.")
    kinds: tuple[AlertKind, ...] = Field(
        ("gap",),
        description="`gap`: talk of falling short. `delight`: of exceeding. `score`: the advocacy "
        "score falls. `rival`: a rival falls short.",
    )
    score_drop: float = Field(
        10.0, gt=0, le=200, description="Points, beyond its margin, a score falls until it alerts."
    )
    resolve_after_minutes: int = Field(
        30, ge=1, description="Talk back to usual for so long resolves the alert."
    )
    cooldown_minutes: int = Field(
        60, ge=0, description="So long after it, one like it is sent only if it is more severe."
    )
    max_messages_per_hour: int = Field(
        6, ge=1, description="Of a brand; what is above waits on the page. Resolutions always go."
    )
    expire_hours: float = Field(
        24.0, gt=0, description="An undelivered notification is given up after so long."
    )
    page_url: Annotated[str, _address()] | None = Field(
        None, description="Address of the live page, for links."
    )
    dashboard_url: Annotated[str, _address(*DASHBOARD_PLACEHOLDERS)] | None = Field(
        None,
        description="Address of a dashboard, for links; each alert fills in `{brand}`, "
        "`{touchpoint}`, `{from_ms}` and `{to_ms}`.",
    )
    runbook_url: Annotated[str, _address(*RUNBOOK_PLACEHOLDERS)] | None = Field(
        None,
        description="Address of what is to be done, for links; each alert fills in `{team}`, "
        "`{touchpoint}`, `{kind}` and `{brand}`.",
    )

    @property
    def links(self) -> LinkTemplates:
        """Where messages lead on to."""
        return LinkTemplates(self.page_url, self.dashboard_url, self.runbook_url)


class WebSettings(_Section):
    """Where the worker serves its page, metrics and health, and to whom."""

    host: str = Field("127.0.0.1", description="Address to listen on; loopback unless set.")
    port: int = Field(8600, ge=0, le=65535, description="0 picks a free port.")
    token: SecretStr | None = Field(
        None, description="Asked of people and machines for the page and all data."
    )
    token_file: Path | None = Field(None, description="File holding the token, read at the start.")
    open: bool = Field(
        False, description="Permit an address beyond loopback without a token: anyone may look."
    )
    open_metrics: bool = Field(False, description="Permit `/metrics` without the token.")
    session_hours: float = Field(
        12.0, gt=0, le=24 * 366, description="How long a browser stays signed in."
    )
    stuck_after: float = Field(
        60.0, gt=0, description="Seconds with events waiting and none moving: unhealthy."
    )
    exit_after: float = Field(
        120.0, gt=0, description="Seconds unhealthy until the worker ends, to be started again."
    )

    def secret(self) -> str | None:
        """The token, read now from its file if it is given as one; None where none is asked for.

        Raises:
            SettingsError: It cannot be read, or is too short to be one.
        """
        return read_secret("web.token", self.token, self.token_file, least=SHORTEST_TOKEN)


class IngestSettings(_Section):
    """Events over HTTP, `POST /api/events`; off unless there is a token."""

    tokens: dict[Key, SecretStr] = Field(
        default_factory=dict, description="By name of who sends: metrics and records show the name."
    )
    token_files: dict[Key, Path] = Field(
        default_factory=dict, description="Files holding tokens, by name; read at the start."
    )
    max_body_bytes: int = Field(
        8 * 2**20, ge=1024, le=MAX_LINE, description="Largest body, uncompressed."
    )
    max_in_flight_bytes: int = Field(
        64 * 2**20, ge=1024, description="Of all bodies in work at once; what is above waits."
    )
    timeout: float = Field(
        30.0, gt=0, le=600, description="Seconds for a body to come, and again to be confirmed."
    )

    def secrets(self) -> dict[str, str]:
        """The tokens by name, read now from their files where they are given as such.

        Raises:
            SettingsError: One cannot be read, or is too short to be one.
        """
        found = {
            name: read_secret(
                f"ingest.tokens.{name}",
                self.tokens.get(name),
                self.token_files.get(name),
                least=SHORTEST_TOKEN,
            )
            for name in {**self.tokens, **self.token_files}
        }
        return {name: secret for name, secret in found.items() if secret is not None}


class PrivacySettings(_Section):
    """What is kept of the authors of posts."""

    pseudonym_key: SecretStr | None = Field(
        None, description="Authors are kept under a name that is made with this key, not theirs."
    )
    pseudonym_key_file: Path | None = Field(
        None, description="File holding the key, read at the start."
    )

    def key(self) -> str | None:
        """The key, read now from its file if it is given as one; None where authors keep theirs.

        Raises:
            SettingsError: It cannot be read, or is too short to be one.
        """
        return read_secret(
            "privacy.pseudonym_key", self.pseudonym_key, self.pseudonym_key_file, least=SHORTEST_KEY
        )


class BrandSettings(_Section):
    """One brand to listen for."""

    key: Key = Field(description="Stable short name, in topics and metrics.")
    name: str = Field(min_length=1, max_length=100, description="As people write and read it.")
    aliases: tuple[str, ...] = Field((), description="Words that name it; `name` is one already.")
    handles: tuple[str, ...] = Field((), description="`@handle`.")
    hashtags: tuple[str, ...] = Field((), description="`#tag`.")
    accounts: tuple[str, ...] = Field((), description="Its own accounts: their posts are answers.")
    rivals: tuple[Key, ...] = Field((), description="Keys of brands it is compared with.")
    required: tuple[str, ...] = Field(
        (), description="Aliases count only beside at least one of these words."
    )
    forbidden: tuple[str, ...] = Field((), description="Aliases do not count beside these words.")


class Settings(BaseSettings):
    """Everything a worker is told."""

    model_config = SettingsConfigDict(
        env_prefix="GAPWATCH_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    kafka: KafkaSettings = KafkaSettings()
    model: ModelSettings = ModelSettings()
    intake: IntakeSettings = IntakeSettings()
    score: ScoreSettings = ScoreSettings()
    alerts: AlertSettings = AlertSettings()
    web: WebSettings = WebSettings()
    ingest: IngestSettings = IngestSettings()
    privacy: PrivacySettings = PrivacySettings()
    group: str = Field(
        "gapwatch", pattern=r"^[A-Za-z0-9._-]{1,100}$", description="Consumer group of the workers."
    )
    brands_file: Path | None = Field(None, description="TOML file with more `[[brands]]`.")
    brands: tuple[BrandSettings, ...] = ()
    receivers: tuple[ReceiverSettings, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment before the file."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        keys = [brand.key for brand in self.brands]
        _no_twice("brands", "key", keys)
        _no_twice("receivers", "name", [receiver.name for receiver in self.receivers])
        for brand in self.brands:
            for rival in brand.rivals:
                if rival not in keys:
                    raise ValueError(
                        f"brands: {brand.key!r} names the rival {rival!r}, which is no brand's key "
                        f"(keys: {', '.join(keys)})"
                    )
        for receiver in self.receivers:
            for key in receiver.brands:
                if key not in keys:
                    raise ValueError(
                        f"receivers: {receiver.name!r} names the brand {key!r}, which is no "
                        f"brand's key (keys: {', '.join(keys)})"
                    )
        return self

    def topic(self, name: str) -> str:
        """Full name of one of our topics."""
        return f"{self.kafka.topic_prefix}.{name}"


def _no_twice(section: str, field: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{section}: {field} {value!r} stands twice; each must be unique")
        seen.add(value)


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Read and check the settings.

    Args:
        config: The TOML file; without it the one named by `GAPWATCH_CONFIG`, if any.
        overrides: Sections that stand in for the file's.

    Raises:
        SettingsError: A file cannot be read, or a setting cannot be used.
    """
    if config is None and os.environ.get(CONFIG_ENV):
        config = Path(os.environ[CONFIG_ENV])
    _check_environment()
    values: dict[str, Any] = _read_toml(config) if config else {}
    origin = str(config) if config else "the environment"
    values.update(overrides)
    brands_file = os.environ.get("GAPWATCH_BRANDS_FILE") or values.get("brands_file")
    if brands_file:
        path = Path(brands_file)
        if config is not None and not path.is_absolute():
            path = config.parent / path
        values["brands_file"] = path
        listed = _read_toml(path)
        if unknown := set(listed) - {"brands"}:
            raise SettingsError(
                f"{path}: unknown setting {sorted(unknown)[0]!r}; a brands file holds only "
                "[[brands]] tables"
            )
        values["brands"] = [*values.get("brands", ()), *listed.get("brands", ())]
        origin += f" and {path}"
    try:
        return Settings(**values)
    except ValidationError as error:
        problems = "\n".join(f"  {_explain(detail)}" for detail in error.errors())
        raise SettingsError(f"settings from {origin} cannot be used:\n{problems}") from None
    except SourceError as error:
        field = re.search(r'field "(\w+)"', str(error))
        name = f"GAPWATCH_{field[1].upper()}" if field else "the environment"
        raise SettingsError(
            f"{name} must hold JSON; a single setting of it is named as in "
            "GAPWATCH_KAFKA__BOOTSTRAP_SERVERS"
        ) from None


def _check_environment() -> None:
    """Refuse variables that look like settings and are none: a typo must not pass unseen."""
    for name in os.environ:
        section = name.removeprefix("GAPWATCH_").partition("__")[0].lower()
        if name.startswith("GAPWATCH_") and name != CONFIG_ENV and section not in _SECTIONS:
            raise SettingsError(
                f"{name}: names no setting; after GAPWATCH_ comes one of "
                f"{', '.join(sorted(_SECTIONS)).upper()}"
            )


_SECTIONS: Final = frozenset(Settings.model_fields)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: is not TOML: {error}") from None


_SECRET_PARTS: Final = ("password", "url", "secret", "token", "pseudonym", "receivers")


def _explain(detail: ErrorDetails) -> str:
    """One problem: setting, value, accepted form."""
    location = _without_kind(list(detail["loc"]))
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    name = name.lstrip(".") or "settings"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        known = ", ".join(_known_names(list(detail["loc"])[:-1]))
        return f"{name}: unknown setting; known here: {known}"
    if detail["type"] == "missing":
        return f"{name}: is missing"
    if detail["type"] == "union_tag_not_found":
        return f"{name}.kind: is missing; one of {', '.join(_KINDS)}"
    if detail["type"] == "union_tag_invalid":
        return f"{name}.kind = {detail['ctx']['tag']!r}: should be one of {', '.join(_KINDS)}"
    value = detail["input"]
    named = next((part for part in reversed(location) if isinstance(part, str)), "")
    if (
        isinstance(value, dict | list | tuple)
        or "tokens" in location  # each stands under its own name
        or any(part in named for part in _SECRET_PARTS)
    ):
        return f"{name}: {message}"
    return f"{name} = {value!r}: {message}"


_RECEIVERS: Final[dict[str, type[BaseModel]]] = {
    kind: model
    for model in get_args(get_args(ReceiverSettings)[0])
    for kind in get_args(model.model_fields["kind"].annotation)
}
_KINDS: Final = sorted(_RECEIVERS)


def _without_kind(location: list[int | str]) -> list[int | str]:
    """A receiver's place as it stands in the file: pydantic puts its kind behind its number."""
    if len(location) > 2 and location[0] == "receivers" and location[2] in _RECEIVERS:
        return [*location[:2], *location[3:]]
    return location


def _known_names(location: list[int | str]) -> list[str]:
    model: Any = Settings
    for part in location:
        if isinstance(part, int):
            continue
        if location[0] == "receivers" and part in _RECEIVERS:
            model = _RECEIVERS[part]
            continue
        annotation = model.model_fields[part].annotation
        for candidate in (annotation, *getattr(annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
    return sorted(model.model_fields)
