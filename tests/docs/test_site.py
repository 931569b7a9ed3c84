"""The site builds: every link and anchor leads somewhere, and nothing comes from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

from docs.blocks import DOCS, blocks, pages, read, without_blocks
from docs.generate import generated
from docs.site import SiteError, build
from tests.e2e.site import CHROMIUM, REQUIRED, launch

GENERATED = generated()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("site"))


def test_it_builds_with_every_page(site: Path) -> None:
    for page in pages():
        assert (site / page).with_suffix(".html").is_file()
    assert (site / "search.js").is_file(), "search without a server"


def test_every_page_is_in_the_navigation() -> None:
    found = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert found == set(pages())


@pytest.mark.skipif(not (CHROMIUM or REQUIRED), reason="no chromium")
def test_a_page_opened_from_the_folder_is_searched_and_fetches_nothing(site: Path) -> None:
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "index.html").as_uri())
        page.keyboard.press("Control+k")
        page.get_by_role("combobox").or_(page.get_by_placeholder("Search")).fill("budget")
        expect(page.get_by_text("Tune the alert budget by backtest").first).to_be_visible()
        browser.close()
    assert asked
    assert [url for url in asked if not url.startswith(site.as_uri())] == []


LEADING_NOWHERE = {
    "[nowhere](nowhere.md)": "page does not exist",
    "[nothing](index.md#nothing)": "anchor does not exist",
}
NOT_TO_BE_READ_OFFLINE = {
    "![no picture](images/none.png)": "images/none.png leads nowhere",
    "[in the clear](http://example.com/)": "http://example.com/ is not https",
    "![elsewhere](https://example.com/a.png)": "https://example.com/a.png is loaded from elsewhere",
}


@pytest.mark.parametrize("wrong", [LEADING_NOWHERE, NOT_TO_BE_READ_OFFLINE], ids=["links", "loads"])
def test_what_is_wrong_fails_the_build(
    wrong: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "index.md").write_text("\n\n".join(["# A page", *wrong]), encoding="utf-8")
    config = tmp_path / "zensical.toml"
    config.write_text(
        '[project]\nsite_name = "Test"\ndocs_dir = "pages"\nsite_dir = "html"\n'
        'use_directory_urls = false\nnav = [{ "Home" = "index.md" }]\n'
        "[project.theme]\nfont = false\n"
    )
    monkeypatch.setattr("docs.site.DOCS", folder)
    monkeypatch.setattr("docs.site.CONFIG", config)
    with pytest.raises(SiteError) as told:
        build(tmp_path / "built")
    for trouble in wrong.values():
        assert trouble in str(told.value)


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: str(path.relative_to(DOCS)))
def test_what_is_generated_is_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == GENERATED[path], "run `make docs`"


@pytest.mark.parametrize("page", pages())
def test_a_page_has_one_title_and_its_blocks_a_language(page: str) -> None:
    text = without_blocks(read(page))
    assert len(re.findall(r"^# ", text, re.M)) == 1
    assert text.startswith("# ")
    for place in re.findall(r"https?://[^\s)>`\"]+", text):
        assert urlsplit(place).hostname
    assert "  \n" not in text, "a break that nobody sees"
    assert all(block.language or "receivers" in page for block in blocks(page, read(page))) or (
        page in ("classifier.md", "architecture.md")
    )
