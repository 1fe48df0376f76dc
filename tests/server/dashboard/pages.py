"""Opens the dashboard in a browser, and finds its parts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import Watched
from tests.process import ServerProcess, order, wait_until

LARGEST = 2**63 - 1
SHOP = """
    wish = (order.metadata or {}).get("wish")
    if wish == "fail" and not (HERE / "mended").exists():
        raise Rejected("declined <b>by the bank</b>")
    if wish == "wait":
        raise RetryLater(3_600, "closed until Monday")
    if wish == "reject":
        raise Rejected(order.metadata["error"])
"""


@contextmanager
def opened(browser: Browser, server: ServerProcess, view: str = "", **options: Any) -> Iterator[Watched]:
    """Opens the dashboard. Fails the test after an error in the console or a request to another origin.

    `view` is the part of the URL after the #.
    """
    origin = f"http://127.0.0.1:{server.port}/"
    watched = Watched(browser, origin, **options)
    try:
        watched.page.goto(f"{origin}#{view}" if view else origin)
        yield watched
        assert watched.complaints == []
        assert watched.other_origins == []
    finally:
        watched.close()


def failed_requests(watched: Watched, count: int = 1) -> set[str]:
    """Waits until the browser has logged this number of failed requests to its console. Returns the different reasons.

    After that, the test no longer fails because of these messages.
    """
    wait_until(lambda: bool(watched.page.evaluate("true")) and len(watched.complaints) >= count)
    reasons = {text.removeprefix("Failed to load resource: ") for text in watched.complaints}
    watched.complaints.clear()
    return {text.removeprefix("the server responded with a status of ") for text in reasons}


def expect_live(page: Page) -> None:
    expect(page.locator("#link")).to_have_text("Live")


def until(page: Page, condition: str, argument: Any = None) -> None:
    page.wait_for_function(condition, arg=argument)


def list_of(page: Page, title: str) -> Locator:
    return page.locator("section.list", has=page.get_by_role("heading", name=title, exact=True))


def row_of(page: Page, title: str, order_id: int) -> Locator:
    return list_of(page, title).locator("tbody tr", has=page.get_by_role("link", name=str(order_id), exact=True))


def wish(order_id: int, what: str) -> dict[str, Any]:
    return order(order_id) | {"metadata": {"wish": what}}


def rejected(order_id: int, error: str, **fields: Any) -> dict[str, Any]:
    """An order that becomes Failed with this error."""
    return order(order_id) | fields | {"metadata": {"wish": "reject", "error": error}}


def ids_in(rows: Locator) -> list[int]:
    """The ids of the orders in these rows of a list."""
    return [int(text) for text in rows.locator(".id").all_text_contents()]
