"""The page of a list on the dashboard: its URL, its filters and its pages, in a real Chromium."""

import itertools
import json
import re
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.process import ServerProcess, order
from tests.server.dashboard.pages import expect_live, failed_requests, ids_in, list_of, opened, rejected, row_of, wish

pytestmark = pytest.mark.slow

COUNT = 250
"""More orders than two pages have."""


POINTS = """cells => cells.map(({ firstChild: text }) => {
    const range = document.createRange();
    range.setStart(text, 0);
    range.setEnd(text, text.data.replace(/[.].*/, '').length);
    return range.getBoundingClientRect().right;
})"""
"""JavaScript. Where the digits before the decimal point of each amount end, in pixels."""
TIMES = "\N{MULTIPLICATION SIGN}"


def send(server: ServerProcess, *bodies: object) -> None:
    with server.client() as client:
        client.request("POST", "/orders", json.dumps(bodies), {"Content-Type": "application/json"})
        assert client.answer().body["accepted"] == len(bodies)


def field(page: Page, label: str) -> Locator:
    """A field of the filters."""
    return page.locator("#filter").get_by_label(label)


def hash_of(page: Page) -> str:
    return page.url.partition("#")[2]


def test_a_tile_leads_to_the_list_of_its_status(browser: Browser, shared_shop: ServerProcess) -> None:
    send(shared_shop, rejected(1_001, "declined"))
    with opened(browser, shared_shop) as watched:
        page = watched.page
        expect(row_of(page, "Failed", 1_001)).to_be_visible()
        tile = page.get_by_role("navigation", name="Orders by status").get_by_role("link", name="Failed")
        tile.click()
        expect(page.get_by_role("heading", name="Failed orders")).to_be_focused()
        expect(page).to_have_title(re.compile(r"failed · Failed orders · Orders$"))
        expect(page.locator("#charts")).to_be_hidden()
        expect(tile).to_have_attribute("aria-current", "page")
        assert hash_of(page) == "/orders?status=Failed"
        page.reload()
        expect(row_of(page, "Failed orders", 1_001)).to_be_visible()
        page.go_back()
        expect(page.locator("#charts")).to_be_visible()
        expect(tile).not_to_have_attribute("aria-current", "page")
        page.go_forward()
        expect(row_of(page, "Failed orders", 1_001)).to_be_visible()


def test_the_filters_are_in_the_url(browser: Browser, shared_shop: ServerProcess) -> None:
    of_user = {"user_id": 1_100}
    send(shared_shop, *(rejected(1_100 + n, "declined" if n % 2 else "no stock", **of_user) for n in range(6)))
    send(shared_shop, order(1_110) | of_user, rejected(1_111, "declined"))
    with opened(browser, shared_shop, "/orders") as watched:
        page = watched.page
        expect_live(page)
        expect(page.get_by_role("heading", name="All orders")).to_be_visible()
        field(page, "Status").select_option("Failed")
        field(page, "User").fill("1,100")
        field(page, "Error contains").fill("decl")
        field(page, "From").fill("2025-03-01T12:00:30")
        field(page, "Until").fill("2125-03-01T12:00:00")
        field(page, "Sequence").select_option("oldest first")
        page.get_by_role("button", name="Apply").click()
        title = re.compile(
            r"^Failed orders of user 1100 with “decl” from 1 Mar 2025, 12:00:30 until 1 Mar 2125, 12:00:00$"
        )
        expect(page.locator("#listing h2")).to_have_text(title)
        rows = page.locator("#listing tbody tr")
        expect(rows).to_have_count(3)
        assert ids_in(rows) == [1_101, 1_103, 1_105]
        after = datetime(2025, 3, 1, 12, 0, 30).astimezone()
        url = hash_of(page)
        assert f"created_after={after.astimezone(tz=UTC):%Y-%m-%dT%H%%3A%M%%3A%S}" in url
        page.goto("about:blank")
        page.goto(f"http://127.0.0.1:{shared_shop.port}/#{url}")
        expect(rows).to_have_count(3)
        expect(field(page, "User")).to_have_value("1100")
        expect(field(page, "From")).to_have_value("2025-03-01T12:00:30")
        page.get_by_role("button", name="Clear").click()
        expect(page.get_by_role("heading", name="All orders")).to_be_focused()
        assert hash_of(page) == "/orders"
        expect(field(page, "User")).to_have_value("")


def test_invalid_filters_are_refused_with_the_reason(browser: Browser, shared_shop: ServerProcess) -> None:
    with opened(browser, shared_shop, "/orders?status=Lost") as watched:
        page = watched.page
        expect(page.locator("#behind")).to_contain_text("status must be one of Pending, Processing")
        assert failed_requests(watched) == {"422 (Unprocessable Entity)"}
        asked = [url for url in watched.requested if "status=Lost" in url]
        field(page, "Status").select_option("Failed")
        field(page, "User").fill("none")
        page.get_by_role("button", name="Apply").click()
        expect(page.locator("#notice")).to_contain_text("An id is a whole number")
        field(page, "User").fill("")
        field(page, "From").fill("2025-03-01T12:00:00")
        field(page, "Until").fill("2025-03-01T12:00:00")
        page.get_by_role("button", name="Apply").click()
        expect(page.locator("#notice")).to_contain_text("must be later")
        field(page, "Until").fill("")
        page.get_by_role("button", name="Apply").click()
        expect(page.locator("#listing h2")).to_contain_text("Failed orders from")
        expect(page.locator("#behind")).to_have_text("")
        # The page has not sent the invalid filter again.
        assert [url for url in watched.requested if "status=Lost" in url] == asked


