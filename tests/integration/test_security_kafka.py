"""A Kafka with TLS, passwords and an authorizer: signing in, and doing with the least of rights."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import shlex
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer import AIOKafkaConsumer
from click.testing import CliRunner, Result

from pipeline.broker import BrokerError
from pipeline.broker.allowed import require_rights
from pipeline.broker.client import client_options, wait_for_broker
from pipeline.cli.main import command_line
from pipeline.producer import Producer
from pipeline.records import Post
from pipeline.rights import ROLES, Right, Role, acl_commands, rights
from pipeline.settings import KafkaSettings, Settings
from pipeline.topics import create_topics, list_topics, topic_specs
from tests.builders import NOON, an_alert, until
from tests.conftest import REQUIRE_KAFKA, kafka_settings_of
from tests.hook import Hook
from tests.kafka.acls import grant, withdraw
from tests.kafka.security import Security
from tests.kafka.server import KafkaServer, KafkaUnavailableError, java, kafka_jars, run
from tests.worker import WorkerProcess, as_lines, gapwatch, wait_until

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

USERS = {role: f"{role}-password" for role in ROLES} | {"nobody": "nobody-password"}
BRAND = {"key": "north", "name": "North"}
WAIT = {"say": lambda line: None}


@pytest.fixture(scope="module")
def security(tmp_path_factory: pytest.TempPathFactory) -> Security:
    return Security(tmp_path_factory.mktemp("security"), USERS)


@pytest.fixture(scope="module")
def server(security: Security, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """One node that lets in only whom it knows."""
    server = KafkaServer(tmp_path_factory.mktemp("secure-kafka"), security=security)
    try:
        server.start()
    except KafkaUnavailableError as error:
        if os.environ.get(REQUIRE_KAFKA) == "1":
            raise
        pytest.skip(f"no Kafka: {error}")
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def _refused_connections() -> Iterator[None]:
    """aiokafka closes a connection it was refused on without waiting for TLS to end.

    What is then left over is found here, where it is expected, and not in some later test.
    """
    yield
    gc.collect()


@pytest.mark.usefixtures("server")
class TestSigningIn:
    @pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
    async def test_tls_and_password(
        self, security: Security, tmp_path: Path, mechanism: str
    ) -> None:
        password = tmp_path / "password"
        password.write_text(f"{USERS['worker']}\n")
        await wait_for_broker(
            security.settings("worker", sasl_mechanism=mechanism), **WAIT, timeout=5
        )
        from_file = security.settings(
            "worker", sasl_mechanism=mechanism, sasl_password=None, sasl_password_file=password
        )
        await wait_for_broker(from_file, **WAIT, timeout=60)

    async def test_a_certificate_of_ones_own(self, security: Security) -> None:
        mine = security.certified(security.certificate("worker"))
        await wait_for_broker(mine, **WAIT, timeout=60)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"sasl_password": "wrong"}, r"authentication failed.*kafka\.sasl_password"),
            ({"sasl_username": "stranger"}, r"kafka\.sasl_username 'stranger'"),
            ({"sasl_mechanism": "SCRAM-SHA-256"}, r"does not offer kafka\.sasl_mechanism SCRAM"),
            ({"ssl_cafile": None}, r"set kafka\.ssl_cafile \(not set"),
        ],
    )
    async def test_what_waiting_cannot_mend_is_said_at_once(
        self, security: Security, changes: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(BrokerError, match=words) as refused:
            await wait_for_broker(security.settings("worker", **changes), **WAIT, timeout=None)
        assert USERS["worker"] not in str(refused.value)

    async def test_another_authority_is_not_trusted(
        self, security: Security, tmp_path: Path
    ) -> None:
        other = tmp_path / "other.pem"
        trustme.CA().cert_pem.write_to_path(other)
        with pytest.raises(BrokerError, match=r"not trusted.*set kafka\.ssl_cafile \(.*other\.pem"):
            await wait_for_broker(
                security.settings("worker", ssl_cafile=other), **WAIT, timeout=None
            )

    async def test_a_certificate_for_another_name_is_not_trusted(self, security: Security) -> None:
        elsewhere = f"127.1:{security.ports['SECURE']}"
        kafka = security.settings("worker", bootstrap_servers=elsewhere)
        with pytest.raises(BrokerError, match=r"not valid for '127\.1'.*advertised\.listeners"):
            await wait_for_broker(kafka, **WAIT, timeout=None)

    async def test_an_expired_certificate_is_not_trusted(self, security: Security) -> None:
        old = f"127.0.0.1:{security.ports['EXPIRED']}"
        kafka = security.settings("worker", bootstrap_servers=old)
        with pytest.raises(BrokerError, match=r"has expired.*give the broker a new one.*clock"):
            await wait_for_broker(kafka, **WAIT, timeout=None)

    @pytest.mark.parametrize("fault", ["expired", "stranger", "none"])
    async def test_a_broker_that_refuses_our_certificate_says_so(
        self, security: Security, fault: str
    ) -> None:
        if fault == "none":
            kafka = security.certified(Path(), ssl_certfile=None, ssl_keyfile=None)
            words = r"asks for a certificate: set kafka\.ssl_certfile and kafka\.ssl_keyfile"
        else:
            by = trustme.CA() if fault == "stranger" else None
            certificate = security.certificate("worker", expired=fault == "expired", by=by)
            kafka = security.certified(certificate)
            words = rf"refuses kafka\.ssl_certfile {certificate}: it has expired, or no"
        with pytest.raises(BrokerError, match=words):
            await wait_for_broker(kafka, **WAIT, timeout=None)

    @pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT", "SSL", "SASL_SSL"])
    async def test_the_wrong_protocol_is_suspected(
        self, security: Security, server: KafkaServer, protocol: str
    ) -> None:
        port = server.port if protocol == "SASL_SSL" else security.ports["SECURE"]
        kafka = security.settings(
            "worker", security_protocol=protocol, bootstrap_servers=f"127.0.0.1:{port}"
        )
        said: list[str] = []
        waiting = asyncio.create_task(wait_for_broker(kafka, say=said.append, timeout=None))
        await until(lambda: said)
        waiting.cancel()
        assert re.search(
            rf"kafka\.security_protocol {protocol} is not what this port speaks", said[0]
        )

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"ssl_cafile": "/none.pem"}, r"kafka\.ssl_cafile /none\.pem"),
            ({"ssl_certfile": "/none.pem"}, r"kafka\.ssl_certfile /none\.pem"),
            ({"ssl_keyfile": "/none.pem"}, r"without kafka\.ssl_certfile"),
            ({"sasl_password": None, "sasl_password_file": "/none"}, r"kafka\.sasl_password_file"),
        ],
    )
    def test_files_that_cannot_be_used_are_named_by_their_setting(
        self, security: Security, changes: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(BrokerError, match=words):
            client_options(security.settings("worker", **changes))


def settings_of(security: Security, user: str) -> Settings:
    return Settings(kafka=security.settings(user), brands=(BRAND,))  # type: ignore[arg-type]


def written(folder: Path, security: Security, user: str, **tables: dict[str, Any]) -> Path:
    """A settings file by which a user signs in, with a file for the password."""
    password = folder / f"{user}.password"
    password.write_text(USERS[user])
    kafka = security.settings(user).model_dump(
        mode="json", exclude_defaults=True, exclude={"sasl_password"}
    )
    kafka["sasl_password_file"] = str(password)
    lines = []
    for name, table in {"kafka": kafka, "web": {"port": 0}, **tables}.items():
        lines.append(f"[{name}]" if name in ("kafka", "web", "alerts") else f"[[{name}]]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    path = folder / f"{user}.toml"
    path.write_text("\n".join([*lines, "[[brands]]", 'key = "north"', 'name = "North"', ""]))
    return path


def command(path: Path, *words: str, stdin: bytes = b"") -> Result:
    """Run `gapwatch` with a settings file to its end, in this process."""
    return CliRunner().invoke(command_line(), ["-c", str(path), *words], input=stdin)


def told(path: Path, *words: str, stdin: bytes = b"") -> str:
    """What a command prints that goes well."""
    done = command(path, *words, stdin=stdin)
    assert done.exit_code == 0, done.output
    return done.stdout


async def settled(settings: Settings, needed: list[Right]) -> None:
    """Wait until rights that were granted hold on the broker."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await require_rights(settings, needed)
            except BrokerError:
                await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def granted(server: KafkaServer, security: Security) -> None:
    """Every user may do what the table of rights says, and the topics are there."""
    admin = kafka_settings_of(server)
    defaults = Settings()

    async def go() -> None:
        for role in ROLES:
            if role != "sender":
                await grant(admin, role, rights(role, defaults))
        topics = settings_of(security, "topics")
        await settled(topics, rights("topics", topics))
        await create_topics(topics, say=lambda line: None)

    asyncio.run(go())
    # The commands of the documentation do the same.
    for command in acl_commands("sender", defaults, user="sender"):
        program, *given = shlex.split(command.replace("$KAFKA", server.bootstrap_servers))
        assert program == "kafka-acls.sh"
        at = given.index("--command-config")
        given[at : at + 2] = []
        run([*java(f"{kafka_jars()}/*"), "org.apache.kafka.tools.AclCommand", *given])


