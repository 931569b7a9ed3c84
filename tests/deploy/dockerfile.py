"""A Dockerfile's instructions, and carrying them out in a folder where no Docker is."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.deploy.tools import ROOT, run

DOCKERFILE: Final = ROOT / "deploy" / "Dockerfile"


@dataclass(slots=True)
class Stage:
    """A stage and its instructions, in order; those of the stage it is made from are not in it."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        """What stands behind each instruction of a kind."""
        return [value for name, value in self.instructions if name == instruction]

    def command(self, instruction: str) -> list[str]:
        """An instruction in JSON form."""
        words: list[str] = json.loads(self.all(instruction)[-1])
        return words

    @property
    def environment(self) -> dict[str, str]:
        """What ENV sets."""
        return dict(
            re.findall(r"(\w+)=(\S+)", " ".join(self.all("ENV"))),
        )


def stages() -> dict[str, Stage]:
    """The stages of the Dockerfile by name."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        instruction, _, value = line.strip().partition(" ")
        if instruction == "FROM":
            base, _, name = value.partition(" AS ")
            stage = found[name] = Stage(name, base)
        elif stage is not None and instruction:
            stage.instructions.append((instruction, value.strip()))
    return found


class Scratch:
    """A folder that stands for a container's root as far as a stage writes: /src and /opt."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.workdir = root
        self.environment: dict[str, str] = {}

    def path(self, text: str) -> str:
        """Text with the container's paths made those of the folder."""
        return re.sub(r"(?<![\w.])/(opt|src)\b", lambda match: f"{self.root}/{match[1]}", text)

    def build(self, stage: Stage) -> None:
        """Carry a stage's instructions out."""
        for instruction, value in stage.instructions:
            match instruction:
                case "WORKDIR":
                    self.workdir = Path(self.path(value))
                    self.workdir.mkdir(parents=True)
                case "ENV":
                    self.environment |= stage.environment
                case "COPY":
                    *sources, target = value.split()
                    for source in sources:
                        self._copy(source, self.workdir / target)
                case "RUN":
                    self._run(re.sub(r"^--mount=\S+\s+", "", value))
                case "SHELL":
                    pass  # _run's own
                case _:
                    raise AssertionError(f"do not know {instruction}")

    def _run(self, script: str) -> None:
        outside = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "VIRTUAL_ENV", "PIP_REQUIRE_VIRTUALENV")
        }
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        run(
            ["/bin/bash", "-euo", "pipefail", "-c", self.path(script)],
            cwd=self.workdir,
            env={**outside, "PATH": path, **self.environment},
        )

    def _copy(self, source: str, target: Path) -> None:
        """Copy what .dockerignore leaves of a file or folder of the repository."""
        ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8")
        kept = {line[1:] for line in ignore.splitlines() if line.startswith("!")}
        assert source in kept, f"{source} is not let through by .dockerignore"
        dropped = [line.removeprefix("**/") for line in ignore.splitlines() if line[:3] == "**/"]
        origin = ROOT / source
        if origin.is_dir():
            shutil.copytree(
                origin,
                target,
                ignore=lambda _, names: {
                    name for name in names for p in dropped if fnmatch.fnmatch(name, p)
                },
            )
        else:
            shutil.copy(origin, target)
