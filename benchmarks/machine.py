"""The machine, and what the kernel says of a process on it (Linux)."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Self

_PACKAGES: Final = (
    "faust-streaming", "aiokafka", "msgspec", "uvloop", "onnxruntime", "tokenizers", "torch",
    "transformers",
)  # fmt: skip

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU time of a process, all its threads, in seconds; in steps of 10 ms as a rule."""

    user: float
    system: float

    @classmethod
    def of(cls, pid: int) -> Self:
        """What process `pid` has used so far."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return cls(int(fields[11]) / _TICKS, int(fields[12]) / _TICKS)

    @property
    def total(self) -> float:
        """User and system time."""
        return self.user + self.system

    def __sub__(self, other: Cpu) -> Cpu:
        return Cpu(self.user - other.user, self.system - other.system)

    def __mul__(self, factor: float) -> Cpu:
        return Cpu(self.user * factor, self.system * factor)


def busy_seconds() -> float:
    """CPU time all processes of the machine have used so far, all cores together."""
    fields = Path("/proc/stat").read_text().partition("\n")[0].split()
    user, nice, system, _idle, _waiting, irq, softirq, steal = map(int, fields[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS


def peak_megabytes(pid: int) -> float:
    """The most memory process `pid` has held at once (resident, 10^6 bytes)."""
    return _memory(pid, "VmHWM")


def megabytes(pid: int) -> float:
    """The memory process `pid` holds now (resident, 10^6 bytes)."""
    return _memory(pid, "VmRSS")


def _memory(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"the kernel does not tell the memory of process {pid}")


def machine() -> dict[str, str]:
    """CPU, cores, memory, load at the start, Python and the versions that matter."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    facts = {
        "cpu": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / 1e9:.0f} GB",
        "load": f"{os.getloadavg()[0]:.1f} when this began",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
