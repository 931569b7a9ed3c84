"""Looks at what the product stands on: licences it may have, and weaknesses that are known of it.

`python -m deploy.audit` looks at the packages that are installed of those that pyproject.toml asks
for, and at what they ask for in turn. Licences are looked up offline. Known weaknesses are asked
for at OSV (https://osv.dev) by pip-audit; where that cannot be reached, that is said and is no
failure, as a gate must not depend on it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYPROJECT: Final = Path(__file__).parents[1] / "pyproject.toml"

EXTRAS: Final = ("apprise", "embedded", "plot", "torch")
"""Those that are run, as far as they are installed; not those for developing."""

OSV: Final = "https://api.osv.dev/v1/query"
REACH_SECONDS: Final = 3.0
AUDIT_SECONDS: Final = 120.0

ALLOWED: Final = frozenset(
    {
        "0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause",
        "BSD-3-Clause-Modification", "BSL-1.0", "CC0-1.0", "HPND", "ISC", "MIT", "MIT-0", "MIT-CMU",
        "MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib",
    }
)  # fmt: skip
"""Licences (SPDX) that let the product be used and passed on under Apache-2.0. MPL-2.0 asks for the
source of its own files only."""

_SPDX: Final[Mapping[str, str]] = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "Repoze Public License": "BSD-3-Clause-Modification",
    "The Unlicense (Unlicense)": "Unlicense",
}
"""What packages call them that do not use SPDX's names."""


def packages(pyproject: Path = PYPROJECT) -> dict[str, Distribution]:
    """The installed packages that the product runs on, by name."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    waiting = [Requirement(each) for each in project["dependencies"]]
    for extra in EXTRAS:
        waiting += [Requirement(each) for each in project["optional-dependencies"][extra]]
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        name, extras = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if (name, extras) in seen or (wanted.marker and not wanted.marker.evaluate()):
            continue
        seen.add((name, extras))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        for given in found[name].requires or ():
            needed = Requirement(given)
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            ):
                needed.marker = None
                waiting.append(needed)
    return dict(sorted(found.items()))


def licence(package: Distribution) -> frozenset[str]:
    """The licences a package may be used under, in SPDX's names as far as they are known."""
    given: Any = package.metadata
    classifiers = [
        each.rpartition(" :: ")[2]
        for each in given.get_all("Classifier") or ()
        if each.startswith("License :: ") and each != "License :: OSI Approved"
    ]
    stated = given.get("License-Expression")
    if not stated and classifiers:
        return frozenset(_SPDX.get(each, each) for each in classifiers)
    stated = stated or (given.get("License") or "none stated").strip().splitlines()[0]
    if stated in _SPDX:
        return frozenset({_SPDX[stated]})
    # Each must be allowed, of those that hold together and of alternatives alike.
    return frozenset(re.split(r"\s+(?:AND|OR|WITH)\s+", re.sub(r"[()]", "", stated)))


def forbidden(found: Iterable[Distribution]) -> list[str]:
    """What is wrong with the packages' licences, a line a package."""
    return [
        f"{package.name} {package.version}: licence {', '.join(sorted(others))} is not among those "
        "allowed (deploy/audit.py)"
        for package in found
        if (others := licence(package) - ALLOWED)
    ]


def weaknesses(found: Iterable[Distribution], *, url: str = OSV) -> list[str] | None:
    """What is known to be wrong with the packages; None where it cannot be asked for."""
    try:
        urllib.request.urlopen(url, timeout=REACH_SECONDS)  # noqa: S310 (our own address)
    except urllib.error.HTTPError:
        pass  # it answers; a query is another thing
    except OSError:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.writelines(f"{package.name}=={package.version}\n" for package in found)
        listed.flush()
        command = [sys.executable, "-m", "pip_audit", "--requirement", listed.name]
        command += ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
        command += ["--vulnerability-service", "osv", "--osv-url", url]
        try:
            done = subprocess.run(  # noqa: S603
                command, capture_output=True, text=True, timeout=AUDIT_SECONDS, check=False
            )
            answer = json.loads(done.stdout)
        except (subprocess.TimeoutExpired, ValueError):
            return None
    return [
        f"{each['name']} {each['version']}: {weak['id']}, mended in "
        f"{', '.join(weak['fix_versions']) or 'no version yet'}"
        for each in answer["dependencies"]
        for weak in each.get("vulns", ())
    ]


def main() -> int:
    """Say what was found; the exit code is 1 where there is something to mend."""
    found = packages().values()
    problems = forbidden(found)
    known = weaknesses(found)
    if known is None:
        print(
            f"{OSV} cannot be asked for known weaknesses of {len(found)} packages: not looked at",
            file=sys.stderr,
        )
    for line in (problems := [*problems, *(known or ())]):
        print(line, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
