"""Retries and cancels of selected orders on the dashboard, in a real Chromium."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.live_orders import wait_for_status
from tests.process import ServerProcess
from tests.server.dashboard.pages import expect_live, failed_requests, opened, rejected, wish

pytestmark = pytest.mark.slow


AT_ONCE = 4
"""How many requests the page sends at a time: see bulk.js."""


def select(page: Page, *order_ids: int) -> None:
    for order_id in order_ids:
        page.get_by_role("checkbox", name=f"Select order {order_id}", exact=True).check()


def press(page: Page, button: str) -> Locator:
    """Presses a button of the bar, and returns the dialog that asks to confirm the action."""
    page.get_by_role("button", name=button, exact=True).click()
    return page.get_by_role("dialog")


def test_selected_orders_are_retried_together(browser: Browser, shop: ServerProcess, tmp_path: Path) -> None:
    for order_id, what in ((1, "fail"), (2, "fail"), (3, "fail"), (4, "wait"), (5, "nothing")):
        assert shop.post(wish(order_id, what)).status == 202
    with opened(browser, shop, "/orders") as watched:
        page = watched.page
        select(page, 1, 3, 4, 5)
        expect(page.get_by_role("group", name="Selected orders")).to_contain_text("4 orders selected")
        expect(page.get_by_role("button", name="Cancel selected (1)")).to_be_visible()
        (tmp_path / "mended").touch()
        question = press(page, "Retry selected (3)")
        expect(question).to_contain_text("Retry 3 orders?")
        expect(question).to_contain_text("The status of one other selected order does not allow it.")
        question.get_by_role("button", name="No").click()
        assert shop.get("/metrics").body["failed_orders"] == 3
        press(page, "Retry selected (3)").get_by_role("button", name="Retry", exact=True).click()
        expect(page.locator("#notice")).to_contain_text("3 orders will be tried again.")
        expect(page.locator("#failed_orders")).to_have_text("1")
        expect(page.locator("#completed_orders")).to_have_text("3")
        expect(page.get_by_role("checkbox", checked=True)).to_have_count(0)
        expect(page.get_by_role("checkbox", name="Select all 5")).to_be_focused()
    assert len(shop.get("/order/4/attempts").body["attempts"]) == 2
    assert shop.get("/order/2").body["status"] == "Failed"


def test_selected_orders_are_cancelled_together(browser: Browser, shop: ServerProcess) -> None:
    for order_id in (1, 2, 3):
        assert shop.post(wish(order_id, "wait")).status == 202
    with opened(browser, shop, "/orders?status=Pending") as watched:
        page = watched.page
        select(page, 1, 2)
        question = press(page, "Cancel selected (2)")
        expect(question).to_contain_text("They will not be processed.")
        question.get_by_role("button", name="Cancel the orders").click()
        expect(page.locator("#notice")).to_contain_text("2 orders are cancelled.")
        expect(page.locator("#cancelled_orders")).to_have_text("2")
        expect(page.locator("#listing tbody tr")).to_have_count(1)
    assert shop.get("/order/3").body["status"] == "Pending"


def test_the_page_says_which_orders_were_refused_and_why(browser: Browser, shop: ServerProcess) -> None:
    for order_id in (1, 2, 3):
        assert shop.post(wish(order_id, "wait")).status == 202
    with opened(browser, shop, "/orders?status=Pending") as watched:
        page = watched.page
        select(page, 1, 2, 3)
        page.get_by_role("button", name="Pause the lists").click()
        with shop.client() as client:
            client.request("POST", "/order/2/cancel")
            assert client.answer().status == 200
        press(page, "Retry selected (3)").get_by_role("button", name="Retry", exact=True).click()
        outcome = page.get_by_role("dialog", name="Not all orders were changed")
        expect(outcome).to_contain_text("2 orders will be tried again.")
        expect(outcome.get_by_role("listitem")).to_have_count(1)
        expect(outcome.get_by_role("listitem")).to_contain_text("Order 2 is Cancelled, not Failed or waiting")
        assert failed_requests(watched) == {"409 (Conflict)"}
        outcome.get_by_role("link", name="2", exact=True).click()
        expect(outcome).to_be_hidden()
        expect(page.get_by_role("article", name="Order 2")).to_contain_text("Cancelled")


def test_a_busy_server_gets_the_request_again(browser: Browser, shop: ServerProcess) -> None:
    assert shop.post(wish(1, "wait")).status == 202
    refused: list[str] = []

    def refuse_once(route: Route) -> None:
        if refused:
            route.continue_()
        else:
            refused.append(route.request.url)
            route.fulfill(status=429, json={"title": "too many requests"}, headers={"Retry-After": "1"})

    with opened(browser, shop, "/orders?status=Pending") as watched:
        page = watched.page
        page.route("**/cancel", refuse_once)
        select(page, 1)
        press(page, "Cancel selected (1)").get_by_role("button", name="Cancel the order").click()
        expect(page.locator("#notice")).to_contain_text("One order is cancelled.")
        assert failed_requests(watched) == {"429 (Too Many Requests)"}
        assert wait_for_status(shop, 1, "Cancelled")


def test_a_lost_connection_stops_the_action(browser: Browser, shop: ServerProcess) -> None:
    for order_id in range(1, 11):
        assert shop.post(rejected(order_id, "declined")).status == 202
    with opened(browser, shop, "/orders?status=Failed") as watched:
        page = watched.page
        page.route("**/retry", lambda route: route.abort())
        page.get_by_role("checkbox", name="Select all 10").check()
        press(page, "Retry selected (10)").get_by_role("button", name="Retry", exact=True).click()
        outcome = page.get_by_role("dialog", name="Not all orders were changed")
        expect(outcome).to_contain_text("No order will be tried again.")
        expect(outcome).to_contain_text("The server does not answer. The action stopped. Orders without a result: 10.")
        # Only the requests that were already sent have failed.
        assert failed_requests(watched, AT_ONCE) == {"net::ERR_FAILED"}
        outcome.get_by_role("button", name="Close").click()
        page.unroute("**/retry")
        # The orders are still selected.
        press(page, "Retry selected (10)").get_by_role("button", name="Retry", exact=True).click()
        expect(page.locator("#notice")).to_contain_text("10 orders will be tried again.")


def test_orders_are_selected_by_keyboard_and_in_a_range(browser: Browser, shop: ServerProcess) -> None:
    for order_id in range(1, 7):
        assert shop.post(rejected(order_id, "declined")).status == 202
    with opened(browser, shop, "/orders?status=Failed") as watched:
        page = watched.page
        expect_live(page)
        every = page.get_by_role("checkbox", name="Select all 6")
        every.focus()
        page.keyboard.press("Space")
        expect(page.get_by_role("button", name="Retry selected (6)")).to_be_visible()
        page.keyboard.press("Space")
        expect(page.get_by_role("button", name="Retry selected (6)")).to_be_hidden()
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        expect(page.get_by_role("checkbox", name="Select order 6")).to_be_checked()
        expect(page.get_by_role("button", name="Retry selected (1)")).to_be_visible()
        assert every.evaluate("box => box.indeterminate")
        page.get_by_role("checkbox", name="Select order 3").click(modifiers=["Shift"])
        expect(page.get_by_role("button", name="Retry selected (4)")).to_be_visible()
        expect(page.get_by_role("checkbox", name="Select order 2")).not_to_be_checked()
