"""One order on the dashboard, in a real Chromium."""

import json
import re

import pytest
from playwright.sync_api import Browser, expect

from tests.live_orders import wait_for_status
from tests.process import ServerProcess, order
from tests.server.dashboard.pages import opened, row_of, wish

pytestmark = pytest.mark.slow


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


def test_only_markup_is_removed_from_errors(browser: Browser, server: ServerProcess) -> None:
    cases = {
        "a < b, <class 'ValueError'>, List<B>": "a < b, <class 'ValueError'>, List<B>",
        "no &amp; yes": "no &amp; yes",
        "two<br>lines": "two\nlines",
        "1 &times; <b>closed</b>": "1 \N{MULTIPLICATION SIGN} closed",
        "<title>T</title><h1>T is down</h1><p>now": "T is down\nnow",
        "<html><head><style>b { color: red }</style></head><!-- <b> --><body>cut <b of": "cut",
        "<html><script>let a = 1": "A page without text",
        "<!DOCTYPE html><pre>one\n  two</pre>": "one\ntwo",
    }
    read = (
        "async errors => { const { readable } = await import('/dashboard/readable.js'); return errors.map(readable); }"
    )
    with opened(browser, server) as watched:
        assert watched.page.evaluate(read, list(cases)) == list(cases.values())