def test_a_list_of_pending_orders_shows_the_next_attempt(browser: Browser, shared_shop: ServerProcess) -> None:
    send(shared_shop, wish(1_200, "wait"))
    with opened(browser, shared_shop, "/orders?status=Pending") as watched:
        row = row_of(watched.page, "Pending orders", 1_200)
        due = shared_shop.get("/order/1200").body["next_attempt_at"]
        expect(row.locator("td.next time")).to_have_attribute("datetime", f"{due[:23]}Z")
        expect(watched.page.get_by_role("columnheader", name="Next attempt")).to_be_visible()
        watched.page.evaluate("location.hash = '#/orders'")
        expect(row_of(watched.page, "All orders", 1_200)).to_be_visible()
        expect(watched.page.get_by_role("columnheader", name="Next attempt")).to_be_hidden()


def test_a_long_list_has_pages(browser: Browser, shared_shop: ServerProcess) -> None:
    send(shared_shop, *(order(2_000 + n) | {"user_id": 2_000} for n in range(COUNT)))
    with opened(browser, shared_shop, "/orders?user_id=2000") as watched:
        page = watched.page
        rows = list_of(page, "Orders of user 2000").locator("tbody tr")
        newest_first = [2_000 + n for n in reversed(range(COUNT))]
        for begin in (0, 100, 200):
            expect(rows.first.locator(".id")).to_have_text(str(newest_first[begin]))
            assert ids_in(rows) == newest_first[begin : begin + 100]
            if begin < 200:
                page.get_by_role("link", name="Next page").click()
        expect(page.get_by_role("link", name="Next page")).to_be_hidden()
        page.reload()
        expect(rows).to_have_count(50)
        page.go_back()
        expect(rows).to_have_count(100)
        assert ids_in(rows) == newest_first[100:200]
        page.get_by_role("link", name="First page").click()
        expect(rows.first.locator(".id")).to_have_text(str(newest_first[0]))
        page.evaluate("location.hash = '#/orders?user_id=2000&oldest_first=true'")
        expect(rows.first.locator(".id")).to_have_text("2000")
        for begin in (100, 200):
            page.get_by_role("link", name="Next page").click()
            expect(rows.first.locator(".id")).to_have_text(str(2_000 + begin))
        expect(page.get_by_role("link", name="Next page")).to_be_hidden()


def test_frequent_errors_lead_to_the_orders_that_have_them(browser: Browser, shared_shop: ServerProcess) -> None:
    errors = ["declined <b>1</b>"] * 3 + ["no stock & no date"] * 2 + ["only once"]
    send(shared_shop, *(rejected(2_300 + n, error, user_id=2_300) for n, error in enumerate(errors)))
    with opened(browser, shared_shop, "/orders?user_id=2300") as watched:
        page = watched.page
        kinds = page.get_by_role("list", name="Most frequent errors on this page").get_by_role("listitem")
        expect(kinds).to_have_text([f"3 {TIMES} declined 1", f"2 {TIMES} no stock & no date"])
        kinds.nth(1).get_by_role("link").click()
        rows = list_of(page, "Orders of user 2300 with “no stock & no date”").locator("tbody tr")
        expect(rows).to_have_count(2)
        expect(kinds).to_have_count(0)
        page.go_back()
        kinds.first.get_by_role("link").click()
        expect(list_of(page, "Orders of user 2300 with “declined 1”").locator("tbody tr")).to_have_count(3)


def test_a_list_by_error_can_continue_on_a_page_without_matches(browser: Browser, shared_shop: ServerProcess) -> None:
    with opened(browser, shared_shop, "/orders") as watched:
        page = watched.page
        expect_live(page)
        numbers = itertools.count(1)
        page.route(
            "**/orders?*error=*",
            lambda route: route.fulfill(json={"orders": [], "next_cursor": f"cursor{next(numbers)}"}),
        )
        page.get_by_role("button", name="Pause the lists").click()
        page.evaluate("location.hash = '#/orders?error=rare'")
        expect(page.get_by_text("No match so far. The next page examines more orders.")).to_be_visible()
        asked = [url.partition("cursor=")[2].partition("&")[0] for url in watched.requested if "error=rare" in url]
        assert asked == ["", "cursor1", "cursor2"]
        page.get_by_role("link", name="Next page").click()
        expect(page.get_by_role("link", name="First page")).to_be_visible()
        assert hash_of(page) == "/orders?error=rare&cursor=cursor3"


def test_amounts_are_aligned_at_the_decimal_point(browser: Browser, shared_shop: ServerProcess) -> None:
    amounts = [0, 5, 12.5, 99.99, 1_234_567.8901, 9_999_999_999.99]
    send(shared_shop, *(order(2_400 + n) | {"user_id": 2_400, "total_amount": a} for n, a in enumerate(amounts)))
    shown = ["9,999,999,999.99", "1,234,567.8901", "99.99", "12.5", "5", "0"]
    with opened(browser, shared_shop, "/orders?user_id=2400", viewport={"width": 1_440, "height": 900}) as watched:
        cells = watched.page.locator("#listing tbody .amount")
        expect(cells).to_have_text(shown)
        points = cells.evaluate_all(POINTS)
        assert max(points) - min(points) < 0.5
