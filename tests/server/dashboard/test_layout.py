"""The layout, the colors and the keyboard control of the dashboard, in a real Chromium."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import Watched
from tests.process import ServerProcess
from tests.server.dashboard.pages import LARGEST, expect_live, list_of, opened, rejected, row_of, until, wish
from tests.server.dashboard.plots import all_charts_drawn

pytestmark = pytest.mark.slow

NAME_OF = "each => `${each.tagName} ${each.id || each.name} ${each.getAttribute('aria-label') ?? each.textContent}`"
CONTROLS = "a[href], button, input, select"


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


def tab_through(page: Page) -> list[str]:
    """The elements that the Tab key reaches, from the beginning of the page to its end."""
    describe = f"document.activeElement === document.body ? '' : ({NAME_OF})(document.activeElement)"
    reached: list[str] = []
    for _ in range(200):
        page.keyboard.press("Tab")
        name = page.evaluate(describe)
        if reached and name == reached[-1]:  # A field for a time has several parts.
            continue
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
        page.get_by_role("link", name="All failed orders").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # opens the order
        expect(page.get_by_role("heading", name="Order 1", exact=True)).to_be_focused()
        page.go_back()
        expect(row_of(page, "Failed", 1).get_by_role("link", name="1", exact=True)).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # presses the button Retry
        expect(page.locator("#failed_orders")).to_have_text("0")
        expect(list_of(page, "Failed").locator("tbody tr")).to_have_count(0)
        assert page.evaluate("document.activeElement !== document.body")


@pytest.mark.parametrize("view", ["/orders?user_id=4000", "/order/4000"])
def test_the_keyboard_alone_reaches_every_control_of_each_view(
    browser: Browser, shared_shop: ServerProcess, view: str
) -> None:
    # In the second run, the orders are already stored.
    assert shared_shop.post(rejected(4_000, "<p>declined</p>", user_id=4_000)).status == 202
    assert shared_shop.post(wish(4_001, "wait") | {"user_id": 4_000}).status == 202
    with opened(browser, shared_shop, view) as watched:
        page = watched.page
        expect_live(page)
        expect(page.locator("#lists").get_by_role("button", name="Retry order 4000")).to_be_visible()
        controls = page.locator(f":is({CONTROLS}, summary):visible").evaluate_all(f"all => all.map({NAME_OF})")
        assert len(controls) > 15
        assert set(controls) - set(tab_through(page)) == set()


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
        assert_fits(page, width)
        page.evaluate("location.hash = '#/orders'")
        page.get_by_role("checkbox", name="Select all 2").check()
        page.locator("#filter").evaluate("details => { details.open = true; }")
        assert_fits(page, width)
        page.evaluate(f"location.hash = '#/order/{LARGEST - 1}'")
        expect(page.locator("#order").get_by_role("list", name="Timeline")).to_be_visible()
        assert_fits(page, width)


def assert_fits(page: Page, width: int) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for control in page.locator(f":is({CONTROLS}):visible:not(.skip)").all():
        box = control.bounding_box()
        assert box is not None
        assert 0 <= box["x"] <= box["x"] + box["width"] <= width


def test_on_a_phone_failed_orders_come_first(browser: Browser, shop: ServerProcess) -> None:
    before = (
        "([first, second]) => document.querySelector(first).compareDocumentPosition(document.querySelector(second)) & 4"
    )
    with opened(browser, shop, viewport={"width": 390, "height": 844}) as watched:
        page = watched.page
        expect(page.get_by_text("No order has failed.")).to_be_visible()
        assert page.evaluate(before, [".tiles", "#failed"])
        for order_id in range(1, 6):
            assert shop.post(wish(order_id, "fail")).status == 202
        expect(row_of(page, "Failed", 5)).to_be_visible()
        assert page.evaluate(before, ["#failed", ".tiles"])
        assert (page.locator("#failed").bounding_box() or {"y": 844})["y"] < 150
        expect(list_of(page, "Failed").locator("tbody tr")).to_have_count(3)
        page.set_viewport_size({"width": 1_440, "height": 900})
        expect(list_of(page, "Failed").locator("tbody tr")).to_have_count(5)
        assert page.evaluate(before, [".tiles", "#failed"])
