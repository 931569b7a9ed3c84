"""Settings: read from file and environment, refused with a message that helps."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.settings import CONFIG_ENV, Settings, SettingsError, load_settings

SECRET = "hunter2-very-secret"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from where the tests happen to run."""
    for name in os.environ:
        if name.startswith("GAPWATCH_"):
            monkeypatch.delenv(name)


def written(tmp_path: Path, toml: str, name: str = "gapwatch.toml") -> Path:
    """A settings file of this content."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(toml, encoding="utf-8")
    return path


def loaded(tmp_path: Path, toml: str, **overrides: Any) -> Settings:
    """Settings read from a file of this content."""
    return load_settings(written(tmp_path, toml), **overrides)


def problem(tmp_path: Path, toml: str) -> str:
    """What is said of a file of this content."""
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, toml)
    return str(caught.value)


BRANDS = """
[[brands]]
key = "north"
name = "North"
rivals = ["south"]

[[brands]]
key = "south"
name = "South"
"""


def test_without_file_and_environment_the_defaults_hold() -> None:
    settings = load_settings()
    assert settings.kafka.bootstrap_servers == "localhost:9092"
    assert settings.topic("events") == "gapwatch.events"
    assert settings.web.host == "127.0.0.1"
    assert settings.brands == ()
    assert settings.receivers == ()


def test_a_file_is_read(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        '[kafka]\ntopic_prefix = "acme"\npartitions = 3\n[alerts]\nmin_mentions = 5\n' + BRANDS,
    )
    assert settings.topic("alerts") == "acme.alerts"
    assert settings.kafka.partitions == 3
    assert settings.alerts.min_mentions == 5
    assert [(brand.key, brand.rivals) for brand in settings.brands] == [
        ("north", ("south",)),
        ("south", ()),
    ]


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_ENV, str(written(tmp_path, 'group = "from-file"')))
    assert load_settings().group == "from-file"


def test_a_file_that_is_given_beats_the_one_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONFIG_ENV, str(written(tmp_path, 'group = "named"', "named.toml")))
    assert loaded(tmp_path, 'group = "given"').group == "given"


def test_the_environment_beats_the_file_setting_by_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAPWATCH_KAFKA__BOOTSTRAP_SERVERS", "kafka:9092")
    monkeypatch.setenv("GAPWATCH_GROUP", "from-env")
    settings = loaded(
        tmp_path, 'group = "from-file"\n[kafka]\nbootstrap_servers = "other:1"\npartitions = 3'
    )
    assert settings.group == "from-env"
    assert settings.kafka.bootstrap_servers == "kafka:9092"
    assert settings.kafka.partitions == 3  # the rest of the section stays the file's


def test_tokens_come_from_file_environment_and_files_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "desk").write_text("desk-token-of-some-length\n")
    monkeypatch.setenv("GAPWATCH_INGEST__TOKENS__SHOP", SECRET)
    settings = loaded(tmp_path, f'[ingest.token_files]\ndesk = "{tmp_path / "desk"}"')
    assert settings.ingest.secrets() == {"shop": SECRET, "desk": "desk-token-of-some-length"}
    assert SECRET not in repr(settings)
    monkeypatch.setenv("GAPWATCH_INGEST__TOKENS__DESK", SECRET)
    with pytest.raises(SettingsError, match=r"ingest\.tokens\.desk: .* one of the two"):
        loaded(tmp_path, f'[ingest.token_files]\ndesk = "{tmp_path / "desk"}"').ingest.secrets()


def test_the_key_of_pseudonyms_is_long(tmp_path: Path) -> None:
    assert loaded(tmp_path, "").privacy.key() is None
    settings = loaded(tmp_path, f'[privacy]\npseudonym_key = "{SECRET}"')
    assert SECRET not in repr(settings)
    with pytest.raises(SettingsError, match=r"privacy\.pseudonym_key: must be 32") as told:
        settings.privacy.key()
    assert SECRET not in str(told.value)


@pytest.mark.parametrize(
    "toml",
    [
        f'[web]\ntoken = ["{SECRET}"]',
        f'[ingest.tokens]\nshop = ["{SECRET}"]',
        f'[ingest]\ntokens = "{SECRET}"',
        f'[privacy]\npseudonym_key = {{ a = "{SECRET}" }}',
        f'[privacy]\npseudonym_key_file = {{ a = "{SECRET}" }}',
    ],
)
def test_a_secret_in_the_wrong_form_is_not_shown(tmp_path: Path, toml: str) -> None:
    assert SECRET not in problem(tmp_path, toml)


def test_overrides_beat_the_file(tmp_path: Path) -> None:
    assert loaded(tmp_path, "[web]\nport = 1", web={"port": 2}).web.port == 2


BAD_VALUES = [
    ("[kafka]\npartitions = 0", ["kafka.partitions = 0", "greater than or equal to 1"]),
    ('[kafka]\npartitions = "many"', ["kafka.partitions = 'many'", "integer"]),
    ('[kafka]\ntopic_prefix = "a b"', ["kafka.topic_prefix = 'a b'", "A-Za-z0-9"]),
    (
        '[kafka]\nsecurity_protocol = "TLS"',
        ["kafka.security_protocol = 'TLS'", "'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL'"],
    ),
    (
        '[kafka]\nsecurity_protocol = "SASL_SSL"',
        ["kafka: security_protocol SASL_SSL needs sasl_username and sasl_password"],
    ),
    (
        "[kafka]\nreplication = 1\nmin_insync_replicas = 2",
        ["kafka: min_insync_replicas (2) is above replication (1)"],
    ),
    ("[alerts]\nmin_share = 7.0", ["alerts.min_share = 7.0", "less than or equal to 1"]),
    ("[alerts]\nmin_mentions = 1.5", ["alerts.min_mentions = 1.5", "integer"]),
    (
        '[alerts]\npage_url = "https://x.example/{brand}"',
        ["alerts.page_url: takes no placeholders, and {brand} is one"],
    ),
    (
        '[alerts]\ndashboard_url = "https://x.example/{team}"',
        ["alerts.dashboard_url", "{team} is no", "{brand}, {touchpoint}, {from_ms}, {to_ms}"],
    ),
    (
        '[alerts]\nrunbook_url = "https://x.example/{brand.name}"',
        ["{brand.name} is no placeholder here; known are {team}, {touchpoint}, {kind}, {brand}"],
    ),
    ('[alerts]\nrunbook_url = "https://x.example/}{"', ["} is no placeholder"]),
    ('[alerts]\nrunbook_url = "ftp://x.example"', ["alerts.runbook_url", "http:// or https://"]),
    (
        '[alerts]\ndashboard_url = "https://me:pass@x.example"',
        ["alerts.dashboard_url", "without a user name"],
    ),
    ("[web]\nport = 70000", ["web.port = 70000", "less than or equal to 65535"]),
    (
        "[score.stage_weights]\nconsumption = 1",
        ["score.stage_weights", "consumption, curation, creation, collaboration", "0 to 1000"],
    ),
    ('[[brands]]\nkey = "North!"\nname = "North"', ["brands[0].key = 'North!'", "'north-bikes'"]),
    ('[[brands]]\nkey = "north"', ["brands[0].name: is missing"]),
    (
        '[[receivers]]\nname = "chat"\nkind = "pigeon"\nurl = "https://x"',
        ["receivers[0].kind = 'pigeon'", "one of alertmanager, apprise, discord, email"],
    ),
    ('[[receivers]]\nname = "chat"', ["receivers[0].kind: is missing; one of alertmanager"]),
    (
        '[[receivers]]\nname = "chat"\nkind = "webhook"',
        ["receivers[0]", "exactly one of url and url_file"],
    ),
    (
        '[[receivers]]\nname = "chat"\nkind = "slack"',
        ["receivers[0]", "exactly one of url and url_file and token and token_file"],
    ),
    (
        '[[receivers]]\nname = "chat"\nkind = "slack"\nurl = "ftp://x"',
        ["receivers[0]", "must start with https://"],
    ),
    (
        '[[receivers]]\nname = "chat"\nkind = "slack"\nurl = "http://x.example"',
        ["receivers[0]", "allow_http = true permits http://"],
    ),
    (
        '[[receivers]]\nname = "chat"\nkind = "slack"\ntoken = "t"',
        ["receivers[0]", "needs channel with a token"],
    ),
    (
        '[[receivers]]\nname = "chat"\nkind = "teams"\nurl = "https://x"\nhours = "always"',
        ["receivers[0].hours", "'mon-fri 08:00-18:00'"],
    ),
    (
        '[[receivers]]\nname = "chat"\nkind = "teams"\nurl = "https://x"\ntimezone = "Mars"',
        ["receivers[0].timezone = 'Mars'", "'Europe/Berlin'"],
    ),
    (
        '[[receivers]]\nname = "chat"\nkind = "teams"\nurl = "https://x"\nteams = ["Sales"]',
        ["receivers[0].teams", "'Sales' is none of Operations, Marketing"],
    ),
    (
        '[[receivers]]\nname = "chat"\nkind = "teams"\nurl = "https://x"\nmin_severity = 11',
        ["receivers[0].min_severity = 11", "less than or equal to 10"],
    ),
    (
        '[[receivers]]\nname = "a"\nkind = "webhook"\nurl = "https://x"\nsecrets = ["whsec_x"]',
        ["receivers[0]", "whsec_ and Base64 of 24 to 64 bytes"],
    ),
    (
        '[[receivers]]\nname = "a"\nkind = "telegram"\ntoken = "t"\nchat = "some group"',
        ["receivers[0].chat = 'some group'"],
    ),
    (
        '[[receivers]]\nname = "a"\nkind = "email"\nhost = "mail.example"\nsender = "a@b.example"',
        ["receivers[0].to: is missing"],
    ),
    (
        '[[receivers]]\nname = "a"\nkind = "email"\nhost = "mail.example"\n'
        'sender = "Team <a@b.example>"\nto = ["c@d.example"]',
        ["receivers[0].sender", "a bare address: 'team@example.com'"],
    ),
    (
        '[[receivers]]\nname = "a"\nkind = "email"\nhost = "mail.example"\nsecurity = "none"\n'
        'sender = "a@b.example"\nto = ["c@d.example"]\nusername = "u"\npassword = "p"',
        ["receivers[0]", "sends no password without TLS"],
    ),
    (
        '[[receivers]]\nname = "a"\nkind = "apprise"\nurl = "ntfys://topic"',
        ["receivers[0]", "needs allow_private = true"],
    ),
    ('kafka = "localhost"', ["kafka = 'localhost'"]),
]


@pytest.mark.parametrize(("toml", "parts"), BAD_VALUES, ids=[toml for toml, _ in BAD_VALUES])
def test_a_bad_value_is_named_with_its_setting_and_what_is_accepted(
    tmp_path: Path, toml: str, parts: list[str]
) -> None:
    message = problem(tmp_path, toml)
    assert str(tmp_path / "gapwatch.toml") in message
    for part in parts:
        assert part in message


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    message = problem(tmp_path, "[kafka]\npartitions = 0\n[web]\nport = -1")
    assert "kafka.partitions = 0" in message
    assert "web.port = -1" in message


@pytest.mark.parametrize(
    ("toml", "parts"),
    [
        ("colour = 1", ["colour: unknown setting; known here: alerts, brands, "]),
        ("[kafka]\npartition = 1", ["kafka.partition: unknown setting", "partitions"]),
        (
            '[[brands]]\nkey = "north"\nname = "North"\nalias = ["N"]',
            ["brands[0].alias: unknown setting", "aliases"],
        ),
        (
            '[[receivers]]\nname = "a"\nkind = "slack"\nurl = "https://x"\nchanel = "b"',
            ["receivers[0].chanel: unknown setting", "channel", "url_file"],
        ),
    ],
)
def test_an_unknown_setting_is_refused_with_those_known(
    tmp_path: Path, toml: str, parts: list[str]
) -> None:
    message = problem(tmp_path, toml)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("GAPWATCH_KAFKA__PARTITIONS", "many", ["kafka.partitions = 'many'", "the environment"]),
        ("GAPWATCH_KAFKA__PARTITION", "3", ["kafka.partition: unknown setting"]),
        ("GAPWATCH_BRANDS", "north", ["GAPWATCH_BRANDS must hold JSON"]),
        ("GAPWATCH_KAFKA", "localhost", ["GAPWATCH_KAFKA must hold JSON", "GAPWATCH_KAFKA__B"]),
    ],
)
def test_a_bad_value_in_the_environment_is_named_too(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, parts: list[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    for part in parts:
        assert part in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml: cannot be read: No such file"):
        load_settings(tmp_path / "none.toml")


def test_a_file_that_is_no_toml_is_named_with_the_line(tmp_path: Path) -> None:
    assert re.search(r"gapwatch\.toml: is not TOML: .*line 2", problem(tmp_path, "[kafka]\n= 3"))


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gapwatch.toml"
    path.write_bytes(b'group = "\xff"')
    with pytest.raises(SettingsError, match=r"gapwatch\.toml: is not UTF-8 text \(byte 9\)"):
        load_settings(path)


@pytest.mark.parametrize(
    ("toml", "part"),
    [
        ('[[brands]]\nkey = "a"\nname = "A"\n' * 2, "brands: key 'a' stands twice"),
        (
            '[[receivers]]\nname = "a"\nkind = "slack"\nurl = "https://x"\n' * 2,
            "receivers: name 'a' stands twice",
        ),
        (
            '[[brands]]\nkey = "a"\nname = "A"\nrivals = ["b"]',
            "brands: 'a' names the rival 'b', which is no brand's key (keys: a)",
        ),
        (
            '[[receivers]]\nname = "chat"\nkind = "slack"\nurl = "https://x"\nbrands = ["b"]',
            "receivers: 'chat' names the brand 'b', which is no brand's key",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, toml: str, part: str) -> None:
    assert part in problem(tmp_path, toml)


def test_a_brands_file_is_found_beside_the_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, BRANDS, "conf/brands.toml")
    config = written(tmp_path, 'brands_file = "brands.toml"', "conf/gapwatch.toml")
    monkeypatch.chdir(tmp_path)
    assert [brand.key for brand in load_settings(config).brands] == ["north", "south"]


def test_the_environment_can_name_the_brands_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAPWATCH_BRANDS_FILE", str(written(tmp_path, BRANDS, "brands.toml")))
    assert [brand.key for brand in load_settings().brands] == ["north", "south"]


def test_brands_of_both_files_count(tmp_path: Path) -> None:
    written(tmp_path, BRANDS, "brands.toml")
    settings = loaded(
        tmp_path,
        'brands_file = "brands.toml"\n[[brands]]\nkey = "east"\nname = "East"\nrivals = ["north"]',
    )
    assert [brand.key for brand in settings.brands] == ["east", "north", "south"]


def test_a_problem_in_a_brands_file_names_that_file(tmp_path: Path) -> None:
    written(tmp_path, BRANDS.replace("North", ""), "brands.toml")
    message = problem(tmp_path, 'brands_file = "brands.toml"')
    assert str(tmp_path / "brands.toml") in message
    assert "brands[0].name" in message


def test_a_brands_file_holds_brands_only(tmp_path: Path) -> None:
    written(tmp_path, "[kafka]\npartitions = 1", "brands.toml")
    message = problem(tmp_path, 'brands_file = "brands.toml"')
    assert "brands.toml: unknown setting 'kafka'" in message


@pytest.mark.parametrize(
    "toml",
    [
        f'[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_password = "{SECRET}"',
        f'[kafka]\nsasl_password = ["{SECRET}"]',
        f'[kafka]\nsasl_pasword = "{SECRET}"',
        f'[[receivers]]\nname = "a"\nkind = "slack"\nurl = "hooks.example/{SECRET}"',
        f'[[receivers]]\nname = "a"\nkind = "pigeon"\nurl = "https://hooks.example/{SECRET}"',
        f'[[receivers]]\nname = "a"\nkind = "slack"\nhook = "https://hooks.example/{SECRET}"',
        f'[receivers]\nname = "a"\nkind = "slack"\nurl = "https://hooks.example/{SECRET}"',
        f'receivers = "https://hooks.example/{SECRET}"',
        f'receivers = ["https://hooks.example/{SECRET}"]',
        f'[[receivers]]\nname = "a"\nkind = "slack"\nurl = "https://x/{SECRET}"\nurl_file = "b"',
    ],
)
def test_a_message_never_holds_a_secret(tmp_path: Path, toml: str) -> None:
    assert SECRET not in problem(tmp_path, toml)


def test_a_secret_in_the_environment_stays_out_of_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GAPWATCH_RECEIVERS", f'[{{"url": "https://hooks.example/{SECRET}"]')
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_settings_shown_hide_secrets(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        f'[kafka]\nsasl_password = "{SECRET}"\n'
        f'[[receivers]]\nname = "a"\nkind = "slack"\nurl = "https://hooks.example/{SECRET}"',
    )
    assert SECRET not in repr(settings)
    assert SECRET not in settings.model_dump_json()
    assert settings.kafka.password() == SECRET
    assert settings.receivers[0].target() == f"https://hooks.example/{SECRET}"


def test_secrets_are_read_from_their_files_when_needed(tmp_path: Path) -> None:
    password, url = tmp_path / "password", tmp_path / "url"
    settings = loaded(
        tmp_path,
        '[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_username = "me"\n'
        f'sasl_password_file = "{password}"\n'
        f'[[receivers]]\nname = "a"\nkind = "slack"\nurl_file = "{url}"',
    )
    for secret in ("first", "renewed"):
        password.write_text(f"{secret}\n")
        url.write_text(f"https://hooks.example/{secret}\n")
        assert settings.kafka.password() == secret
        assert settings.receivers[0].target() == f"https://hooks.example/{secret}"


def test_a_secret_file_that_holds_no_address_is_refused_without_showing_it(tmp_path: Path) -> None:
    url = written(tmp_path, SECRET, "url")
    settings = loaded(tmp_path, f'[[receivers]]\nname = "a"\nkind = "slack"\nurl_file = "{url}"')
    with pytest.raises(ValueError, match="must start with https") as caught:
        settings.receivers[0].target()
    assert SECRET not in str(caught.value)


def test_settings_do_not_change() -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.group = "other"  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        settings.kafka.partitions = 3  # type: ignore[misc]
