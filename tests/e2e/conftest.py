"""What tests of the pages share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.e2e.site import launch


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser, ended with the module: no test after it runs inside Playwright's event loop."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()
