"""Pauses of processing and of webhooks on the dashboard, in a real Chromium."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.live_orders import post_all, wait_for_status
from tests.process import ServerProcess
from tests.receiver import SECRET, Delivery, Receiver, Reply
from tests.server.dashboard.pages import expect_live, opened

pytestmark = pytest.mark.slow


def test_processing_is_paused_and_resumed(browser: Browser, server: ServerProcess) -> None:
    with opened(browser, server) as watched:
        page = watched.page
        expect_live(page)
        banner, pause = page.locator("#paused"), page.get_by_role("button", name="Pause processing")
        resume = page.get_by_role("button", name="Resume processing")
        expect(banner).to_be_hidden()
        pause.click()
        question = page.get_by_role("dialog", name="Pause processing?")
        question.get_by_role("button", name="No").click()
        assert server.get("/metrics").body["paused"] is False
        pause.click()
        question.get_by_role("button", name="Pause processing").click()
        expect(banner).to_be_visible()
        expect(banner).to_contain_text("Processing is paused")
        expect(pause).to_be_hidden()
        expect(resume).to_be_focused()
        post_all(server, [1])
        expect(page.locator("#pending_orders")).to_have_text("1")
        resume.click()
        expect(banner).to_be_hidden()
        expect(page.locator("#completed_orders")).to_have_text("1")
        expect(pause).to_be_focused()


def test_a_pause_of_webhooks_is_shown_and_can_be_ended(browser: Browser, tmp_path: Path) -> None:
    def behave(delivery: Delivery) -> Reply:
        return Reply(429, {"Retry-After": "86400"}) if delivery.webhook_id == "order_1" else Reply(200)

    with Receiver(behave) as receiver:
        flags = ("--processor", "webhook", "--webhook-url", receiver.url)
        with (
            ServerProcess(tmp_path / "orders.db", *flags, environment={"ORDERS_WEBHOOK_SECRET": SECRET}) as server,
            opened(browser, server) as watched,
        ):
            page = watched.page
            expect_live(page)
            banner = page.locator("#deliveries-paused")
            post_all(server, [1])
            # Order 2 must not be sent before the pause: then no order would be left that can end it.
            expect(banner).to_be_visible()
            expect(banner).to_contain_text("Webhooks are paused")
            post_all(server, [2])
            banner.get_by_role("button", name="Send one now").click()
            expect(banner).to_be_hidden()
            wait_for_status(server, 2, "Completed")
