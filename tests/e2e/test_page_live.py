"""A day on call: a worker at its work, and somebody at the pages."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright

from pipeline.broker.ports import free_port
from pipeline.sample import sample_brands_path, sample_day
from pipeline.sample.incidents import incidents
from pipeline.settings import KafkaSettings
from tests.e2e.site import CHROMIUM, REQUIRED, Visit, launch
from tests.hook import Hook
from tests.worker import WorkerProcess, as_lines, gapwatch, wait_until, write_config

pytestmark = pytest.mark.skipif(
    not CHROMIUM and not REQUIRED,
    reason="no chromium here: install it, or see the page's tests run in continuous integration",
)


def test_from_the_message_to_the_answer_and_through_a_restart(
    tmp_path: Path, embedded_settings: KafkaSettings
) -> None:
    # Larkbasket's incident began an hour ago.
    now = datetime.now(UTC)
    onset = next(each.onset for each in incidents(now) if each.brand == "larkbasket")
    end = now + (now - onset) - timedelta(hours=1)
    events = [
        event
        for event in sample_day(end=end, events=6000)
        if datetime.fromisoformat(event["published"]) < now
    ]
    received: list[dict[str, Any]] = []
    port = free_port()
    with Hook(received) as hook, sync_playwright() as playwright:
        config = write_config(
            tmp_path,
            embedded_settings,
            brands_file=str(sample_brands_path()),
            receivers=[hook.receiver],
            alerts={"page_url": f"http://127.0.0.1:{port}/"},
            web={"port": port},
        )
        browser = launch(playwright)
        with WorkerProcess(config) as worker, Visit(browser, worker.ready().url) as visit:
            page = visit.open()
            assert gapwatch(config, "send", "-", stdin=as_lines(events)).returncode == 0
            worker.handled(len(events))
            expect(page.locator(".alert", has_text="Larkbasket")).to_be_visible()
            expect(page.locator("#feed li")).not_to_have_count(0)
            visit.picture("overview-live")

            # The message leads to the alert; there it is taken on.
            message = wait_until(lambda: open_of_larkbasket(received), "the message to come")
            page.goto(message["links"]["page"])
            expect(page.locator("h1")).to_contain_text("Larkbasket: ")
            expect(page.locator("#timeline")).to_contain_text(re.compile("Fired: told to"))
            page.get_by_label("Your name").fill("Kim")
            page.get_by_label("Comment").fill("lorry on its way")
            page.get_by_role("button", name="Take it on").click()
            expect(page.locator("#kept")).to_contain_text("Taken on by Kim.")
            page.get_by_role("button", name="Snooze this alert").click()
            expect(page.locator("#silences")).to_contain_text("This alert")
            told = gapwatch(config, "alerts", "--json").stdout.decode()
            wait_until(
                lambda: (
                    '"acknowledged":"Kim"'
                    in gapwatch(config, "alerts", "--json").stdout.decode().replace(" ", "")
                ),
                f"the command line to tell who has it: {told}",
            )

            # The brand's page has its day.
            page.get_by_role("link", name="Larkbasket").first.click()
            expect(page.locator("#gaps .multiple")).to_have_count(7)
            page.get_by_role("radio", name="24 h").check()
            plot = page.locator("#score-chart .plot")
            expect(plot).to_have_attribute("aria-valuemax", re.compile(r"^[12]\d$"))
            visit.picture("brand-live")
            page.get_by_role("link", name=re.compile("^(Product|Delivery)")).first.click()
            expect(page.locator("#timeline")).to_contain_text("lorry on its way")
            assert worker.stop() == 0
            expect(page.locator("#notice")).to_contain_text("does not answer")

            # The page finds the worker again by itself, and all that was is there.
            with WorkerProcess(config) as again:
                again.ready()
                expect(page.locator("#link")).to_have_text("Live", timeout=30_000)
                expect(page.locator("#notice")).to_be_hidden()
                page.goto(f"{again.url}/brands/larkbasket")
                expect(plot).to_have_attribute("aria-valuemax", re.compile(r"^[12]\d$"))
                page.goto(message["links"]["page"])
                expect(page.locator("#timeline")).to_contain_text("lorry on its way")
                expect(page.locator("#timeline")).to_contain_text("told to")
                visit.picture("alert-live")
        browser.close()


def open_of_larkbasket(received: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The last message about Larkbasket, unless it says that all is over."""
    messages = [each for each in received if each["alert"]["brand"] == "larkbasket"]
    return messages[-1] if messages and messages[-1]["alert"]["status"] != "resolved" else None
