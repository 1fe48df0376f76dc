"""axe-core finds no fault in any state of the dashboard (WCAG 2.2 AA, and axe's best practices)."""

import os
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, expect

from handlers.security.api_keys import Scope, new_key
from tests.process import ServerProcess
from tests.server.dashboard.pages import expect_live, failed_requests, list_of, opened, rejected, row_of, wish

pytestmark = pytest.mark.slow

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OPTIONS = {"resultTypes": ["violations"], "preload": False}  # axe would request the style sheets again
PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1>nginx</body></html>"
FAILED, HTML, WAITING, DONE, OTHER = range(71, 76)


def faults(page: Page) -> list[str]:
    """What axe-core finds in light colors, and which contrast is too low in dark colors, with the elements."""
    found: list[dict[str, Any]] = []
    schemes: tuple[tuple[Literal["light", "dark"], list[str]], ...] = (("light", RULES), ("dark", ["color-contrast"]))
    for scheme, rules in schemes:
        page.emulate_media(color_scheme=scheme)
        found += Axe().run(page, options=OPTIONS | {"runOnly": rules}).response["violations"]
    return [f"{rule['id']}: {rule['help']}: {[each['html'] for each in rule['nodes']]}" for rule in found]


@pytest.fixture(scope="module")
def varied_shop(shared_shop: ServerProcess) -> ServerProcess:
    """A shop with Completed, Failed and waiting orders."""
    bodies = [
        rejected(FAILED, "declined"),
        rejected(HTML, PAGE),
        wish(WAITING, "wait"),
        wish(DONE, "nothing"),
        rejected(OTHER, "declined"),
    ]
    for body in bodies:
        assert shared_shop.post(body).status == 202
    return shared_shop


@pytest.mark.parametrize("width", [390, 1_440])
def test_axe_finds_nothing_in_any_view(browser: Browser, varied_shop: ServerProcess, width: int) -> None:
    with opened(browser, varied_shop, viewport={"width": width, "height": 900}) as watched:
        page = watched.page
        expect_live(page)
        expect(row_of(page, "Failed", OTHER)).to_be_visible()
        assert faults(page) == []
        page.get_by_role("button", name="Pause processing").click()
        assert faults(page) == []
        page.get_by_role("dialog").get_by_role("button", name="No").click()

        page.evaluate("location.hash = '#/orders?status=Failed'")
        failed = list_of(page, "Failed orders")
        expect(failed.get_by_role("link", name=str(HTML), exact=True)).to_be_visible()
        assert faults(page) == []
        page.get_by_role("checkbox", name=f"Select order {FAILED}").check()
        page.locator("#filter").evaluate("details => { details.open = true; }")
        assert faults(page) == []

        page.route(
            "**/retry", lambda route: route.fulfill(status=409, json={"title": "no", "detail": "It is Cancelled."})
        )
        page.get_by_role("button", name="Retry selected (1)").click()
        page.get_by_role("dialog").get_by_role("button", name="Retry", exact=True).click()
        expect(page.get_by_role("dialog", name="Not all orders were changed")).to_be_visible()
        assert faults(page) == []
        page.get_by_role("dialog").get_by_role("button", name="Close").click()
        assert failed_requests(watched) == {"409 (Conflict)"}

        page.evaluate("location.hash = '#/orders?status=Pending'")
        expect(row_of(page, "Pending orders", WAITING)).to_be_visible()
        assert faults(page) == []
        page.evaluate("location.hash = '#/orders?user_id=987654321'")
        expect(page.get_by_text("There are no orders of user 987654321.")).to_be_visible()
        assert faults(page) == []

        for order_id in (HTML, WAITING, DONE):
            page.evaluate(f"location.hash = '#/order/{order_id}'")
            expect(page.get_by_role("article", name=f"Order {order_id}").get_by_role("list")).to_be_visible()
            assert faults(page) == []
        page.evaluate("location.hash = '#/order/none'")
        expect(page.get_by_text("none is not the id of an order.")).to_be_visible()
        assert faults(page) == []


def test_axe_finds_nothing_in_the_dialog_for_the_key(browser: Browser, tmp_path: Path) -> None:
    _, line = new_key("desk", Scope.READ, entropy=os.urandom)
    (tmp_path / "keys.txt").write_text(line)
    flags = ("--api-keys", str(tmp_path / "keys.txt"))
    with ServerProcess(tmp_path / "orders.db", *flags) as server, opened(browser, server) as watched:
        expect(watched.page.get_by_role("dialog", name="API key")).to_be_visible()
        assert faults(watched.page) == []
