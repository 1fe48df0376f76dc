"""The dashboard of a server that requires API keys, in a real Chromium."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import Watched
from tests.process import ServerProcess
from tests.server.access import make_key
from tests.server.dashboard.pages import SHOP, expect_live, opened, row_of, wish
from tests.user_module import UserModule

pytestmark = pytest.mark.slow


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
