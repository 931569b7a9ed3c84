"""Server processes that end with the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

_LAUNCHER: Final = """
import ctypes, os, signal, sys
parent, *command = sys.argv[1:]
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() != int(parent):
    sys.exit("the process that started this one is gone")
os.execv(command[0], command)
"""
"""Asks the kernel (Linux) to end the process when its starter ends, then becomes the server.

A program of its own rather than a `preexec_fn`: running Python between fork and exec can deadlock
where other threads hold locks, and a worker has many.
"""

_TAIL: Final = 4096
"""Bytes of output shown when a server dies."""


class Child:
    """A server process in its own process group, so that a terminal's Ctrl-C does not reach it.

    On Linux it is killed when the *thread* that started it ends, however it ends: start it from
    the main thread or one that lives as long. Elsewhere it outlives a starter that is killed.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path = "/",
    ) -> None:
        """Start it. `command[0]` must be an absolute path.

        Raises:
            OSError: It cannot be started.
        """
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `stop`)
        try:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                process_group=0,
            )
        except BaseException:
            self._output.close()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def output(self) -> str:
        """The last lines it wrote, at most 4 KB."""
        size = os.fstat(self._output.fileno()).st_size
        tail = os.pread(self._output.fileno(), _TAIL, max(0, size - _TAIL))
        return tail.decode("utf-8", "replace").strip()

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL)."""
        self._process.kill()
        self._process.wait()
        self._output.close()

    def stop(self, patience: float) -> None:
        """Ask it to end (SIGTERM), wait `patience` seconds, then end it (SIGKILL)."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            self._output.close()
