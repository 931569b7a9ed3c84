"""Builds the site of docs/: strictly, so that what leads nowhere fails, and for reading offline.

`python -m docs.site` writes it to build/site/html. Pages are legible as they stand in the
repository too, where they may link to files outside docs/; of those the site has copies.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
CONFIG: Final = ROOT / "zensical.toml"

OUTSIDE: Final = "repository"
"""Folder of the site for files that pages link to outside docs/."""

_ASSETS: Final = {".md", ".png", ".svg", ".json", ".css", ".js"}
_LOOPBACK: Final = ("127.0.0.1", "localhost")
_LINK: Final = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)")


class SiteError(Exception):
    """The site cannot be built; the message is what the builder said."""


def build(folder: Path) -> Path:
    """Build the site in a folder, of which nothing else is kept; returns where its pages are.

    Raises:
        SiteError: A link or an anchor leads nowhere, or a page cannot be rendered.
    """
    shutil.rmtree(folder, ignore_errors=True)
    pages = folder / "pages"
    for path in sorted(DOCS.rglob("*")):
        if path.suffix in _ASSETS:
            _copy(path, pages / path.relative_to(DOCS), pages)
    shutil.copy(CONFIG, folder / CONFIG.name)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(  # noqa: S603
        command,
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0 or "Warning" in done.stdout:
        raise SiteError(done.stdout.partition("Traceback")[0])
    html = folder / "html"
    if wrong := sorted(_wrong_links(html)):
        raise SiteError("\n".join(wrong))
    return html


class _Page(HTMLParser):
    """What a page links to and loads, and what in it can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """As `HTMLParser` asks."""
        for name, value in attrs:
            if value is None:
                continue
            if name == "id":
                self.ids.add(value)
            elif name == "href" and tag == "a":
                self.links.append(value)
            elif name == "src" or (name == "href" and tag == "link"):
                self.loads.append(value)


def _wrong_links(html: Path) -> Iterator[str]:
    """What leads nowhere, is not https, or would be fetched from elsewhere when a page is read."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in html.rglob("*.html")}
    for path, page in pages.items():
        if path.name == "404.html":  # its addresses are those of a server
            continue
        where = path.relative_to(html)
        for address in (*page.links, *page.loads):
            parts = urlsplit(address)
            if parts.scheme in ("data", "mailto"):
                continue
            if parts.scheme or parts.netloc:
                if address in page.loads:
                    yield f"{where}: {address} is loaded from elsewhere"
                elif parts.scheme != "https" and parts.hostname not in _LOOPBACK:
                    yield f"{where}: {address} is not https"
                elif not parts.hostname:
                    yield f"{where}: {address} is no address"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                yield f"{where}: {address} leads nowhere"
            elif parts.fragment and target in pages:
                fragment = unquote(parts.fragment)
                if fragment not in pages[target].ids:
                    yield f"{where}: nothing in {parts.path or where} is called {fragment}"


def _copy(source: Path, target: Path, pages: Path) -> None:
    """Copy a page or asset, and what it links to outside docs/."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix != ".md":
        shutil.copy(source, target)
        return

    def led(match: re.Match[str]) -> str:
        linked = (source.parent / match[1]).resolve()
        if not linked.exists() or not linked.is_relative_to(ROOT):
            return match[1]
        if linked.is_relative_to(DOCS):
            place = pages / linked.relative_to(DOCS)
        else:
            place = pages / OUTSIDE / linked.relative_to(ROOT)
            if linked.is_file():
                _copy(linked, place, pages)
        return Path(os.path.relpath(place, target.parent)).as_posix()

    text = source.read_text(encoding="utf-8")
    target.write_text("", encoding="utf-8")  # taken: pages may link to each other
    target.write_text(_LINK.sub(led, text), encoding="utf-8")


if __name__ == "__main__":
    try:
        print(build(ROOT / "build" / "site"))
    except SiteError as error:
        sys.exit(str(error))
