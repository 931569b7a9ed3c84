"""A real Apache Kafka for tests, without containers: Java 17, and Maven to fetch the jars."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from pipeline.broker.child import Child
from pipeline.broker.ports import free_port
from tests.kafka.security import Security

VERSION = "4.3.1"
POM = Path(__file__).with_name("pom.xml")
CACHE = Path(__file__).parents[2] / ".cache"

# Small and quick to start, not quick to run.
JVM = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")

START_DEADLINE = 90.0
STOP_PATIENCE = 20.0


class KafkaUnavailableError(Exception):
    """This machine has not what a Kafka takes."""


def missing_program() -> str | None:
    """Which of the programs a Kafka takes is not installed; None if all are."""
    return next((name for name in ("java", "mvn") if shutil.which(name) is None), None)


def kafka_jars() -> Path:
    """The folder of Kafka's jars, fetched once and kept; safe to ask for from several processes.

    Raises:
        KafkaUnavailableError: Java or Maven is missing, or the jars cannot be fetched.
    """
    if program := missing_program():
        raise KafkaUnavailableError(f"{program} is not installed (Kafka needs Java 17 and Maven)")
    name = f"kafka-{VERSION}-{sha256(POM.read_bytes()).hexdigest()[:8]}"
    jars = CACHE / name
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.exists():
            partial = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=CACHE))
            try:
                _fetch(partial)
                # Appears whole or not at all: an interrupted fetch is begun again.
                partial.rename(jars)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return jars


def _fetch(folder: Path) -> None:
    maven = ["mvn", "--batch-mode", "--no-transfer-progress", "--quiet", "--file", str(POM)]
    maven += [f"-Dkafka.version={VERSION}", f"-DoutputDirectory={folder}"]
    result = subprocess.run(
        [*maven, "dependency:copy-dependencies"], capture_output=True, text=True, timeout=600
    )
    if result.returncode != 0:
        errors = [line for line in result.stdout.splitlines() if line.startswith("[ERROR]")]
        raise KafkaUnavailableError(
            f"Maven cannot fetch Kafka: {(errors or ['no reason given'])[0]}"
        )


class KafkaServer:
    """One node, broker and controller in one, on its own ports and storage.

    It listens in the clear, where everybody may do everything, and with `security` on further
    ports. Topics are never created by being named. The node can be killed and started again with
    all it held. It ends with the process that started it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        config: Mapping[str, str] | None = None,
        node: int = 1,
        controllers: Mapping[int, int] | None = None,
        cluster_id: str | None = None,
        behind: int | None = None,
        security: Security | None = None,
    ) -> None:
        """Nothing runs yet.

        Args:
            folder: For its configuration and storage; removed by nobody here.
            config: Broker settings beside, or instead of, the usual ones.
            node: Its id in its cluster.
            controllers: Controller port of each of the cluster's nodes; it is alone if not given.
            cluster_id: Its cluster's; a new one if not given.
            behind: Port of a proxy: clients are told to come through it.
            security: Its further listeners, who may sign in there, and that they need rights.
        """
        self.node = node
        self.port = free_port()
        self._cluster_id = cluster_id or new_cluster_id()
        between = free_port()
        self._folder = folder
        self._file = folder / "server.properties"
        self.security = security
        self._child: Child | None = None
        controllers = controllers or {node: free_port()}
        settings = {
            "process.roles": "broker,controller",
            "node.id": str(node),
            "controller.quorum.voters": ",".join(
                f"{id_}@127.0.0.1:{port}" for id_, port in controllers.items()
            ),
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},BETWEEN://127.0.0.1:{between},"
            f"CONTROLLER://127.0.0.1:{controllers[node]}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{behind or self.port},"
            f"BETWEEN://127.0.0.1:{between}",
            "inter.broker.listener.name": "BETWEEN",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            "BETWEEN:PLAINTEXT",
            "log.dirs": str(folder / "log"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # A killed node comes back only when its former self is given up: after 9 s as a rule.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            **(config or {}),
        }
        if security is not None:
            for name in ("listeners", "advertised.listeners", "listener.security.protocol.map"):
                settings[name] += f",{security.listeners(name)}"
            settings |= security.config
        folder.mkdir(parents=True, exist_ok=True)
        self._file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))

    @property
    def bootstrap_servers(self) -> str:
        """Where it listens, the same through kills and restarts."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process; None if it does not run."""
        return self._child.pid if self._child is not None else None

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._child is not None and self._child.running

    def start(self) -> None:
        """Start it, on fresh storage the first time, and wait until it listens.

        A node of several waits for most of the others: begin them together (`begin`).

        Raises:
            KafkaUnavailableError: Its jars cannot be had.
            RuntimeError: Its storage cannot be made, it died, or it did not listen in time.
        """
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Start it without waiting; errors as `start`."""
        assert self._child is None, "it is started already"
        classpath = f"{kafka_jars()}/*"
        if not (self._folder / "log").exists():
            self._format(classpath)
        command = java(classpath)
        if self.security is not None:
            command += self.security.logging
        self._child = Child([*command, "kafka.Kafka", str(self._file)], cwd=self._folder)

    def wait(self) -> None:
        """Wait until it listens; errors as `start`."""
        try:
            self._wait()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it in order; nothing if it does not run."""
        if self._child is not None:
            child, self._child = self._child, None
            child.stop(STOP_PATIENCE)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL); nothing if it does not run."""
        if self._child is not None:
            child, self._child = self._child, None
            child.kill()

    def signal(self, number: signal.Signals) -> None:
        """Send its process a signal; nothing if it does not run."""
        if self._child is not None and self._child.running:
            os.kill(self._child.pid, number)

    def restart(self) -> None:
        """End it in order and start it again, with all it held."""
        self.stop()
        self.start()

    def _format(self, classpath: str) -> None:
        tool = [*java(classpath), "kafka.tools.StorageTool"]
        users = self.security.scram if self.security is not None else []
        run(
            [*tool, "format", f"--cluster-id={self._cluster_id}", "-c", str(self._file)]
            + [part for user in users for part in ("--add-scram", user)]
        )

    def _wait(self) -> None:
        assert self._child is not None
        deadline = time.monotonic() + START_DEADLINE
        while time.monotonic() < deadline:
            if not self._child.running:
                raise RuntimeError(f"Kafka died as it started. It wrote:\n{self._child.output()}")
            # The broker opens its port when it is ready to serve.
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"Kafka did not listen in time. It wrote:\n{self._child.output()}")


def run(command: list[str]) -> str:
    """Run a program to its end; returns what it wrote.

    Raises:
        RuntimeError: It failed.
    """
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        output = f"{result.stdout}{result.stderr}"[-2000:]
        raise RuntimeError(f"{Path(command[0]).name} failed:\n{output}")
    return result.stdout


def java(classpath: str) -> list[str]:
    """The beginning of a command that runs one of Kafka's programs."""
    return [shutil.which("java") or "java", *JVM, "-cp", classpath]


def new_cluster_id() -> str:
    """An id for a new cluster."""
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
