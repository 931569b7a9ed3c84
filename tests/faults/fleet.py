"""Workers under a supervisor, as a cluster would run them: what ends is started again."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from tests.faults.classifier import HANG
from tests.worker import WorkerProcess

RESTART_SECONDS = 0.5

STOP_PATIENCE = 60.0
"""Seconds a worker may take to end, on a machine as busy as a test makes it."""


class Fleet:
    """Workers by number, all with one settings file.

    Attributes:
        crashes: What workers said that ended by themselves with an error.
    """

    def __init__(self, config: Path) -> None:
        self._config = config
        self._wanted: set[int] = set()
        self._modules: dict[int, tuple[str, ...]] = {}
        self._workers: dict[int, WorkerProcess] = {}
        self._due: dict[int, float] = {}
        self._frozen: dict[int, float] = {}
        self.crashes: list[str] = []

    @property
    def running(self) -> list[int]:
        """Numbers of the workers that run and are not frozen."""
        return [
            number for number in self._workers if self._runs(number) and number not in self._frozen
        ]

    def worker(self, number: int) -> WorkerProcess:
        """A worker as it runs now."""
        return self._workers[number]

    def add(self, number: int, module: tuple[str, ...] = ("tests.faults.process",)) -> None:
        """Want a worker from now on: a module that is run with the settings file, and options."""
        self._modules[number] = module
        if number not in self._wanted:
            self._wanted.add(number)
            self._due[number] = 0.0

    def remove(self, number: int) -> None:
        """Want it no longer: it is asked to end (SIGTERM)."""
        self._wanted.discard(number)
        self.signal(number, signal.SIGTERM)

    def signal(self, number: int, what: signal.Signals) -> None:
        """Send a signal to a worker, if it runs."""
        if self._runs(number):
            self._workers[number].process.send_signal(what)

    def freeze(self, number: int, seconds: float) -> None:
        """Stop a worker where it stands (SIGSTOP); it goes on after so long."""
        self.signal(number, signal.SIGSTOP)
        self._frozen[number] = time.monotonic() + seconds

    def thaw(self) -> None:
        """Let all that are frozen go on."""
        for number in self._frozen:
            self.signal(number, signal.SIGCONT)
        self._frozen.clear()

    def tend(self) -> None:
        """Let go on what was frozen long enough, start what should run and does not."""
        now = time.monotonic()
        for number, until in list(self._frozen.items()):
            if now >= until:
                del self._frozen[number]
                self.signal(number, signal.SIGCONT)
        for number, worker in self._workers.items():
            code = worker.process.poll()
            if code is not None and number in self._wanted and number not in self._due:
                if code > 0:
                    self.crashes.append(worker.output[-4000:])
                self._due[number] = now + RESTART_SECONDS
        for number, due in list(self._due.items()):
            if number in self._wanted and now >= due and not self._runs(number):
                del self._due[number]
                module, *options = self._modules[number]
                command = ("-m", module, str(self._config), *options)
                self._workers[number] = WorkerProcess(self._config, command)

    def _runs(self, number: int) -> bool:
        """Whether a worker's process is there, though it may be about to end."""
        worker = self._workers.get(number)
        return worker is not None and worker.process.poll() is None

    def undelivered(self) -> float:
        """Notifications that wait for a receiver, at all workers that run."""
        return sum(
            self.worker(number).metric("gapwatch_notifications_waiting") for number in self.running
        )

    def stop(self) -> list[int | None]:
        """Ask all to end and wait; returns their exit codes, None for one that does not end."""
        self._wanted.clear()
        self.thaw()
        (self._config.parent / HANG).unlink(missing_ok=True)
        for number in self._workers:
            self.signal(number, signal.SIGTERM)
        return [_ended(worker) for worker in self._workers.values()]

    def kill(self) -> None:
        """End all at once."""
        for worker in self._workers.values():
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()

    def output(self) -> str:
        """The last words of each."""
        return "\n".join(
            f"--- worker {number}\n{worker.output[-3000:]}"
            for number, worker in self._workers.items()
        )


def _ended(worker: WorkerProcess) -> int | None:
    try:
        return worker.process.wait(STOP_PATIENCE)
    except subprocess.TimeoutExpired:
        return None
