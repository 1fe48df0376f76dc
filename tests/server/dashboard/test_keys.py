"""The dashboard of a server that requires API keys, in a real Chromium."""

import json
import os
import re
import signal
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect

from handlers.security.api_keys import SCOPES, Scope, new_key, parse_scope
from tests.browser import Watched
from tests.process import ServerProcess, wait_until
from tests.server.access import ask
from tests.server.dashboard.pages import SHOP, expect_live, opened, row_of, wish
from tests.user_module import UserModule

pytestmark = pytest.mark.slow


class ShopWithKeys(NamedTuple):
    """A server that requires API keys, and a key for each scope. Order 1 is Failed, order 2 waits for a retry."""

    server: ServerProcess
    keys: Mapping[str, str]


@pytest.fixture(scope="module")
def shop_with_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopWithKeys]:
    folder = tmp_path_factory.mktemp("shop_with_keys")
    made = {scope: new_key(scope, parse_scope(scope), entropy=os.urandom) for scope in SCOPES}
    (folder / "keys.txt").write_text("\n".join(line for _, line in made.values()))
    keys = {scope: key for scope, (key, _) in made.items()}
    with UserModule(folder, SHOP) as module, module.server("--api-keys", str(folder / "keys.txt")) as server:
        for order_id, what in ((1, "fail"), (2, "wait")):
            body = json.dumps(wish(order_id, what)).encode()
            assert ask(server, "POST", "/order", keys["write"], body).status == HTTPStatus.ACCEPTED
        yield ShopWithKeys(server, keys)


def enter(page: Page, key: str) -> None:
    """Enters the key in the dialog, and waits until the page is connected."""
    page.get_by_role("dialog", name="API key").get_by_role("textbox", name="Key").fill(key)
    page.keyboard.press("Enter")
    expect_live(page)
    expect(page.locator("#total_orders")).to_have_text(re.compile(r"\d"))


def test_the_page_asks_for_a_key_and_stores_it_for_the_tab_only(browser: Browser, shop_with_keys: ShopWithKeys) -> None:
    server, keys = shop_with_keys
    key = keys["write"]
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
        enter(page, key)
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


def test_an_unknown_key_is_rejected_and_another_one_can_be_entered(
    browser: Browser, shop_with_keys: ShopWithKeys
) -> None:
    server, keys = shop_with_keys
    watched = Watched(browser, f"http://127.0.0.1:{server.port}/")
    page = watched.page
    page.goto(f"http://127.0.0.1:{server.port}/")
    dialog = page.get_by_role("dialog", name="API key")
    dialog.get_by_role("textbox", name="Key").fill("ord_unknown")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("This is none of the API keys known here.")
    enter(page, keys["read"])
    watched.close()
    assert watched.complaints == ["Failed to load resource: the server responded with a status of 401 (Unauthorized)"]


@pytest.mark.parametrize("scope", SCOPES)
def test_actions_that_a_key_may_not_perform_are_not_offered(
    browser: Browser, shop_with_keys: ShopWithKeys, scope: str
) -> None:
    server, keys = shop_with_keys
    can_write, is_admin = scope != "read", scope == "admin"
    with opened(browser, server) as watched:
        page = watched.page
        enter(page, keys[scope])
        row = row_of(page, "Failed", 1)
        expect(row).to_be_visible()
        expect(row.get_by_role("button", name="Retry order 1")).to_be_visible(visible=can_write)
        expect(row_of(page, "Latest", 2).get_by_role("button", name="Cancel order 2")).to_be_visible(visible=can_write)
        expect(page.get_by_role("button", name="Retry all")).to_be_visible(visible=is_admin)
        expect(page.get_by_role("button", name="Pause processing")).to_be_visible(visible=is_admin)
        page.get_by_role("link", name="All failed orders").click()
        expect(row_of(page, "Failed orders", 1)).to_be_visible()
        expect(page.get_by_role("button", name="Retry all")).to_be_visible(visible=is_admin)
        expect(page.get_by_role("checkbox", name="Select order 1")).to_be_visible(visible=can_write)
        expect(page.get_by_role("checkbox", name="Select all 1")).to_be_visible(visible=can_write)
        page.get_by_role("link", name="1", exact=True).click()
        shown = page.get_by_role("article", name="Order 1")
        expect(shown.get_by_role("list", name="Timeline")).to_be_visible()
        expect(shown.get_by_role("button", name="Retry order 1")).to_be_visible(visible=can_write)
        assert ask(server, "POST", "/processing/pause", keys["admin"]).status == 200
        expect(page.locator("#paused")).to_be_visible()
        expect(page.get_by_role("button", name="Resume processing")).to_be_visible(visible=is_admin)
        assert ask(server, "POST", "/processing/resume", keys["admin"]).status == 200
        expect(page.locator("#paused")).to_be_hidden()


def test_an_action_that_the_key_may_no_longer_perform_shows_the_error(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    key, line = new_key("desk", Scope.WRITE, entropy=os.urandom)
    file.write_text(line)
    with UserModule(tmp_path, SHOP) as module, module.server("--api-keys", str(file)) as server:
        assert ask(server, "POST", "/order", key, json.dumps(wish(1, "fail")).encode()).status == 202
        watched = Watched(browser, f"http://127.0.0.1:{server.port}/")
        page = watched.page
        page.goto(f"http://127.0.0.1:{server.port}/")
        enter(page, key)
        retry = row_of(page, "Failed", 1).get_by_role("button", name="Retry order 1")
        expect(retry).to_be_visible()
        file.write_text(line.replace(" write ", " read "))
        server.signal(signal.SIGHUP)
        wait_until(lambda: ask(server, "POST", "/order/1/cancel", key).status == HTTPStatus.FORBIDDEN)
        retry.click()
        expect(page.locator("#notice")).to_contain_text("The scope of this key is read; the request needs write.")
        expect(row_of(page, "Failed", 1)).to_be_visible()
        watched.close()
        assert watched.complaints == ["Failed to load resource: the server responded with a status of 403 (Forbidden)"]
        assert watched.other_origins == []


def test_an_open_page_asks_for_a_key_once_the_server_requires_one(browser: Browser, tmp_path: Path) -> None:
    key, line = new_key("desk", Scope.READ, entropy=os.urandom)
    (tmp_path / "keys.txt").write_text(line)
    with ServerProcess(tmp_path / "orders.db") as server:
        port = server.port
        watched = Watched(browser, f"http://127.0.0.1:{port}/")
        page = watched.page
        page.goto(f"http://127.0.0.1:{port}/")
        expect_live(page)
        server.kill()
    with ServerProcess(tmp_path / "orders.db", "--port", str(port), "--api-keys", str(tmp_path / "keys.txt")):
        enter(page, key)
        expect(page.locator("#alarm")).to_be_hidden()
        watched.close()
