"""The faults: what is done, and how it is undone."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.faults.classifier import HANG, RAISE
from tests.faults.fleet import Fleet
from tests.faults.process import CLOCK
from tests.hook import Hook
from tests.kafka.cluster import KafkaCluster

SPARE = 2
"""The worker that comes and goes; 0 and 1 are meant to run all the time."""


@dataclass
class World:
    """What can be broken."""

    cluster: KafkaCluster
    fleet: Fleet
    hook: Hook
    control: Path
    random: Random

    def worker(self) -> int:
        """One of the workers that run."""
        return self.random.choice(self.fleet.running or [0])

    def node(self) -> int:
        """One of the brokers."""
        return self.random.choice(list(self.cluster.nodes))


Fault = Callable[[World], Callable[[], None] | None]
"""Does it; what it returns undoes it, after a few seconds."""


def kill_worker(world: World) -> None:
    """kill -9 a worker; it is started again."""
    world.fleet.signal(world.worker(), signal.SIGKILL)


def stop_worker(world: World) -> None:
    """SIGTERM a worker; it is started again."""
    world.fleet.signal(world.worker(), signal.SIGTERM)


def freeze_worker(world: World) -> None:
    """SIGSTOP a worker for longer than the session timeout: it wakes up without partitions."""
    world.fleet.freeze(world.worker(), world.random.uniform(8, 12))


def freeze_worker_briefly(world: World) -> None:
    """SIGSTOP a worker for less than the session timeout."""
    world.fleet.freeze(world.worker(), world.random.uniform(1, 4))


def add_worker(world: World) -> Callable[[], None]:
    """A third worker joins under load, and leaves again."""
    world.fleet.add(SPARE)
    return lambda: world.fleet.remove(SPARE)


def kill_broker(world: World) -> Callable[[], None] | None:
    """kill -9 a broker, which may be the active controller; it is started again."""
    if not all(node.running for node in world.cluster.nodes.values()):
        return None  # one may be missing, not two
    node = world.cluster.nodes[world.node()]
    node.kill()
    return node.begin


def freeze_broker(world: World) -> Callable[[], None] | None:
    """SIGSTOP a broker for longer than its session: its partitions' leaders move."""
    if not all(node.running for node in world.cluster.nodes.values()):
        return None
    node = world.cluster.nodes[world.node()]
    node.signal(signal.SIGSTOP)
    return lambda: node.signal(signal.SIGCONT)


def cut_network(world: World) -> Callable[[], None]:
    """Cut workers and feed off from a broker, as if a cable were pulled."""
    proxy = world.cluster.proxies[world.node()]
    proxy.cut()
    return proxy.mend


def cut_all_network(world: World) -> Callable[[], None]:
    """Cut workers and feed off from all brokers."""
    proxies = world.cluster.proxies.values()
    for proxy in proxies:
        proxy.cut()

    def mend() -> None:
        for proxy in proxies:
            proxy.mend()

    return mend


def slow_network(world: World) -> Callable[[], None]:
    """Hold up all that goes to and from a broker."""
    proxy = world.cluster.proxies[world.node()]
    proxy.delay(world.random.uniform(0.05, 0.5))
    return proxy.mend


def reset_connections(world: World) -> None:
    """Break all connections to a broker."""
    world.cluster.proxies[world.node()].reset()


def model_raises(world: World) -> None:
    """The model raises at its next call: the worker must end and lose nothing."""
    (world.control / RAISE).touch()


def model_hangs(world: World) -> Callable[[], None]:
    """The model stands still."""
    hang = world.control / HANG
    hang.touch()
    return lambda: hang.unlink(missing_ok=True)


def jump_clock(world: World) -> Callable[[], None]:
    """The workers' wall clocks jump, up to two hours either way, and back."""
    jump = world.control / CLOCK
    jump.write_text(str(world.random.uniform(-7200, 7200)))
    return lambda: jump.unlink(missing_ok=True)


def receiver_fails(world: World) -> Callable[[], None]:
    """The receiver answers with errors."""
    world.hook.status = world.random.choice((500, 503, 429))

    def mend() -> None:
        world.hook.status = 204

    return mend


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        kill_worker,
        stop_worker,
        freeze_worker,
        freeze_worker_briefly,
        add_worker,
        kill_broker,
        freeze_broker,
        cut_network,
        cut_all_network,
        slow_network,
        reset_connections,
        model_raises,
        model_hangs,
        jump_clock,
        receiver_fails,
    )
}
"""Every fault by name."""
