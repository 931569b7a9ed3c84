"""Signing in and out in a real browser, under the policy that the server sends."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

pytest.importorskip("playwright", reason="the browser is driven by playwright")

from playwright.sync_api import Browser, expect

from tests.e2e.site import CHROMIUM, REQUIRED, Site, Visit

pytestmark = pytest.mark.skipif(
    not CHROMIUM and not REQUIRED,
    reason="no chromium here: install it, or see the page's tests run in continuous integration",
)

TOKEN = "page-token-of-some-length"


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(token=TOKEN) as site:
        yield site


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Visit]:
    with Visit(browser, site.url) as visit:
        yield visit


def sign_in(visit: Visit, token: str = TOKEN) -> None:
    visit.page.get_by_label("Token").fill(token)
    visit.page.get_by_role("button", name="Sign in").click()


def test_one_signs_in_is_led_where_one_wanted_to_go_and_signs_out(visit: Visit) -> None:
    page = visit.page
    page.goto(f"{visit.url}/rivals")
    expect(page.get_by_label("Token")).to_be_focused()
    assert visit.obstacles() == []
    sign_in(visit, "not-the-token-at-all")
    expect(page.get_by_role("alert")).to_have_text("This is not the token.")
    sign_in(visit)
    expect(page).to_have_url(f"{visit.url}/rivals")
    page.locator("#link", has_text="Live").wait_for()  # the stream is let in too
    (cookie,) = visit.context.cookies()
    assert cookie["httpOnly"] is True
    assert cookie["sameSite"] == "Strict"
    page.goto(f"{visit.url}/login")
    assert visit.obstacles() == []
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    page.goto(visit.url)
    expect(page.get_by_label("Token")).to_be_visible()
    complaints = [words for words in visit.complaints if "401" not in words and "403" not in words]
    assert complaints == []


class Elsewhere(BaseHTTPRequestHandler):
    """A page of another site, with a link and a form that lead to ours."""

    ours = ""

    def do_GET(self) -> None:
        page = (
            f'<a href="{self.ours}/rivals">alert</a>'
            f'<form method="post" action="{self.ours}/logout"><button>Win</button></form>'
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def elsewhere(site: Site) -> Iterator[str]:
    Elsewhere.ours = site.url
    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://elsewhere.localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_link_from_a_chat_leads_in_and_another_sites_form_does_nothing(
    visit: Visit, elsewhere: str
) -> None:
    page = visit.page
    page.goto(f"{visit.url}/login")
    sign_in(visit)
    page.locator("#link", has_text="Live").wait_for()
    page.goto(elsewhere)
    page.get_by_role("link", name="alert").click()
    expect(page).to_have_url(f"{visit.url}/rivals")
    page.goto(elsewhere)
    with page.expect_response(f"{visit.url}/logout") as answered:
        page.get_by_role("button", name="Win").click()
    assert answered.value.status == 403
    page.goto(visit.url)
    page.locator("#link", has_text="Live").wait_for()  # signed in still
