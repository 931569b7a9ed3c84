"""A real cluster of three Kafka nodes, each behind a proxy of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.broker.ports import free_port
from pipeline.settings import KafkaSettings
from tests.kafka.proxy import Proxy
from tests.kafka.server import KafkaServer, new_cluster_id

NODES = 3

_CONFIG: Mapping[str, str] = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    # A node that falls behind or dies is noticed within seconds, as a test has not minutes.
    "replica.lag.time.max.ms": "4000",
    "controller.quorum.election.timeout.ms": "1000",
    "controller.quorum.fetch.timeout.ms": "2000",
    # A SIGKILLed client's group must not wait for it longer than the client's own settings say.
    "group.min.session.timeout.ms": "1000",
    "leader.imbalance.check.interval.seconds": "5",
    "num.partitions": "4",
}


class KafkaCluster:
    """Three nodes, replication 3, `min.insync.replicas` 2: any one may be missing.

    Workers come through `proxies`; `direct` leads past them, for what looks on.
    """

    def __init__(self, folder: Path) -> None:
        cluster_id = new_cluster_id()
        controllers = {node: free_port() for node in range(1, NODES + 1)}
        self.proxies = {node: Proxy() for node in controllers}
        self.nodes = {
            node: KafkaServer(
                folder / f"node-{node}",
                config=_CONFIG,
                node=node,
                controllers=controllers,
                cluster_id=cluster_id,
                behind=self.proxies[node].port,
            )
            for node in controllers
        }
        for node, proxy in self.proxies.items():
            proxy.lead_to(self.nodes[node].port)

    @property
    def bootstrap_servers(self) -> str:
        """Where clients find it."""
        return ",".join(f"127.0.0.1:{proxy.port}" for proxy in self.proxies.values())

    def settings(self, prefix: str) -> KafkaSettings:
        """A worker's settings for it, with its topics under a name of their own."""
        return KafkaSettings(
            bootstrap_servers=self.bootstrap_servers,
            topic_prefix=prefix,
            partitions=4,
            replication=3,
            min_insync_replicas=2,
            session_timeout=6,
        )

    def start(self) -> None:
        """Start all nodes and wait until they listen; errors as `KafkaServer.start`."""
        for node in self.nodes.values():
            node.begin()
        for node in self.nodes.values():
            node.wait()

    def heal(self) -> None:
        """Start what was killed and mend what was cut."""
        for proxy in self.proxies.values():
            proxy.mend()
        dead = [node for node in self.nodes.values() if not node.running]
        for node in dead:
            node.kill()
            node.begin()
        for node in dead:
            node.wait()

    def stop(self) -> None:
        """End it all at once: nothing of it is needed any more."""
        for node in self.nodes.values():
            node.kill()
        for proxy in self.proxies.values():
            proxy.close()
