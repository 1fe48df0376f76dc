"""Opens the dashboard in a browser, and finds its parts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import Watched
from tests.process import ServerProcess, order

LARGEST = 2**63 - 1
SHOP = """
    wish = (order.metadata or {}).get("wish")
    if wish == "fail" and not (HERE / "mended").exists():
        raise Rejected("declined <b>by the bank</b>")
    if wish == "wait":
        raise RetryLater(3_600, "closed until Monday")
"""


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
