"""The dashboard of a real server in a real Chromium."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import Watched, chromium
from tests.live_orders import post_all, wait_for_status
from tests.process import DEADLINE_S, ROOT, ServerProcess, order
from tests.receiver import SECRET, Delivery, Receiver, Reply
from tests.server.access import make_key
from tests.storage_faults import full_disk
from tests.user_module import UserModule

pytestmark = pytest.mark.slow

SHOP = """
    wish = (order.metadata or {}).get("wish")
    if wish == "fail" and not (HERE / "mended").exists():
        raise Rejected("declined <b>by the bank</b>")
    if wish == "wait":
        raise RetryLater(3_600, "closed until Monday")
"""
LARGEST = 2**63 - 1
NAME_OF = "each => `${each.tagName} ${each.id} ${each.getAttribute('aria-label') ?? each.textContent}`"
CONTROLS = "a[href], button, input, select"
POINTS_OF = r"""plot => [...plot.querySelectorAll('.line')].map(path => path.getAttribute('d')
    .match(/-?[\d.]+(?:e-?\d+)?/g)?.map(Number) ?? [])
    .map(numbers => ({
        seconds: numbers.filter((_, index) => index % 2 === 0),
        values: numbers.filter((_, index) => index % 2 === 1).map(value => -value),
    }))"""
"""JavaScript. Returns the points of each line of a plot. plot.js writes them as seconds and negated values."""
POINTS = f"({POINTS_OF})(document.querySelector('.plot'))"
POINTS_AS_LISTS = f"{POINTS}.map(({{seconds, values}}) => [seconds, values])"
NEXT_FRAME = "() => new Promise((resolve) => requestAnimationFrame(resolve))"
"""JavaScript. Waits until the charts show all events that the page has received."""
BROKEN = "CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING"
BROKEN_CONNECTION = re.compile(f"Failed to load resource: net::ERR_({BROKEN})")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=DEADLINE_S * 1_000)
    with chromium() as browser:
        yield browser


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "orders.db") as server:
        yield server


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[ServerProcess]:
    """`wish` in the metadata of an order makes the order fail or wait. No order fails once the file `mended` exists."""
    with UserModule(tmp_path, SHOP) as module, module.server() as server:
        yield server


@contextmanager
def opened(browser: Browser, server: ServerProcess, **options: Any) -> Iterator[Watched]:
    """Opens the dashboard. Fails the test after an error in the console or a request to another origin."""
    origin = f"http://127.0.0.1:{server.port}/"
    watched = Watched(browser, origin, **options)
    try:
        watched.page.goto(origin)
        yield watched
        assert watched.complaints == []
        assert watched.other_origins == []
    finally:
        watched.close()


def expect_live(page: Page) -> None:
    expect(page.locator("#link")).to_have_text("Live")


def until(page: Page, condition: str, argument: Any = None) -> None:
    page.wait_for_function(condition, arg=argument)


def list_of(page: Page, title: str) -> Locator:
    return page.locator("section.list", has=page.get_by_role("heading", name=title, exact=True))


def row_of(page: Page, title: str, order_id: int) -> Locator:
    return list_of(page, title).locator("tbody tr", has=page.get_by_role("button", name=str(order_id), exact=True))


def wish(order_id: int, what: str) -> dict[str, Any]:
    return order(order_id) | {"metadata": {"wish": what}}


def until_points(page: Page, count: int) -> None:
    """Waits until the first line of the first chart has this many points.

    A point without neighbours does not count, because the page draws it as a dot, not as a part of the line.
    """
    until(page, f"(count) => {POINTS}[0]?.seconds.length >= count", count)


def all_charts_drawn(page: Page) -> None:
    until(page, "() => document.querySelectorAll('.plot:has(.time)').length === 4")


def test_the_tiles_and_charts_show_a_load_of_a_thousand_orders(browser: Browser, server: ServerProcess) -> None:
    with opened(browser, server) as watched:
        page = watched.page
        expect_live(page)
        expect(page.locator("#total_orders")).to_have_text("0")
        load = subprocess.Popen(
            [sys.executable, "-m", "load", "--url", f"http://127.0.0.1:{server.port}"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        expect(page.locator("#total_orders")).to_have_text("1,000")
        expect(page.locator("#completed_orders")).to_have_text("1,000")
        assert load.wait(DEADLINE_S) == 0
        for name in ("pending", "processing", "failed", "cancelled"):
            expect(page.locator(f"#{name}_orders")).to_have_text("0")
        expect(list_of(page, "Latest").locator("tbody tr")).to_have_count(10)
        expect(list_of(page, "Latest").locator("tbody tr").first.locator(".status")).to_have_text("Completed")
        all_charts_drawn(page)
        peaks = page.evaluate(f"{POINTS}.map(({{values}}) => Math.max(...values))")
        assert len(peaks) == 2
        assert min(peaks) > 100


@pytest.mark.sqlite
def test_a_server_on_a_file_shows_no_list_of_servers(browser: Browser, server: ServerProcess) -> None:
    with opened(browser, server) as watched:
        expect(watched.page.locator("#total_orders")).to_have_text("0")
        expect(watched.page.locator("#servers")).to_be_hidden()
        assert "servers" not in server.get("/metrics").body


def test_a_single_order_is_a_dot_in_the_latency_chart(browser: Browser, server: ServerProcess) -> None:
    with opened(browser, server) as watched:
        all_charts_drawn(watched.page)
        post_all(server, [1])
        dots = watched.page.locator(".plot").nth(2).locator(".dots")
        for dot in (dots.first, dots.last):
            expect(dot).to_have_attribute("d", re.compile(r"^M[^M]+$"))
            assert dot.evaluate("path => getComputedStyle(path).strokeWidth") == "4px"


def test_a_chart_shows_the_values_at_the_pointer(browser: Browser, server: ServerProcess) -> None:
    with opened(browser, server) as watched:
        page = watched.page
        until_points(page, 2)
        plot = page.locator(".plot").first
        readout = plot.locator(".readout")
        expect(readout).to_be_hidden()
        box = plot.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 50, box["y"] + 50)
        expect(readout).to_be_visible()
        time_of_day, *values = readout.locator("*").all_text_contents()
        assert values == ["accepted : 0/s", "completed : 0/s"]
        now = datetime.now().astimezone()
        last_minute = [now - timedelta(seconds=seconds) for seconds in range(60)]
        assert time_of_day in [f"{moment:%H:%M:%S}" for moment in last_minute]
        page.mouse.move(0, 0)
        expect(readout).to_be_hidden()


def test_the_first_paint_waits_for_no_script(browser: Browser, server: ServerProcess) -> None:
    origin = f"http://127.0.0.1:{server.port}/"
    watched = Watched(browser, origin)
    try:
        watched.page.route("**/*.js", lambda route: None)  # This request never gets a response.
        watched.page.goto(origin, wait_until="commit")
        until(watched.page, "() => performance.getEntriesByName('first-contentful-paint').length === 1")
        assert any(url.endswith(".js") for url in watched.requested)
        expect(watched.page.locator("#link")).not_to_have_text("Live")
    finally:
        watched.close()


def test_a_failed_order_is_retried_by_its_button_and_becomes_completed(
    browser: Browser, shop: ServerProcess, tmp_path: Path
) -> None:
    assert shop.post(wish(1, "fail")).status == 202
    with opened(browser, shop) as watched:
        page = watched.page
        row = row_of(page, "Failed", 1)
        expect(row.locator(".error")).to_have_text("declined <b>by the bank</b>")
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
        row_of(page, "Latest", 1).get_by_role("button", name="1", exact=True).click()
        expect(page.get_by_role("dialog").locator("pre")).to_contain_text(script.replace('"', '\\"'))
        assert number in (page.get_by_role("dialog").locator("pre").text_content() or "")
        assert page.title() == "Orders"
        assert page.locator("pre script, pre img").count() == 0


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


def assert_begins_with(lines: list[Any], earlier: list[Any]) -> None:
    """Checks that the lines of a chart still have all points of `earlier`, at unchanged times."""
    for line, earlier_line in zip(lines, earlier, strict=True):
        assert [numbers[: len(before)] for numbers, before in zip(line, earlier_line, strict=True)] == earlier_line


def orders_in(seconds: list[float], values: list[float]) -> float:
    """The number of orders in a line of rates. The first point does not count, because its interval is unknown."""
    return sum(value * (later - earlier) for (earlier, later), value in zip(pairwise(seconds), values[1:], strict=True))


def test_a_reload_keeps_the_history_of_the_charts(browser: Browser, server: ServerProcess) -> None:
    with opened(browser, server) as watched:
        page = watched.page
        until_points(page, 1)
        post_all(server, range(1, 501))
        # Each line must end with a second without orders: then it includes all orders.
        until(page, f"() => {POINTS}.every(({{values}}) => values.some((value) => value > 0) && values.at(-1) === 0)")
        before = page.evaluate(POINTS_AS_LISTS)
        page.reload()
        until_points(page, len(before[0][0]))
        assert_begins_with(page.evaluate(POINTS_AS_LISTS), before)
        for seconds, values in before:
            assert orders_in(seconds, values) == pytest.approx(500, rel=0.05)


def tab_through(page: Page) -> list[str]:
    """The elements that the Tab key reaches, from the beginning of the page to its end."""
    describe = f"document.activeElement === document.body ? '' : ({NAME_OF})(document.activeElement)"
    reached: list[str] = []
    for _ in range(200):
        page.keyboard.press("Tab")
        name = page.evaluate(describe)
        if not name or name in reached:
            return reached
        reached.append(name)
    raise AssertionError("the Tab key did not reach the end of the page")


def test_the_keyboard_alone_reaches_every_control(browser: Browser, shop: ServerProcess, tmp_path: Path) -> None:
    for order_id, what in ((1, "fail"), (2, "wait"), (3, "nothing")):
        assert shop.post(wish(order_id, what)).status == 202
    with opened(browser, shop) as watched:
        page = watched.page
        expect(row_of(page, "Failed", 1)).to_be_visible()
        expect(row_of(page, "Latest", 2).get_by_role("button", name="Cancel order 2")).to_be_visible()
        all_charts_drawn(page)
        controls = page.locator(f":is({CONTROLS}):visible").evaluate_all(f"all => all.map({NAME_OF})")
        reached = tab_through(page)
        assert len(controls) > 12
        assert set(controls) - set(reached) == set()
        (tmp_path / "mended").touch()
        page.get_by_role("button", name="Retry all").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # opens the order
        expect(page.get_by_role("dialog")).to_contain_text("Order 1")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # presses the button Retry
        expect(page.locator("#failed_orders")).to_have_text("0")
        expect(list_of(page, "Failed").locator("tbody tr")).to_have_count(0)
        assert page.evaluate("document.activeElement !== document.body")


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


def test_orders_are_found_by_id_and_by_user(browser: Browser, server: ServerProcess) -> None:
    post_all(server, range(1, 200))
    user_id = order(42)["user_id"]
    with opened(browser, server) as watched:
        page = watched.page

        def find(what: str, number: str) -> None:
            page.get_by_role("combobox").select_option(what)
            page.get_by_placeholder("id").fill(number)
            page.keyboard.press("Enter")

        find("order", " 42 ")
        expect(row_of(page, "Order 42", 42)).to_be_visible()
        find("user", str(user_id))
        expect(list_of(page, f"Orders of user {user_id}").locator("tbody tr")).to_have_count(
            len([each for each in range(1, 200) if order(each)["user_id"] == user_id])
        )
        expect(list_of(page, "Order 42")).to_have_count(0)
        find("user", "98")
        expect(list_of(page, "Orders of user 98").locator(".empty")).to_have_text("There is no order of user 98.")
        find("order", "1.5")
        expect(page.locator("#notice")).to_contain_text("An id is a whole number")
        find("order", "12x")
        expect(page.locator("#notice")).to_contain_text("An id is a whole number")
        find("order", str(LARGEST + 1))
        expect(page.locator("#notice")).to_contain_text("An id is a whole number")
        page.get_by_role("button", name="Close", exact=True).click()
        expect(list_of(page, "Orders of user 98")).to_have_count(0)
        find("order", "1,000,000")
        expect(list_of(page, "Order 1000000").locator(".empty")).to_have_text("There is no order 1000000.")
        # The browser logs the 404 to its console.
        assert watched.complaints.pop().startswith("Failed to load resource: the server responded with a status of 404")


def test_the_button_show_more_extends_a_list(browser: Browser, server: ServerProcess) -> None:
    post_all(server, range(1, 26))
    with opened(browser, server) as watched:
        latest = list_of(watched.page, "Latest")
        expect(latest.locator("tbody tr")).to_have_count(10)
        latest.get_by_role("button", name="Show more").click()
        expect(latest.locator("tbody tr")).to_have_count(20)
        latest.get_by_role("button", name="Show more").click()
        expect(latest.locator("tbody tr")).to_have_count(25)
        expect(latest.get_by_role("button", name="Show more")).to_be_hidden()
        expect(latest.get_by_role("heading")).to_be_focused()


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


def test_the_page_asks_for_a_key_and_stores_it_for_the_tab_only(browser: Browser, tmp_path: Path) -> None:
    key = make_key(tmp_path / "keys.txt", "desk", "write")
    with ServerProcess(tmp_path / "orders.db", "--api-keys", str(tmp_path / "keys.txt")) as server:
        with opened(browser, server) as watched:
            page = watched.page
            dialog = page.get_by_role("dialog", name="API key")
            expect(dialog).to_be_visible()
            for _ in range(4):
                page.keyboard.press("Escape")
            expect(dialog).to_be_visible()
            dialog.get_by_role("textbox", name="Key").fill("wrong key")
            page.keyboard.press("Enter")
            expect(dialog).to_contain_text("This can't be a key")
            dialog.get_by_role("textbox", name="Key").fill(key)
            page.keyboard.press("Enter")
            expect_live(page)
            expect(page.locator("#total_orders")).to_have_text("0")
            page.reload()
            expect_live(page)
            assert key not in "".join(watched.requested) + page.url
            assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 1]
            other = page.context.new_page()
            other.goto(page.url)
            expect(other.get_by_role("dialog", name="API key")).to_be_visible()
            other.close()
            page.get_by_role("button", name="Forget the key").click()
            expect(dialog).to_be_visible()
            assert page.evaluate("sessionStorage.length") == 0
        assert key not in server.log


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


@pytest.mark.parametrize("scope", ["read", "write"])
def test_a_key_that_may_not_pause_gets_no_button(browser: Browser, tmp_path: Path, scope: str) -> None:
    key = make_key(tmp_path / "keys.txt", "desk", scope)
    admin = make_key(tmp_path / "keys.txt", "chief", "admin")
    flags = ("--api-keys", str(tmp_path / "keys.txt"))
    with ServerProcess(tmp_path / "orders.db", *flags) as server, opened(browser, server) as watched:
        page = watched.page
        page.get_by_role("textbox", name="Key").fill(key)
        page.keyboard.press("Enter")
        expect_live(page)
        expect(page.locator("#total_orders")).to_have_text("0")
        expect(page.get_by_role("button", name="Pause processing")).to_be_hidden()
        with server.client() as client:
            client.request("POST", "/processing/pause", headers={"Authorization": f"Bearer {admin}"})
            assert client.answer().status == 200
        expect(page.locator("#paused")).to_be_visible()
        expect(page.get_by_role("button", name="Resume processing")).to_be_hidden()


def test_an_unknown_key_is_rejected_and_another_one_can_be_entered(browser: Browser, tmp_path: Path) -> None:
    key = make_key(tmp_path / "keys.txt", "desk", "read")
    with ServerProcess(tmp_path / "orders.db", "--api-keys", str(tmp_path / "keys.txt")) as server:
        origin = f"http://127.0.0.1:{server.port}/"
        watched = Watched(browser, origin)
        page = watched.page
        page.goto(origin)
        dialog = page.get_by_role("dialog", name="API key")
        dialog.get_by_role("textbox", name="Key").fill("ord_unknown")
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("This is none of the API keys known here.")
        dialog.get_by_role("textbox", name="Key").fill(key)
        page.keyboard.press("Enter")
        expect_live(page)
        watched.close()
        assert watched.complaints == [
            "Failed to load resource: the server responded with a status of 401 (Unauthorized)"
        ]


def test_an_action_with_a_read_only_key_shows_the_error(browser: Browser, tmp_path: Path) -> None:
    reading, writing = (make_key(tmp_path / "keys.txt", scope, scope) for scope in ("read", "write"))
    with UserModule(tmp_path, SHOP) as module, module.server("--api-keys", str(tmp_path / "keys.txt")) as server:
        with server.client() as client:
            client.request(
                "POST",
                "/order",
                json.dumps(wish(1, "fail")),
                {"Content-Type": "application/json", "Authorization": f"Bearer {writing}"},
            )
            assert client.answer().status == 202
        origin = f"http://127.0.0.1:{server.port}/"
        watched = Watched(browser, origin)
        page = watched.page
        page.goto(origin)
        page.get_by_role("textbox", name="Key").fill(reading)
        page.keyboard.press("Enter")
        row_of(page, "Failed", 1).get_by_role("button", name="Retry order 1").click()
        expect(page.locator("#notice")).to_contain_text("The scope of this key is read; the request needs write.")
        expect(row_of(page, "Failed", 1)).to_be_visible()
        watched.close()
        assert watched.complaints == ["Failed to load resource: the server responded with a status of 403 (Forbidden)"]
        assert watched.other_origins == []


def test_an_open_page_asks_for_a_key_once_the_server_requires_one(browser: Browser, tmp_path: Path) -> None:
    key = make_key(tmp_path / "keys.txt", "desk", "read")
    with ServerProcess(tmp_path / "orders.db") as server:
        port = server.port
        watched = Watched(browser, f"http://127.0.0.1:{port}/")
        page = watched.page
        page.goto(f"http://127.0.0.1:{port}/")
        expect_live(page)
        server.kill()
    with ServerProcess(tmp_path / "orders.db", "--port", str(port), "--api-keys", str(tmp_path / "keys.txt")):
        page.get_by_role("textbox", name="Key").fill(key)
        page.keyboard.press("Enter")
        expect_live(page)
        expect(page.locator("#alarm")).to_be_hidden()
        watched.close()


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


def test_the_result_of_an_action_in_a_dialog_is_shown_in_the_dialog(browser: Browser, shop: ServerProcess) -> None:
    assert shop.post(wish(1, "fail")).status == 202
    with opened(browser, shop) as watched:
        page = watched.page
        row_of(page, "Failed", 1).get_by_role("button", name="1", exact=True).click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Retry order 1").click()
        expect(dialog.get_by_role("status")).to_have_text("Order 1 will be tried again.")
        dialog.get_by_role("button", name="Close the message").click()
        expect(dialog.get_by_role("status")).to_have_text("")


def test_the_dialog_shows_the_attempts_and_retries_a_waiting_order_now(browser: Browser, shop: ServerProcess) -> None:
    assert shop.post(wish(1, "wait")).status == 202
    with opened(browser, shop) as watched:
        page = watched.page
        row_of(page, "Latest", 1).get_by_role("button", name="1", exact=True).click()
        dialog = page.get_by_role("dialog")
        attempts = dialog.get_by_role("list", name="Attempts").get_by_role("listitem")
        expect(attempts).to_have_count(1)
        expect(attempts).to_contain_text(["closed until Monday"])
        expect(dialog).to_contain_text(wait_for_status(shop, 1, "Pending")["next_attempt_at"])
        dialog.get_by_role("button", name="Retry order 1").click()
        expect(dialog.get_by_role("status")).to_have_text("Order 1 will be tried again.")
        expect(attempts).to_have_count(2)
        expect(attempts.last).to_contain_text("Attempt 2")
        expect(dialog.get_by_role("button", name="Cancel order 1")).to_be_visible()


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_a_change_of_the_systems_color_scheme(
    browser: Browser, server: ServerProcess, scheme: str
) -> None:
    other = {"light": "dark", "dark": "light"}[scheme]
    stroke = "getComputedStyle(document.querySelector('.plot .line')).stroke"
    look = f"[getComputedStyle(document.body).backgroundColor, {stroke}]"
    with opened(browser, server, color_scheme=scheme) as watched:
        page = watched.page
        all_charts_drawn(page)
        before = page.evaluate(look)
        page.emulate_media(color_scheme=other)  # type: ignore[arg-type]  # the parameter is a Literal
        until(page, f"before => {look}.every((each, index) => each !== before[index])", before)


@pytest.mark.parametrize("width", [320, 390, 768, 1_440])
def test_nothing_is_wider_than_the_screen(browser: Browser, shop: ServerProcess, width: int) -> None:
    for order_id, what in ((LARGEST, "fail"), (LARGEST - 1, "wait")):
        assert shop.post(wish(order_id, what) | {"user_id": LARGEST, "total_amount": 9_999_999_999.9999}).status == 202
    with opened(browser, shop, viewport={"width": width, "height": 800}) as watched:
        page = watched.page
        expect(row_of(page, "Failed", LARGEST)).to_be_visible()
        all_charts_drawn(page)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        for control in page.locator(f":is({CONTROLS}):visible:not(.skip)").all():
            box = control.bounding_box()
            assert box is not None
            assert 0 <= box["x"] <= box["x"] + box["width"] <= width
