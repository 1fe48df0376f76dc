"""Tests the configuration of a load balancer in models/README.md: one of two servers is killed and started again.

The dashboard goes on, in a real Chromium.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import Watched, chromium
from tests.postgresql.databases import temporary_database
from tests.process import DEADLINE_S, Client, ServerProcess, free_port, need, order, wait_until
from tests.readme import MODELS, example
from tests.user_module import UserModule

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

CADDYFILE = """
{
    admin off
    auto_https off
    default_bind 127.0.0.1
}
"""
OF_THE_KILL = re.compile(r"Failed to load resource: (net::ERR_|the server responded with a status of 502)")
"""What Chromium writes to the console about a request that the killed server was responding to."""
SHOP = """
    if order.order_id == 1:
        tell(order)
        if order.attempt == 1:
            wait_at_gate()
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=DEADLINE_S * 1_000)
    with chromium() as browser:
        yield browser


@contextmanager
def balancer(folder: Path, *servers: ServerProcess) -> Iterator[Client]:
    """A client of Caddy, with the configuration of the page."""
    need("caddy")
    listener, port = free_port()
    listener.close()
    text = example("lb_policy", MODELS).text
    for number, server in enumerate(servers, start=1):
        assert f"10.0.0.{number}:8080" in text
        text = text.replace(f"10.0.0.{number}:8080", f"127.0.0.1:{server.port}")
    (folder / "Caddyfile").write_text(CADDYFILE + text.replace(":80 {", f":{port} {{"))
    command = ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    with (
        (folder / "caddy.log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)}) as process,
    ):
        try:
            client = Client(port)
            wait_until(lambda: client.ask("GET", "/readyz").status == 200)
            yield client
        finally:
            client.close()
            process.kill()


def row_of(page: Page, server: ServerProcess) -> Locator:
    return page.locator("#servers tbody tr").filter(has_text=re.compile(rf":{server.pid}\b"))


def serves(page: Page, server: ServerProcess) -> bool:
    """Whether the page reads the events of this server."""
    return "(this server)" in row_of(page, server).inner_text()


def latest(page: Page, order_id: int) -> Locator:
    name = page.get_by_role("heading", name="Latest", exact=True)
    link = page.get_by_role("link", name=str(order_id), exact=True)
    return page.locator("section.list", has=name).locator("tbody tr", has=link)


def post_until_accepted(client: Client, order_id: int) -> None:
    """Sends the order again after each error of the balancer."""

    def is_accepted() -> bool:
        status = client.post(order(order_id)).status
        assert status in (202, 502, 503)
        return status == 202

    wait_until(is_accepted)


def test_the_dashboard_continues_on_the_other_server_when_one_is_killed(browser: Browser, tmp_path: Path) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(temporary_database())
        module = stack.enter_context(UserModule(tmp_path, SHOP))
        servers = [stack.enter_context(module.server("--database", url)) for _ in range(2)]
        client = stack.enter_context(balancer(tmp_path, *servers))
        watched = Watched(browser, f"http://127.0.0.1:{client.port}/", viewport={"width": 390, "height": 800})
        page = watched.page
        page.goto(f"http://127.0.0.1:{client.port}/")
        for server in servers:
            expect(row_of(page, server).locator(".status")).to_have_text("Alive")
        [lost] = [server for server in servers if serves(page, server)]
        [other] = [server for server in servers if server is not lost]
        assert lost.post(order(1)).status == 202
        assert module.call().attempt == 1
        expect(row_of(page, lost).locator(".processing")).to_have_text("1")
        for order_id in (2, 3):
            post_until_accepted(client, order_id)
        expect(page.locator("#completed_orders")).to_have_text("2")
        page.evaluate("window.isSamePage = true")
        lost.kill()
        # The page reads the events of the other server, without an action of the user, and shows what changes.
        expect(row_of(page, other).locator(".id")).to_contain_text("(this server)")
        expect(page.locator("#link")).to_have_text("Live")
        expect(page.locator("#alarm")).to_be_hidden()
        post_until_accepted(client, 4)
        expect(latest(page, 4).locator(".status")).to_have_text("Completed")
        # The other server takes over the order of the killed one.
        assert module.call().attempt == 2
        expect(row_of(page, lost)).to_have_count(0)
        expect(latest(page, 1).locator(".attempts")).to_have_text("2")
        expect(latest(page, 1).locator(".status")).to_have_text("Completed")
        expect(page.locator("#completed_orders")).to_have_text("4")
        again = stack.enter_context(module.server("--port", str(lost.port), "--database", url))
        expect(row_of(page, again).locator(".status")).to_have_text("Alive")
        expect(page.locator("#servers tbody tr")).to_have_count(2)
        assert page.evaluate("window.isSamePage")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        watched.close()
        assert [text for text in watched.complaints if not OF_THE_KILL.match(text)] == []
        assert watched.other_origins == []
