"""Whoever follows the pages: one folder, some terminals, the commands typed as they stand."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from docs.blocks import Block, blocks, read
from pipeline.broker.ports import free_port
from tests.kafka.security import Security

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 90.0
"""Seconds until what is waited for must be there; only a failure takes so long."""

COMPILING: Final = 240.0
"""Seconds a command may take: one compiles."""


class DocumentedError(AssertionError):
    """A page says what is not so; names page, line and command."""


class Running:
    """A command in a terminal of its own."""

    def __init__(self, command: str, folder: Path, env: dict[str, str], log: Path) -> None:
        self.command = command
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """Everything it has written."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, lines: list[str], block: Block) -> None:
        """Wait until it has written lines like these."""
        deadline = time.monotonic() + PATIENCE
        while missing := not_shown(lines, self.output):
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise DocumentedError(
                    f"{block.place}: {self.command!r} {'ended' if ended else 'goes on'} without "
                    f"{missing!r}; it wrote:\n{self.output}"
                )
            time.sleep(0.05)

    def stop(self) -> None:
        """Ctrl-C."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                raise


class Terminal:
    """A folder and what runs in it. Ports are the test's own; all else is as on the pages."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._logs = folder / "logs"
        self._logs.mkdir()
        bin_ = folder / "bin"
        bin_.mkdir()
        for name, command in (("gapwatch", "-m pipeline"), ("python", "")):
            (bin_ / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
            (bin_ / name).chmod(0o755)
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # So it is in what a shell starts in the background, and so it would be in the pages'.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.here = folder / "home"
        self.here.mkdir()
        ports = {name: str(free_port()) for name in ("9092", "9000", "8600")}
        self.replaced: dict[str, str] = {
            "gapwatch broker": f"gapwatch broker --port {ports['9092']}",
            "gapwatch demo": "gapwatch demo --port 0",
        } | {f":{port}": f":{own}" for port, own in ports.items()}
        self.replaced['("127.0.0.1", 9000)'] = f'("127.0.0.1", {ports["9000"]})'
        self.offers = {"go"} if shutil.which("go") else set()
        self.env = {
            **_go(),
            "HOME": str(folder),
            "USER": "you",
            "LANG": "C.UTF-8",
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "GAPWATCH_WEB__PORT": ports["8600"],
        }
        self._running: list[Running] = []

    def connect(self, security: Security) -> None:
        """Have the Kafka that the pages tell of; this one is a single node."""
        self.offers.add("kafka")
        self.replaced |= {
            "\nreplication = 3": "\nreplication = 1",
            "\nmin_insync_replicas = 2": "\nmin_insync_replicas = 1",
        }
        self.replaced["kafka-1.example.com:9093"] = f"127.0.0.1:{security.ports['SECURE']}"
        secrets = self.here / "secrets"
        secrets.mkdir(exist_ok=True)
        (secrets / "kafka").write_text(security.users["gapwatch"])
        shutil.copy(security.cafile, secrets / "kafka-ca.pem")

    def follow(self, page: str) -> None:
        """Do all that a page says.

        Raises:
            DocumentedError: Something does not come out as the page says.
        """
        for block in blocks(page, read(page)):
            needs = block.directives.get("needs")
            if "not run" in block.directives or (needs and needs not in self.offers):
                continue
            if block.title is not None:
                (self.here / block.title).write_text(self._own(block.text), encoding="utf-8")
            elif "shown by" in block.directives:
                command = self._own(block.directives["shown by"])
                running = next(each for each in self._running if each.command == command)
                running.wait_for(block.text.splitlines(), block)
            else:
                for command, shown in block.commands:
                    self._do(block, self._own(command), [self._own(line) for line in shown])

    def close(self) -> None:
        """Ctrl-C in every terminal, the last one first."""
        while self._running:
            self._running.pop().stop()

    def _own(self, text: str) -> str:
        for theirs, ours in self.replaced.items():
            text = text.replace(theirs, ours)
        return text

    def _do(self, block: Block, command: str, shown: list[str]) -> None:
        says = block.directives
        if ready := says.get("stays") or says.get("ends"):
            log = self._logs / f"{block.page.replace('/', '-')}.{block.line}.log"
            running = Running(command, self.here, self.env, log)
            self._running.append(running)
            running.wait_for([f"…{ready}…", *shown], block)
            if "ends" in says:
                self._running.pop().stop()
            return
        if "until" in says:
            shown = [*shown, f"…{says['until']}…"]
        deadline = time.monotonic() + PATIENCE
        while True:
            code, output = self._run(command)
            missing = not_shown(shown, output)
            if code == 0 and not missing:
                return
            if "until" not in says or time.monotonic() > deadline:
                wrong = f"exit code {code}" if code else f"no {missing!r}"
                raise DocumentedError(f"{block.place}: {command!r}: {wrong}\n{output}")
            time.sleep(0.2)

    def _run(self, script: str) -> tuple[int, str]:
        where = self._logs / "folder"
        done = subprocess.run(
            ["bash", "-ec", f'{script}\npwd > "{where}"'],
            cwd=self.here,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMPILING,
            check=False,
        )
        if done.returncode == 0:
            self.here = Path(where.read_text().strip())
        return done.returncode, done.stdout.decode("utf-8", "replace")


def _go() -> dict[str, str]:
    """Where Go keeps what it has fetched and built, which follows from the real home folder."""
    if shutil.which("go") is None:
        return {}
    names = ["GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS", "GOSUMDB"]
    told = subprocess.run(["go", "env", *names], capture_output=True, text=True, check=True)
    return dict(zip(names, told.stdout.splitlines(), strict=True))


def not_shown(lines: list[str], output: str) -> str | None:
    """The first of `lines` that the output has not; figures may differ, and `…` is anything."""
    for line in lines:
        if line.strip() and not _pattern(line.strip()).search(output):
            return line
    return None


def _pattern(line: str) -> re.Pattern[str]:
    parts = []
    for part in re.split(r"(\d[\d.,:]*|…|\s+)", line):
        if part == "…":
            parts.append(".*")
        elif part.isspace():
            parts.append(r"[ \t]+")
        else:
            parts.append(r"\d[\d.,:]*" if part[:1].isdigit() else re.escape(part))
    return re.compile("".join(parts).removeprefix(".*").removesuffix(".*"))
