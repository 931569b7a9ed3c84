"""The pages in a real browser: what they show, how they follow, what is done on them, and that
posts stay text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import msgspec
import pytest
from playwright.sync_api import Browser, Page, expect

from models.labels import neutral_labels
from pipeline.domain.deliveries import Delivery, Done
from pipeline.producer import ProduceError
from pipeline.records import Acknowledgement, Post, Silence, Term
from tests.e2e.site import (
    ALERT,
    CHROMIUM,
    NAMES,
    NOON,
    REQUIRED,
    Site,
    Visit,
    alert,
    at,
    busy_week,
    mention,
    score,
)

pytestmark = pytest.mark.skipif(
    not CHROMIUM and not REQUIRED,
    reason="no chromium here: install it, or see the page's tests run in continuous integration",
)

MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
REVERSED = "\u202egnihton\u202c \u202etes reven"
SCRIPT_URL = "javascript:document.title='owned'"
BAD_NAME = "<b onmouseover=alert(1)>Lark&amp;foot</b>"

PAGES = {
    "overview": "/",
    "brand": "/brands/larkbasket",
    "alert": f"/alerts/{ALERT}",
    "rivals": "/rivals",
}


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Visit]:
    with Visit(browser, site.url) as visit:
        yield visit


@pytest.fixture
def busy(site: Site) -> Site:
    site.tell(lambda: busy_week(site.view))
    return site


def shows(page: Page, selector: str, *words: str) -> None:
    """Wait until a part of the page says all of this."""
    for said in words:
        expect(page.locator(selector).first).to_contain_text(said)


# Hostile text


HOSTILE = (
    Post("p1", "@nell", MARKUP, NOON, 12, SCRIPT_URL),
    Post("p2", REVERSED, "Day nine.", NOON, 0, 'https://social.example/p/2?q="><img>'),
    Post("p3", "q", "Look.", NOON, 0, "https://bank.example@evil.example/"),
)


@pytest.mark.parametrize("path", ["/", "/brands/larkbasket", "/alerts/a1", "/rivals"])
def test_posts_and_names_stay_text(visit: Visit, site: Site, path: str) -> None:
    def fill() -> None:
        names = {"larkbasket": {"name": BAD_NAME, "rivals": ["larkbasket"]}}
        site.view.on_status({"brands": names, "model": MARKUP})
        site.view.on_score(score())
        terms = (Term(MARKUP, 9, 4.0),)
        site.view.on_alert(
            alert(id="a1", brand_name=BAD_NAME, posts=HOSTILE, terms=terms, acknowledged=MARKUP)
        )
        site.orders.hear_acknowledgement(Acknowledgement("a1", MARKUP, NOON, MARKUP))
        site.orders.hear_silence(
            Silence("s1", NOON, NOON + timedelta(hours=1), MARKUP, MARKUP, alert="a1")
        )
        site.view.on_delivery(Delivery(alert="a1", done=[Done(MARKUP, "a1.firing", at(0))]))
        site.view.on_mention(mention("1", MARKUP, SCRIPT_URL))
        site.view.on_mention(mention("2", REVERSED, "data:text/html,<script>alert(1)</script>"))

    site.tell(fill)
    page = visit.open(path)
    shows(page, "main", BAD_NAME)
    if path in ("/", "/alerts/a1"):
        shows(page, "main", MARKUP, "Day nine.")
        assert page.evaluate(
            "[...document.querySelectorAll('.posts a')].map((a) => [a.protocol, a.rel, a.text])"
        ) == [["https:", "noopener noreferrer nofollow", "social.example"]]
    assert page.locator("main img, main script, main b b").count() == 0
    assert page.locator("[onerror], [onmouseover]").count() == 0
    assert "owned" not in page.title()
    isolated = "(e) => e.dir === 'auto' && getComputedStyle(e).unicodeBidi === 'isolate'"
    assert page.evaluate(f"[...document.querySelectorAll('.words')].every({isolated})")
    assert visit.complaints == []


# The overview


def test_what_was_not_judged_says_why(visit: Visit, site: Site) -> None:
    foreign = msgspec.structs.replace(
        mention("1", "Wo bleibt mein Paket?"), labels=neutral_labels("language", "de")
    )
    empty = msgspec.structs.replace(mention("2", "…"), labels=neutral_labels("empty"))
    site.tell(lambda: (site.view.on_mention(foreign), site.view.on_mention(empty)))
    shows(visit.open(), "#feed", "not judged: German", "not judged: nothing to read")


def test_an_alert_says_who_answers_and_how_unusual_it_is(visit: Visit, site: Site) -> None:
    site.tell(
        lambda: site.view.on_alert(
            alert(status="firing", silenced="cool-down", acknowledged="Bo", severity=6)
        )
    )
    page = visit.open()
    shows(
        page,
        ".alert",
        "Larkbasket",
        "41 seen in 15 min, expected 2.3",
        "Operations answers for delivery",
        "Firing, severity 6 of 10, 36 min",
        "third evening",
        "and 41 like it",
        "Since it fired: 12 more posts in 4 minutes",
        "Less than once in a hundred years of usual talk. 41 where 2.3 are usual",
        "Taken on by Bo. Not sent: too soon after one like it.",
        "1 in 1 billion",
    )
    expect(page.locator("#announcer")).to_contain_text("Alert firing: Larkbasket, delivery")


def test_changes_arrive_without_reload_and_without_losing_selection_or_focus(
    visit: Visit, site: Site
) -> None:
    def begin() -> None:
        site.view.on_status({"brands": NAMES})
        site.view.on_score(score(value=31.0, mentions=20))
        site.view.on_score(score(value=12.0, window="24h"))
        site.view.on_mention(mention("1", "First words."))
        site.view.on_alert(alert(status="firing"))

    def go_on() -> None:
        later = NOON + timedelta(minutes=7)
        site.view.on_score(score(value=-7.4, as_of=later))
        site.view.on_mention(mention("2", "Second words.", minutes=7))
        site.view.on_alert(alert(updated=later, seen=52))

    site.tell(begin)
    page = visit.open()
    card = page.locator(".card").first
    expect(card.locator(".score strong")).to_have_text("+31")
    expect(card.locator(".few")).to_be_visible()
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#feed .text'))")
    page.locator(".alert h3 a").focus()
    site.tell(go_on)
    expect(card.locator(".score strong")).to_have_text("−7")
    expect(page.locator("#feed .text").first).to_have_text("Second words.")
    shows(page, ".alert", "52 seen", "Escalated")
    assert page.evaluate("getSelection().toString()") == "First words."
    assert page.evaluate("document.activeElement.closest('.alert') !== null")
    expect(card.locator(".few")).to_be_hidden()

    page.get_by_role("radio", name="24 h").check()
    expect(card.locator(".score strong")).to_have_text("+12")
    over = alert(status="resolved", updated=NOON + timedelta(hours=1))
    site.tell(lambda: site.view.on_alert(over))
    expect(page.locator(".alert")).to_have_count(0)
    shows(page, "#resolved", "Resolved lately (1)")
    assert visit.complaints == []


def test_an_empty_page_says_what_to_do(visit: Visit) -> None:
    page = visit.open()
    shows(page, "#no-mentions", "gapwatch send FILE")
    shows(page, "#no-brands", "[[brands]]")


def test_a_lost_worker_is_told_and_found_again(visit: Visit, busy: Site) -> None:
    page = visit.open(PAGES["alert"])
    busy.tell(lambda: busy.view.on_feed("lost"))
    shows(page, "#notice", "cannot reach Kafka")
    busy.stop()
    shows(page, "#notice", "does not answer")
    busy.start()
    busy.tell(lambda: busy.view.on_feed("live"))
    expect(page.locator("#notice")).to_be_hidden()
    busy.tell(lambda: busy.view.on_alert(alert(seen=77, updated=NOON + timedelta(minutes=2))))
    shows(page, "#seen", "77")


# All pages


FIRST_SHOWN = {
    "overview": ".card",
    "brand": "#gaps .plot",
    "alert": "#timeline li",
    "rivals": "#rows tr",
}


@pytest.mark.parametrize("name", PAGES)
def test_nothing_bars_anybody_from_a_page(visit: Visit, busy: Site, name: str) -> None:
    page = visit.open(PAGES[name])
    page.locator(FIRST_SHOWN[name]).first.wait_for()
    expect(page.locator("h1")).to_have_count(1)
    visit.picture(f"{name}-light")
    if name == "brand":
        page.get_by_role("radio", name="24 h").check()
        expect(page.locator("#score-chart .plot")).to_have_attribute("aria-valuemax", "23")
    if name != "rivals":  # its table is a chart's as on the brand's page, and has a week of rows
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = 1; })")
    assert visit.obstacles() == []
    page.emulate_media(color_scheme="dark")
    assert visit.obstacles("color-contrast") == []
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = 0; })")
    visit.picture(f"{name}-dark")
    assert visit.complaints == []


def test_who_wants_no_motion_sees_none(browser: Browser, busy: Site) -> None:
    with Visit(browser, busy.url, reduced_motion="reduce") as visit:
        page = visit.open()
        page.locator("#feed li").first.wait_for()
        busy.tell(lambda: busy.view.on_mention(mention("new", "New words.", minutes=1)))
        fresh = page.locator("#feed .fresh")
        fresh.wait_for()
        assert fresh.evaluate("(node) => getComputedStyle(node).animationName") == "none"


@pytest.mark.parametrize("width", [360, 1600])
def test_nothing_is_wider_than_the_screen(browser: Browser, site: Site, width: int) -> None:
    def fill() -> None:
        busy_week(site.view)
        names = {key: {**brand, "name": "L" * 100} for key, brand in NAMES.items()}
        site.view.on_status({"brands": names, "events": 10**12, "lag": 10**9})
        long = "w" * 500
        host = f"https://{'h' * 60}.example/"
        posts = (Post("p", long, long, NOON, 10**9, host),)
        later = NOON + timedelta(minutes=1)
        site.view.on_alert(alert(brand_name="L" * 100, posts=posts, updated=later))
        site.view.on_mention(mention("1", long, host))
        taken = Acknowledgement(ALERT, "n" * 100, NOON, "c" * 1000)
        site.orders.hear_acknowledgement(taken)

    site.tell(fill)
    with Visit(browser, site.url, viewport={"width": width, "height": 800}) as visit:
        for name, path in PAGES.items():
            page = visit.open(path)
            shows(page, "main", "L" * 100)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            visit.picture(f"{name}-{width}")


def test_the_keyboard_is_enough(visit: Visit, busy: Site) -> None:
    page = visit.open()
    page.locator(".alert").wait_for()

    def walk_to(selector: str, most: int = 30) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate(f"document.activeElement.matches({selector!r})"):
                return
        pytest.fail(f"{selector} is not reached in {most} steps")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    walk_to(".alert h3 a")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/alerts/{ALERT}")
    page.locator("#timeline li").first.wait_for()
    walk_to(".plot")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    plot = page.locator("#curve .plot")
    expect(plot).to_have_attribute("aria-valuenow", "1")
    assert "Expected 0.5" in (plot.get_attribute("aria-valuetext") or "")
    walk_to("#author")
    page.keyboard.type("Kim")
    walk_to("#comment")
    page.keyboard.type("On my way.")
    walk_to('[data-do="acknowledge"]')
    page.keyboard.press("Enter")
    shows(page, "#done", "You have taken it on.")
    shows(page, "#timeline", "Taken on", "by Kim", "On my way.")
    ((topic, key, taken),) = busy.written
    assert (topic, key) == ("acknowledgements", ALERT)
    assert isinstance(taken, Acknowledgement)
    assert (taken.alert, taken.author, taken.comment) == (ALERT, "Kim", "On my way.")
    assert visit.complaints == []


# The brand page


def test_a_brand_shows_its_course_and_who_answers(visit: Visit, busy: Site) -> None:
    page = visit.open(PAGES["brand"])
    assert page.title() == "(1) Larkbasket · Gapwatch"
    shows(page, "#funnel", "Consumption", "as many as curation")
    shows(page, "#gaps .all", "All touchpoints", "expected")
    expect(page.locator("#gaps .multiple")).to_have_count(7)
    shows(page, "#gaps", "Delivery", "Operations", "Price", "Marketing")
    shows(page, "#teams", "Operations", "31 %")
    shows(page, "#terms", "third evening")
    shows(page, "#alerts-hint", "1 open, 4 past")
    expect(page.locator("#alerts tr").first).to_contain_text("Escalated")
    assert page.locator("#score-chart .alert-span").count() == 5

    plot = page.locator("#score-chart .plot")
    expect(plot).to_have_attribute("aria-valuemax", "167")
    plot.focus()
    page.keyboard.press("End")
    shows(page, "#score-chart .bubble", "Score", "±", "Mentions")
    page.get_by_text("As a table").first.click()
    expect(page.locator("#score-chart tbody tr")).to_have_count(168)
    page.locator("#gap-table summary").click()
    expect(page.locator("#gap-table tbody tr")).to_have_count(168)

    page.get_by_role("radio", name="28 d").check()
    earliest = page.locator("#score-chart tbody tr").last
    expect(earliest).to_contain_text("Feb 2,")
    expect(page.locator("#score-chart tbody tr")).to_have_count(168)  # of four hours each
    page.get_by_role("radio", name="24 h").check()
    expect(page.locator("#score-chart tbody tr")).to_have_count(24)
    page.reload()
    expect(page.get_by_role("radio", name="24 h")).to_be_checked()
    assert visit.complaints == []


def test_a_brand_follows_its_hours_while_it_is_looked_at(visit: Visit, busy: Site) -> None:
    page = visit.open(PAGES["brand"])
    below = page.locator("#gaps .all .sum b")
    expect(below).not_to_have_text("0")
    before = int((below.text_content() or "").replace(",", ""))
    hour = busy.view.history.hour("larkbasket", NOON)
    assert hour is not None
    gap = hour.gaps["delivery"]
    worse = msgspec.structs.replace(gap, mentions=gap.mentions + 9, below=gap.below + 9)
    changed = msgspec.structs.replace(hour, gaps=hour.gaps | {"delivery": worse})
    busy.tell(lambda: busy.view.on_history(changed))
    expect(below).to_have_text(f"{before + 9:,}")


def test_what_nobody_knows_is_said(visit: Visit, busy: Site) -> None:
    page = visit.open("/brands/nobody")
    shows(page, "#problem", "No brand 'nobody' is shown here; there are: larkbasket")
    page = visit.open("/alerts/nothing")
    shows(page, "#problem", "No alert 'nothing' is open")


# The alert page


def test_an_alert_tells_its_story(visit: Visit, busy: Site) -> None:
    page = visit.open(PAGES["alert"])
    shows(page, "h1", "Larkbasket: delivery")
    shows(page, "#state", "Escalated, severity 7 of 10")
    shows(page, "#facts", "44 %, usually 8 %", "115.2K", "−14, was +12")
    shows(
        page,
        "#timeline",
        "Began",
        "Fired",
        "9 seen, severity 5",
        "Fired: told to brand-team",
        "Escalated: waiting for wall",
        "answer 503",
    )
    links = {a.inner_text(): a.get_attribute("href") for a in page.locator("#ways a").all()}
    assert links == {
        "Runbook": "https://wiki.example/Operations/delivery",
        "Dashboard": "https://grafana.example/d/incident?var-brand=larkbasket",
    }


def test_a_fall_of_the_score_is_told_without_a_curve(visit: Visit, busy: Site) -> None:
    fallen = alert(
        id="larkbasket.score.all.1",
        kind="score",
        touchpoint="all",
        team="none",
        status="firing",
        window_minutes=1440,
        severity_reason="from +12 to -14, 16 points more than its margin of 10",
        posts=(),
        terms=(),
        curve=None,
    )
    busy.tell(lambda: busy.view.on_alert(fallen))
    page = visit.open("/alerts/larkbasket.score.all.1")
    shows(page, "h1", "Larkbasket: falling score")
    shows(page, "#usual", "mentions in 24 h; the score went from +12 to -14")
    expect(page.locator("#no-curve")).to_be_visible()
    expect(page.locator("#no-posts")).to_be_visible()
    assert visit.complaints == []


def test_messages_of_old_lead_to_the_alerts_page(visit: Visit, busy: Site) -> None:
    visit.page.goto(f"{busy.url}/#alert-{ALERT}")
    visit.page.wait_for_url(f"**/alerts/{ALERT}")
    shows(visit.page, "#state", "Escalated")


def test_an_alert_is_snoozed_and_silences_begin_and_end(visit: Visit, busy: Site) -> None:
    page = visit.open(PAGES["alert"])
    page.get_by_label("Your name").fill("Ann")
    page.get_by_label("Comment").fill("lorry strike")
    page.locator("#length").select_option("60")
    page.get_by_role("button", name="Snooze this alert").click()
    shows(page, "#done", "Quiet until")
    shows(page, "#silences", "This alert", "by Ann", "lorry strike")
    snooze = busy.written[-1][2]
    assert isinstance(snooze, Silence)
    assert (snooze.alert, snooze.author, snooze.comment) == (ALERT, "Ann", "lorry strike")
    assert snooze.end - NOON == timedelta(minutes=61)

    page.get_by_text("Silence all alerts like it").click()
    page.get_by_label("team Operations").check()
    page.locator("#silence-length").select_option("1440")
    page.get_by_role("button", name="Silence", exact=True).click()
    shows(page, "#done", "Silenced until")
    shows(page, "#silences", "Larkbasket, Team Operations")
    silence = busy.written[-1][2]
    assert isinstance(silence, Silence)
    assert (silence.brand, silence.touchpoint, silence.team) == ("larkbasket", None, "Operations")

    page.get_by_role("button", name=f"End silence {silence.id}").click()
    expect(page.locator("#silences li")).to_have_count(1)
    ended = busy.written[-1][2]
    assert isinstance(ended, Silence)
    assert (ended.id, ended.end) == (silence.id, NOON + timedelta(minutes=1))
    page.reload()
    expect(page.get_by_label("Your name")).to_have_value("Ann")
    assert visit.complaints == []


def test_what_could_not_be_done_is_told_and_nothing_is_lost(visit: Visit, busy: Site) -> None:
    page = visit.open(PAGES["alert"])
    page.locator("#timeline li").first.wait_for()
    busy.trouble = ProduceError("gapwatch.acknowledgements[0]: not confirmed: no leader")
    page.get_by_label("Your name").fill("Ann")
    page.get_by_label("Comment").fill("looking")
    page.get_by_role("button", name="Take it on").click()
    shows(page, "#done", "Kafka did not confirm it", "Look at the alert again")
    expect(page.get_by_label("Comment")).to_have_value("looking")
    over = alert(status="resolved", updated=NOON + timedelta(hours=1))
    busy.tell(lambda: busy.view.on_alert(over))
    shows(page, "#state", "Resolved")
    expect(page.locator("#form")).to_be_hidden()


# The rivals page


def test_rivals_stand_side_by_side_and_can_be_sorted(visit: Visit, busy: Site) -> None:
    page = visit.open(PAGES["rivals"])
    rows = page.locator("#rows tr")
    expect(rows).to_have_count(3)
    shows(page, "#rows", "Larkbasket", "±", "Delivery, 50 % of", "▲ delivery")
    shows(page, "#legend", "Brambleday")
    expect(page.locator("#course .line")).to_have_count(3)
    page.get_by_role("button", name="Advocacy").click()
    expect(rows.first).to_contain_text("Brambleday")
    expect(page.locator('th[aria-sort="descending"]')).to_contain_text("Advocacy")
    page.get_by_role("button", name="Advocacy").click()
    expect(rows.first).to_contain_text("Larkbasket")
    page.get_by_role("radio", name="7 d").check()
    shows(page, "#hint", "last 7 days")
    page.get_by_role("link", name="Sorrelbox").click()
    page.wait_for_url("**/brands/sorrelbox")
    assert visit.complaints == []
