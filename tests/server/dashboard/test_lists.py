"""The lists of orders on the dashboard, in a real Chromium."""

import pytest
from playwright.sync_api import Browser, expect

from tests.live_orders import post_all
from tests.process import ServerProcess, order
from tests.server.dashboard.pages import LARGEST, failed_requests, list_of, opened, row_of, wish

pytestmark = pytest.mark.slow


def test_orders_are_found_by_id_and_by_user(browser: Browser, server: ServerProcess) -> None:
    post_all(server, range(1, 200))
    user_id = order(42)["user_id"]
    with opened(browser, server) as watched:
        page = watched.page

        def find(what: str, number: str) -> None:
            page.locator("#find-what").select_option(what)
            page.locator("#find-number").fill(number)
            page.keyboard.press("Enter")

        find("order", " 42 ")
        expect(page.get_by_role("article", name="Order 42")).to_contain_text("Completed")
        find("user", str(user_id))
        expect(list_of(page, f"Orders of user {user_id}").locator("tbody tr")).to_have_count(
            len([each for each in range(1, 200) if order(each)["user_id"] == user_id])
        )
        expect(page.get_by_role("article", name="Order 42")).to_be_hidden()
        find("user", "98")
        expect(list_of(page, "Orders of user 98").locator(".empty")).to_have_text("There are no orders of user 98.")
        for number in ("1.5", "12x", str(LARGEST + 1)):
            find("order", number)
            expect(page.locator("#notice")).to_contain_text("An id is a whole number")
            page.get_by_role("button", name="Close the message").click()
        expect(list_of(page, "Orders of user 98")).to_be_visible()
        find("order", "1,000,000")
        expect(page.get_by_role("article", name="Order 1000000")).to_contain_text("There is no order 1000000.")
        assert failed_requests(watched) == {"404 (Not Found)"}


def test_the_lists_can_be_paused(browser: Browser, server: ServerProcess) -> None:
    post_all(server, [1])
    with opened(browser, server) as watched:
        page = watched.page
        expect(row_of(page, "Latest", 1)).to_be_visible()
        page.get_by_role("button", name="Pause the lists").click()
        post_all(server, [2])
        expect(page.locator("#total_orders")).to_have_text("2")
        expect(row_of(page, "Latest", 2)).to_have_count(0)
        page.get_by_role("button", name="Pause the lists", pressed=True).click()
        expect(row_of(page, "Latest", 2)).to_be_visible()


def test_rows_do_not_move_while_the_pointer_is_over_them(browser: Browser, shop: ServerProcess) -> None:
    assert shop.post(wish(1, "fail")).status == 202
    with opened(browser, shop) as watched:
        page = watched.page
        retry = row_of(page, "Failed", 1).get_by_role("button", name="Retry order 1")
        retry.hover()
        assert shop.post(wish(2, "fail")).status == 202
        expect(page.locator("#failed_orders")).to_have_text("2")
        expect(row_of(page, "Latest", 2).locator(".status")).to_have_text("Failed")
        expect(row_of(page, "Failed", 2)).to_have_count(0)
        page.mouse.move(0, 0)
        expect(row_of(page, "Failed", 2)).to_be_visible()


def test_a_row_keeps_the_focus_while_orders_arrive(browser: Browser, shop: ServerProcess) -> None:
    assert shop.post(wish(1, "wait")).status == 202
    with opened(browser, shop) as watched:
        page = watched.page
        row_of(page, "Latest", 1).get_by_role("button", name="Cancel order 1").focus()
        post_all(shop, range(2, 8))
        expect(list_of(page, "Latest").locator("tbody tr")).to_have_count(7)
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Cancel order 1"
        ids = list_of(page, "Latest").locator("tbody tr .id").all_text_contents()
        newest_first = [str(each["order_id"]) for each in shop.get("/orders").body["orders"]]
        assert [each.strip() for each in ids] == newest_first
