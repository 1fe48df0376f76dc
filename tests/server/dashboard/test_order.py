"""One order on the dashboard, in a real Chromium."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.live_orders import wait_for_status
from tests.process import ServerProcess, order
from tests.server.dashboard.pages import failed_requests, list_of, opened, rejected, row_of, wish

pytestmark = pytest.mark.slow


def test_a_script_in_metadata_is_shown_as_text(browser: Browser, server: ServerProcess) -> None:
    script = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
    number = "12345678901234567890.10"
    body = order(1) | {"metadata": {"note": script, script: 1, "big": 0}}
    text = re.sub(r'"big": 0', f'"big": {number}', json.dumps(body))
    with server.client() as client:
        client.request("POST", "/order", text, {"Content-Type": "application/json"})
        assert client.answer().status == 202
    with opened(browser, server) as watched:
        page = watched.page
        row_of(page, "Latest", 1).get_by_role("link", name="1", exact=True).click()
        expect(page.locator("#order pre")).to_contain_text(script.replace('"', '\\"'))
        assert number in (page.locator("#order pre").text_content() or "")
        assert page.title() == "Order 1 · Orders"
        assert page.locator("pre script, pre img").count() == 0


def test_the_page_shows_the_attempts_and_retries_a_waiting_order_now(browser: Browser, shop: ServerProcess) -> None:
    assert shop.post(wish(1, "wait")).status == 202
    with opened(browser, shop) as watched:
        page = watched.page
        row_of(page, "Latest", 1).get_by_role("link", name="1", exact=True).click()
        shown = page.get_by_role("article", name="Order 1")
        points = shown.get_by_role("list", name="Timeline").get_by_role("listitem")
        expect(points).to_have_count(3)
        expect(points).to_contain_text(["Accepted", "Attempt 1 Failed", re.compile(r"Next attempt .* in \d")])
        expect(points.nth(1)).to_contain_text("closed until Monday")
        expect(points.nth(2)).to_contain_text("after 1 h 0 min")
        expect(shown).to_contain_text(wait_for_status(shop, 1, "Pending")["next_attempt_at"])
        shown.get_by_role("button", name="Retry order 1").click()
        expect(page.locator("#notice")).to_contain_text("Order 1 will be tried again.")
        expect(points).to_have_count(4)
        expect(points.nth(2)).to_contain_text("Attempt 2")
        expect(shown.get_by_role("button", name="Cancel order 1")).to_be_visible()
        page.get_by_role("button", name="Close the message").click()
        expect(page.locator("#notice p")).to_have_text("")


def test_an_order_has_a_url_and_leads_back_to_the_list(browser: Browser, shared_shop: ServerProcess) -> None:
    for order_id in (3_001, 3_002):
        assert shared_shop.post(rejected(order_id, "no date", user_id=3_000)).status == 202
    with opened(browser, shared_shop, "/order/3001") as watched:
        page = watched.page
        shown = page.get_by_role("article", name="Order 3001")
        expect(shown).to_contain_text("Failed")
        expect(page).to_have_title(re.compile(r"Order 3001 · Orders$"))
        shown.get_by_role("link", name="3000", exact=True).click()
        row = row_of(page, "Orders of user 3000", 3_002)
        row.get_by_role("link", name="3002", exact=True).click()
        expect(page.get_by_role("heading", name="Order 3002")).to_be_focused()
        page.reload()
        expect(page.get_by_role("article", name="Order 3002")).to_contain_text("Failed")
        page.go_back()
        expect(row).to_be_visible()
        row.get_by_role("link", name="3002", exact=True).click()
        page.get_by_role("link", name="Back to the orders").click()
        expect(row.get_by_role("link", name="3002", exact=True)).to_be_focused()


def test_a_missing_order_is_requested_once(browser: Browser, shared_shop: ServerProcess) -> None:
    with opened(browser, shared_shop, "/order/3099") as watched:
        page = watched.page
        expect(page.get_by_role("article", name="Order 3099")).to_contain_text("There is no order 3099.")
        expect(page.get_by_role("list", name="Timeline")).to_be_hidden()
        before = page.locator("#total_orders").text_content() or ""
        assert shared_shop.post(order(3_098)).status == 202
        expect(page.locator("#total_orders")).not_to_have_text(before)
        page.evaluate("location.hash = '#/order/3098'")
        expect(page.get_by_role("article", name="Order 3098").get_by_role("list", name="Timeline")).to_be_visible()
        assert len([url for url in watched.requested if "/order/3099" in url.partition("#")[0]]) == 1
        assert failed_requests(watched) == {"404 (Not Found)"}


def test_a_page_in_html_is_shown_as_text(browser: Browser, shared_shop: ServerProcess) -> None:
    script = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
    page_of_receiver = f"<html><head><title>502 Bad Gateway</title></head><body>{script}<p>a &lt; b<p>c</body></html>"
    assert shared_shop.post(rejected(3_100, f"HTTPError: {page_of_receiver}", user_id=3_100)).status == 202
    with opened(browser, shared_shop, "/orders?user_id=3100") as watched:
        page = watched.page
        row = row_of(page, "Orders of user 3100", 3_100)
        expect(row.locator(".error")).to_have_text("HTTPError: 502 Bad Gateway a < b c")
        row.get_by_role("link", name="3100", exact=True).click()
        error = page.locator("#order .value.error")
        expect(error).to_have_text("HTTPError:\n502 Bad Gateway\na < b\nc", use_inner_text=True)
        page.get_by_text("As received").click()
        expect(page.locator("#order code")).to_have_text(f"HTTPError: {page_of_receiver}")
        assert page.locator("#order script, #order img").count() == 0
        assert "taken" not in page.title()
        page.get_by_role("link", name="Orders with this error").click()
        title = "Failed orders with “HTTPError: 502 Bad Gateway a < b c”"
        expect(list_of(page, title).locator("tbody tr")).to_have_count(1)


def test_only_markup_is_removed_from_errors(browser: Browser, shared_shop: ServerProcess) -> None:
    cases = {
        "a < b, <class 'ValueError'>, List<B>": "a < b, <class 'ValueError'>, List<B>",
        "no &amp; yes": "no &amp; yes",
        "two<br>lines": "two\nlines",
        "1 &times; <b>closed</b>": "1 \N{MULTIPLICATION SIGN} closed",
        "<title>T</title><h1>T is down</h1><p>now": "T is down\nnow",
        "<html><head><style>b { color: red }</style></head><!-- <b> --><body>cut <b of": "cut",
        "<html><script>let a = 1": "A page without text",
        "<!DOCTYPE html><pre>one\n  two</pre>": "one\ntwo",
    }
    read = (
        "async errors => { const { readable } = await import('/dashboard/readable.js'); return errors.map(readable); }"
    )
    with opened(browser, shared_shop) as watched:
        assert watched.page.evaluate(read, list(cases)) == list(cases.values())


def attempt(number: int, started: str | None, ended: str | None, outcome: str | None) -> dict[str, Any]:
    return {"number": {"rawJSON": number}, "started_at": started, "ended_at": ended, "outcome": outcome, "error": None}


def test_the_timeline_has_every_wait_and_duration(browser: Browser, shared_shop: ServerProcess) -> None:
    at = "2025-03-01T12:00:{:06.3f}Z".format
    attempts = [
        attempt(1, at(1), at(1.5), "failed"),
        attempt(1, None, at(4), "interrupted"),
        attempt(2, at(3), at(6), "timed_out"),  # The clock was set back.
        attempt(3, at(10), None, None),
    ]
    order = {"created_at": at(0), "processed_at": None, "next_attempt_at": None, "status": "Processing"}
    read = """async ([order, attempts, now]) => {
        const { pointsOf } = await import('/dashboard/timeline.js');
        const points = pointsOf(order, attempts, new Date(now));
        return points.map(({ text, waitS, lengthS }) => [text, waitS, lengthS ?? null]);
    }"""
    with opened(browser, shared_shop) as watched:
        points = watched.page.evaluate(read, [order, attempts, at(12)])
        assert points == [
            ["Accepted", None, None],
            ["Attempt 1", 1, 0.5],
            ["Attempt 1", None, None],
            ["Attempt 2", -1, 3],
            ["Attempt 3", 4, 2],
        ]
        order |= {"status": "Failed", "processed_at": at(6)}
        assert watched.page.evaluate(read, [order, attempts[:3], at(12)]) == points[:4]
        order |= {"status": "Pending", "processed_at": None, "next_attempt_at": at(20)}
        assert watched.page.evaluate(read, [order, attempts[:3], at(12)])[4:] == [["Next attempt", 14, None]]
        order |= {"status": "Cancelled", "next_attempt_at": None}
        assert watched.page.evaluate(read, [order, attempts[:3], at(12)])[4:] == [["Cancelled", None, None]]
