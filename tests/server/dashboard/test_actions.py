"""Retries and cancels on the dashboard, in a real Chromium."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.process import ServerProcess
from tests.server.dashboard.pages import LARGEST, list_of, opened, row_of, wish

pytestmark = pytest.mark.slow


def test_a_failed_order_is_retried_by_its_button_and_becomes_completed(
    browser: Browser, shop: ServerProcess, tmp_path: Path
) -> None:
    assert shop.post(wish(1, "fail")).status == 202
    with opened(browser, shop) as watched:
        page = watched.page
        row = row_of(page, "Failed", 1)
        expect(row.locator(".error")).to_have_text("declined by the bank")
        expect(page.locator("#failed_orders")).to_have_text("1")
        (tmp_path / "mended").touch()
        row.get_by_role("button", name="Retry order 1").click()
        # The row stays in the list while the pointer is over it.
        expect(row.locator(".status")).to_have_text("Completed")
        page.mouse.move(0, 0)
        expect(row).to_have_count(0)
        expect(page.locator("#notice")).to_contain_text("Order 1 will be tried again.")
        expect(row_of(page, "Latest", 1).locator(".status")).to_have_text("Completed")
        expect(page.locator("#failed_orders")).to_have_text("0")
        expect(page.locator("#completed_orders")).to_have_text("1")
        expect(list_of(page, "Failed").locator(".empty")).to_be_visible()


def test_a_retried_order_that_fails_again_is_shown_as_failed(browser: Browser, shop: ServerProcess) -> None:
    assert shop.post(wish(1, "fail")).status == 202
    with opened(browser, shop) as watched:
        row_of(watched.page, "Failed", 1).get_by_role("button", name="Retry order 1").click()
        expect(watched.page.locator("#notice")).to_contain_text("Order 1 will be tried again.")
        expect(row_of(watched.page, "Failed", 1).locator(".status")).to_have_text("Failed")
        expect(row_of(watched.page, "Failed", 1).get_by_role("button", name="Retry order 1")).to_be_visible()


def test_all_failed_orders_are_retried_after_confirmation(
    browser: Browser, shop: ServerProcess, tmp_path: Path
) -> None:
    with shop.client() as client:
        for order_id in range(1, 31):
            assert client.post(wish(order_id, "fail")).status == 202
    with opened(browser, shop) as watched:
        page = watched.page
        expect(page.locator("#failed_orders")).to_have_text("30")
        (tmp_path / "mended").touch()
        page.get_by_role("button", name="Retry all").click()
        expect(page.get_by_role("dialog")).to_contain_text("30 failed orders will be tried again")
        page.get_by_role("dialog").get_by_role("button", name="No").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page.locator("#failed_orders")).to_have_text("30")
        page.get_by_role("button", name="Retry all").click()
        page.get_by_role("dialog").get_by_role("button", name="Retry all").click()
        expect(page.locator("#notice")).to_contain_text("30 orders will be tried again.")
        expect(page.locator("#completed_orders")).to_have_text("30")
        expect(page.get_by_role("button", name="Retry all")).to_be_hidden()


def test_a_pending_order_is_cancelled_after_confirmation(browser: Browser, shop: ServerProcess) -> None:
    assert shop.post(wish(LARGEST, "wait")).status == 202
    assert shop.post(wish(LARGEST - 1, "wait")).status == 202
    with opened(browser, shop) as watched:
        page = watched.page
        row = row_of(page, "Latest", LARGEST)
        expect(row.locator(".status")).to_have_text("Pending")
        row.get_by_role("button", name=f"Cancel order {LARGEST}").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel the order").click()
        expect(row.locator(".status")).to_have_text("Cancelled")
        expect(page.locator("#cancelled_orders")).to_have_text("1")
        expect(row_of(page, "Latest", LARGEST - 1).locator(".status")).to_have_text("Pending")
    assert shop.get(f"/order/{LARGEST}").body["status"] == "Cancelled"
    assert shop.get(f"/order/{LARGEST - 1}").body["status"] == "Pending"


def test_a_double_click_retries_once(browser: Browser, shop: ServerProcess) -> None:
    for order_id in (1, 2):
        assert shop.post(wish(order_id, "fail")).status == 202
    with opened(browser, shop) as watched:
        page = watched.page
        posts: list[str] = []
        page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
        row_of(page, "Failed", 2).get_by_role("button", name="Retry order 2").dblclick()
        expect(page.locator("#notice")).to_contain_text("Order 2 will be tried again.")
        assert [url.rpartition("/order/")[2] for url in posts] == ["2/retry"]
