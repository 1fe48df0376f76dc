"""How the dashboard shows a lost connection and faults of the storage, in a real Chromium."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import Watched
from tests.live_orders import post_all
from tests.process import ServerProcess, order
from tests.server.dashboard.pages import expect_live, opened, row_of
from tests.server.dashboard.plots import NEXT_FRAME, POINTS_AS_LISTS, assert_begins_with, until_points
from tests.storage_faults import full_disk

pytestmark = pytest.mark.slow

BROKEN = "CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING"
BROKEN_CONNECTION = re.compile(f"Failed to load resource: net::ERR_({BROKEN})")


def test_the_page_reconnects_after_a_restart_of_the_server(browser: Browser, tmp_path: Path) -> None:
    database = tmp_path / "orders.db"
    with ServerProcess(database) as server:
        port = server.port
        post_all(server, range(1, 101))
        watched = Watched(browser, f"http://127.0.0.1:{port}/")
        page = watched.page
        page.goto(f"http://127.0.0.1:{port}/")
        expect(page.locator("#completed_orders")).to_have_text("100")
        until_points(page, 2)
        expect(page.locator("#alarm")).to_be_hidden()
        server.kill()
    expect(page.locator("#alarm")).to_be_visible()
    expect(page.locator("#alarm")).to_contain_text("No connection to the server since")
    assert page.title() == "Not connected · Orders"
    expect(page.locator("#total_orders")).to_have_text("100")
    page.evaluate(NEXT_FRAME)
    before = page.evaluate(POINTS_AS_LISTS)
    with ServerProcess(database, "--port", str(port)) as server:
        expect_live(page)
        expect(page.locator("#alarm")).to_be_hidden()
        post_all(server, [101])
        expect(page.locator("#completed_orders")).to_have_text("101")
        expect(row_of(page, "Latest", 101)).to_be_visible()
        assert page.title() == "Orders"
        until_points(page, len(before[0][0]) + 1)
        assert_begins_with(page.evaluate(POINTS_AS_LISTS), before)
        watched.close()
    assert [text for text in watched.complaints if not BROKEN_CONNECTION.match(text)] == []
    assert watched.other_origins == []


def test_a_lost_connection_causes_an_alarm_only_if_the_page_can_not_reconnect(browser: Browser, tmp_path: Path) -> None:
    """Behind a load balancer, another server responds at once."""
    database = tmp_path / "orders.db"
    with ServerProcess(database) as server:
        port = server.port
        watched = Watched(browser, f"http://127.0.0.1:{port}/")
        page, link, alarm = watched.page, watched.page.locator("#link"), watched.page.locator("#alarm")
        page.clock.install()
        page.goto(f"http://127.0.0.1:{port}/")
        expect_live(page)
        page.clock.pause_at(page.evaluate("Date.now()") / 1_000 + 1)
        server.kill()
    expect(link).to_have_text("Reconnecting")
    expect(alarm).to_be_hidden()
    with ServerProcess(database, "--port", str(port)) as server:
        page.clock.run_for(500)
        expect_live(page)
        # The time after which the alarm would have been shown.
        page.clock.run_for(3_000)
        expect_live(page)
        expect(alarm).to_be_hidden()
        server.kill()
    expect(link).to_have_text("Reconnecting")
    page.clock.run_for(500)
    expect(alarm).to_be_visible()
    expect(link).to_have_text("Not connected")
    watched.close()


def test_a_hidden_page_closes_its_connection(browser: Browser, server: ServerProcess) -> None:
    turn = """hidden => {
        Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
        document.dispatchEvent(new Event('visibilitychange'));
    }"""
    with opened(browser, server) as watched:
        page = watched.page
        expect_live(page)
        with page.expect_event("requestfailed", lambda request: request.url.endswith("/metrics/events")):
            page.evaluate(turn, True)
        post_all(server, [1])
        page.evaluate(turn, False)
        expect(page.locator("#total_orders")).to_have_text("1")
        expect(row_of(page, "Latest", 1)).to_be_visible()
        assert len([url for url in watched.requested if url.endswith("/metrics/events")]) == 2


def test_a_full_disk_is_shown_until_there_is_space(browser: Browser, server: ServerProcess) -> None:
    post_all(server, [1])
    with opened(browser, server) as watched:
        alarm = watched.page.locator("#storage-alarm")
        expect_live(watched.page)
        expect(alarm).to_be_hidden()
        with full_disk(server, has_room=False):
            assert server.post(order(2)).status == 503
            expect(alarm).to_be_visible()
            expect(alarm).to_contain_text("Orders can't be stored")
        # The alarm disappears without another order.
        expect(alarm).to_be_hidden()
        assert server.post(order(2)).status == 202


@pytest.mark.sqlite
def test_a_server_on_a_file_shows_no_list_of_servers(browser: Browser, server: ServerProcess) -> None:
    with opened(browser, server) as watched:
        expect(watched.page.locator("#total_orders")).to_have_text("0")
        expect(watched.page.locator("#servers")).to_be_hidden()
        assert "servers" not in server.get("/metrics").body
