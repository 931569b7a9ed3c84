"""What the product stands on may be used, and known weaknesses of it fail the gate."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import Distribution, distribution
from os import PathLike

import pytest

from deploy.audit import forbidden, licence, packages, weaknesses
from pipeline.broker.ports import free_port

WEAKNESS = {
    "id": "GHSA-0000-0000-0000",
    "aliases": [],
    "summary": "It is weak.",
    "modified": "2026-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"name": "click", "ecosystem": "PyPI"},
            "ranges": [
                {
                    "type": "ECOSYSTEM",
                    "events": [{"introduced": "0"}, {"fixed": "999.0"}],
                }
            ],
        }
    ],
}


class Stated(Distribution):
    """A package that states this of its licence."""

    def __init__(self, *lines: str) -> None:
        self._lines = lines

    def read_text(self, filename: str) -> str | None:
        head = ("Metadata-Version: 2.4", "Name: a", "Version: 1")
        return "\n".join((*head, *self._lines)) if filename == "METADATA" else None

    def locate_file(self, path: str | PathLike[str]) -> PathLike[str]:
        raise NotImplementedError


@pytest.fixture
def osv() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A service that knows the weaknesses in the list, of whatever it is asked about."""
    known: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(405)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"vulns": known} if known else {}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output to itself."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1/query", known
    server.shutdown()
    server.server_close()
    thread.join()


def test_all_that_is_installed_of_what_the_product_asks_for_is_looked_at() -> None:
    found = packages()
    assert {"faust-streaming", "aiokafka", "msgspec", "numpy"} <= found.keys()
    assert "mode-streaming" in found  # which only faust-streaming asks for
    assert "pytest" not in found


def test_every_licence_is_one_of_those_allowed() -> None:
    assert forbidden(packages().values()) == []


@pytest.mark.parametrize(
    ("stated", "known"),
    [
        ("License-Expression: MIT AND (ISC OR Zlib)", {"MIT", "ISC", "Zlib"}),
        ("Classifier: License :: OSI Approved :: MIT License", {"MIT"}),
        ("License: BSD-3-Clause", {"BSD-3-Clause"}),
        ("License: GPL-3.0", {"GPL-3.0"}),
        ("Summary: none", {"none stated"}),
    ],
)
def test_a_licence_is_found_wherever_it_is_stated(stated: str, known: set[str]) -> None:
    assert licence(Stated(stated)) == known


def test_a_licence_that_is_not_allowed_is_named() -> None:
    assert forbidden([Stated("License: GPL-3.0")]) == [
        "a 1: licence GPL-3.0 is not among those allowed (deploy/audit.py)"
    ]


def test_a_known_weakness_is_told_with_what_mends_it(
    osv: tuple[str, list[dict[str, object]]],
) -> None:
    url, known = osv
    click = distribution("click")
    assert weaknesses([click], url=url) == []
    known.append(WEAKNESS)
    (told,) = weaknesses([click], url=url) or [""]
    assert told == f"click {click.version}: GHSA-0000-0000-0000, mended in 999.0"


def test_a_service_that_is_away_is_no_failure() -> None:
    assert weaknesses([distribution("click")], url=f"http://127.0.0.1:{free_port()}") is None