def complaints(count: int, *, hours_ago: int = 0) -> bytes:
    """A wave of people whose order never came."""
    now = datetime.now(UTC) - timedelta(hours=hours_ago, minutes=2)
    return as_lines(
        {
            "id": f"e{hours_ago}-{number}",
            "source": "test",
            "published": (now + timedelta(seconds=number)).isoformat(),
            "text": f"North promised delivery in two days, my parcel never came. Awful! {number}",
            "actor": {"id": f"a{number}", "name": f"a{number}", "followers": 10},
        }
        for number in range(count)
    )


def posted(url: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status < 300


@pytest.mark.usefixtures("granted")
class TestLeastRights:
    def test_with_the_rights_of_the_table_everything_works_and_no_right_is_superfluous(
        self, security: Security, server: KafkaServer, tmp_path: Path
    ) -> None:
        received: list[dict[str, Any]] = []
        with Hook(received) as hook:
            config = written(
                tmp_path, security, "worker", alerts={"min_mentions": 5}, receivers=hook.receiver
            )
            with WorkerProcess(config) as worker:
                worker.ready()
                sender = written(tmp_path, security, "sender")
                # An hour that has ended, so that what was expected of the next one is written.
                told(sender, "send", "-", stdin=b"not an event\n" + complaints(1, hours_ago=2))
                worker.handled(2)
                told(sender, "send", "-", stdin=complaints(60))
                worker.handled(62)
                wait_until(lambda: received, "an alert to be delivered")
                identity = received[0]["alert"]["id"]
                desk = written(tmp_path, security, "desk")
                told(desk, "acknowledge", identity, "--by", "ann")
                silence = told(
                    desk, "silence", "add", "--brand", "north", "--for", "1h", "--by", "ann"
                )
                assert silence.strip() in told(desk, "silence", "list")
                wait_until(
                    lambda: identity in worker.get("/api/alerts")[1].decode(), "it on the page"
                )
                posted(f"{worker.url}/api/alerts/{identity}/acknowledgement", {"author": "ann"})
                posted(f"{worker.url}/api/alerts/{identity}/snooze", {"author": "a", "minutes": 9})
                reader = written(tmp_path, security, "reader")
                assert '"north"' in told(reader, "scores", "--json")
                assert identity in told(reader, "alerts", "--json")
                assert "north" in told(reader, "silence", "list", "--json")
                assert "delivered" in command(reader, "alerts").stderr
                asyncio.run(publish_an_old_alert(kafka_settings_of(server)))
                eraser = written(tmp_path, security, "eraser")
                told(eraser, "erase", "test:forgotten", "--by", "ann")
                assert "ann" in told(eraser, "erasures")
                asyncio.run(list_topics_as(settings_of(security, "topics")))
                scaler = settings_of(security, "scaler")
                wait_until(lambda: asyncio.run(lag_as(scaler)) == 0, "offsets to be committed")
                for role in ("worker", "sender", "reader", "desk", "eraser", "topics", "scaler"):
                    self.check(security, role)

                # What is taken away while it runs stops it, before it acknowledges anything.
                writing = Right("topic", "gapwatch.mentions", ("Write",))
                admin = kafka_settings_of(server)
                asyncio.run(withdraw(admin, "worker", [writing]))
                asyncio.run(until_denied(settings_of(security, "worker"), writing))
                told(sender, "send", "-", stdin=complaints(1, hours_ago=1))
                assert worker.process.wait(60) == 1
                assert "stopped by an error: gapwatch.mentions" in worker.output
                asyncio.run(grant(admin, "worker", [writing]))

    def check(self, security: Security, role: Role) -> None:
        asked = security.asked(role)
        assert {each for each in asked if not each.allowed} == set(), role
        used = {(each.kind.lower(), each.name, each.operation) for each in asked}
        given = {
            (right.kind, right.name, _in_log(operation))
            for right in rights(role, Settings())
            for operation in right.operations
        }
        # Only a right itself allows what the log has under its name: without it, that is denied.
        assert given - used == set(), role

    async def test_a_worker_says_what_it_lacks_before_it_starts(
        self, security: Security, server: KafkaServer, tmp_path: Path
    ) -> None:
        admin = kafka_settings_of(server)
        settings = settings_of(security, "nobody")
        table = rights("worker", settings)
        lacking = [
            Right("topic", "gapwatch.events", ("Read",)),
            Right("topic", "gapwatch.rejected", ("Write",)),
            Right("group", "gapwatch", ("Read",)),
        ]
        await grant(admin, "nobody", table)
        await settled(settings, table)
        await withdraw(admin, "nobody", lacking)
        for right in lacking:
            await until_denied(settings, right)
        config = written(tmp_path, security, "nobody")
        done = await asyncio.to_thread(gapwatch, config, "run")
        assert done.returncode == 2
        said = done.stderr.decode()
        assert "does not allow kafka.sasl_username 'nobody'" in said
        assert f": {'; '.join(map(str, lacking))}. Have it granted" in said
        assert "docs/reference/kafka-rights.md" in said
        assert USERS["nobody"] not in said

    @pytest.mark.parametrize(
        ("user", "words", "said"),
        [
            ("reader", ("send", "-"), "Write on topic gapwatch.events"),
            ("sender", ("scores",), "Read on topic gapwatch.scores"),
            (
                "reader",
                ("silence", "add", "--brand", "north", "--for", "1h", "--by", "ann"),
                "Write on topic gapwatch.silences",
            ),
            ("scaler", ("topics", "create"), "this user may not create it"),
        ],
    )
    def test_a_command_that_is_denied_says_what_it_lacks(
        self, security: Security, tmp_path: Path, user: str, words: tuple[str, ...], said: str
    ) -> None:
        done = command(written(tmp_path, security, user), *words)
        assert done.exit_code == 2
        assert said in done.stderr
        assert "docs/reference/kafka-rights.md" in done.stderr

    async def test_who_signs_in_by_certificate_is_known_by_its_name(
        self, security: Security
    ) -> None:
        sender = Settings(kafka=security.certified(security.certificate("sender")))
        await require_rights(sender, rights("sender", sender))
        with pytest.raises(BrokerError, match=r"the holder of kafka\.ssl_certfile: Read on"):
            await require_rights(sender, rights("reader", sender))


def _in_log(operation: str) -> str:
    return {"DescribeConfigs": "DESCRIBE_CONFIGS"}.get(operation, operation.upper())


async def publish_an_old_alert(admin: KafkaSettings) -> None:
    """An alert that is over, with a post of somebody who is to be forgotten."""
    post = Post("1", "f", "It never came", NOON, source="test", author_id="forgotten")
    alert = an_alert(id="north.old", status="resolved", posts=(post,))
    producer = Producer(client_options(admin), idempotent=True)
    await producer.start()
    try:
        await producer.send_keyed(
            "gapwatch.alerts", 4, [(b"north.old", msgspec.json.encode(alert))]
        )
    finally:
        await producer.stop()


async def until_denied(settings: Settings, right: Right) -> None:
    """Wait until a right that was withdrawn holds no more."""
    async with asyncio.timeout(20):
        while True:
            try:
                await require_rights(settings, [right])
            except BrokerError:
                return
            await asyncio.sleep(0.05)


async def list_topics_as(settings: Settings) -> None:
    """List the topics with their configuration, as `gapwatch topics list` does."""
    states = await list_topics(settings)
    assert all(state.exists and state.config for state in states)


async def lag_as(settings: Settings) -> int:
    """What KEDA's Kafka scaler finds out: how far the group is behind the ends of the events."""
    options = client_options(settings.kafka)
    partitions = [TopicPartition(settings.topic("events"), n) for n in range(4)]
    admin = AIOKafkaAdminClient(**options)
    await admin.start()
    try:
        committed = await admin.list_consumer_group_offsets(settings.group, partitions=partitions)
    finally:
        await admin.close()
    consumer = AIOKafkaConsumer(**options)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(partitions)
    finally:
        await consumer.stop()
    return sum(ends[tp] - max(0, committed[tp].offset) for tp in partitions)


class TestTable:
    def test_every_topic_is_somebodys(self) -> None:
        settings = Settings()
        specs = {spec.name for spec in topic_specs(settings)}
        worker = {right.name for right in rights("worker", settings) if right.kind == "topic"}
        assert worker == specs

    def test_only_who_creates_topics_may_create_any(self) -> None:
        for role in ROLES:
            may = {op for right in rights(role, Settings()) for op in right.operations}
            assert ("Create" in may) == (role == "topics")

    def test_the_commands_grant_what_the_table_says(self) -> None:
        settings = Settings(kafka=KafkaSettings(topic_prefix="acme"), group="watch")
        for role in ROLES:
            granted: set[tuple[str, str, str]] = set()
            for command in acl_commands(role, settings, user="x"):
                words = shlex.split(command)
                pairs = list(pairwise(words))
                operations = [value for name, value in pairs if name == "--operation"]
                for kind in ("topic", "group"):
                    names = [value for name, value in pairs if name == f"--{kind}"]
                    granted |= {(kind, name, op) for name in names for op in operations}
                assert ("--allow-principal", "User:x") in pairs
            assert granted == {
                (right.kind, right.name, op)
                for right in rights(role, settings)
                for op in right.operations
            }
