"""Tests several servers on one database: the list of servers on the dashboard, and the divided rate limits."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import Watched, chromium
from tests.postgresql.databases import connect, execute, temporary_database
from tests.process import DEADLINE_S, ServerProcess, order, wait_until
from tests.server.servers import servers_on
from tests.user_module import UserModule

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=DEADLINE_S * 1_000)
    with chromium() as browser:
        yield browser


def servers_in_metrics(server: ServerProcess) -> list[dict[str, Any]]:
    return list(server.get("/metrics").body["servers"])


def row_of(page: Page, server: ServerProcess) -> Locator:
    return page.locator("#servers tbody tr").filter(has_text=re.compile(rf":{server.pid}\b"))


def test_the_dashboard_lists_the_servers_and_what_they_process(browser: Browser, tmp_path: Path) -> None:
    with (
        temporary_database() as url,
        servers_on(url) as start,
        UserModule(tmp_path, "tell(order)\nwait_at_gate()") as module,
        module.server("--database", url) as busy,
        connect(url) as other,
    ):
        assert busy.post(order(1)).status == 202
        module.call()
        shown = start()
        watched = Watched(browser, f"http://127.0.0.1:{shown.port}/", viewport={"width": 390, "height": 800})
        page = watched.page
        page.goto(f"http://127.0.0.1:{shown.port}/")
        for server, name, processing in ((busy, f"{busy.pid}", "1"), (shown, f"{shown.pid} (this server)", "0")):
            row = row_of(page, server)
            expect(row.locator(".id")).to_have_text(re.compile(f":{re.escape(name)}$"))
            expect(row.locator(".status")).to_have_text("Alive")
            expect(row.locator(".processing")).to_have_text(processing)
        expect(page.locator("#servers tbody tr")).to_have_count(2)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        [number] = [each["number"] for each in servers_in_metrics(shown) if each["name"].endswith(f":{busy.pid}")]
        busy.signal(signal.SIGSTOP)
        with other.transaction():
            # Nobody can take over a server whose row is locked.
            execute(other, "SELECT 1 FROM nodes WHERE node = %s FOR UPDATE", number)
            expect(row_of(page, busy).locator(".status")).to_have_text("Not responding")
            expect(row_of(page, busy).locator(".seen")).to_have_text(re.compile(r"^\d+ s ago$"))
        expect(row_of(page, busy)).to_have_count(0)
        busy.signal(signal.SIGCONT)
        expect(row_of(page, busy).locator(".status")).to_have_text("Alive")
        [again] = [each["number"] for each in servers_in_metrics(shown) if each["name"].endswith(f":{busy.pid}")]
        assert again > number
        module.open_gate()
        assert shown.stop() == 0
        watched.close()
        assert watched.other_origins == []


def test_servers_divide_the_rate_limit() -> None:
    limit = 1_000_000

    def remaining(server: ServerProcess) -> int:
        found = re.fullmatch(r'"default";r=(\d+);t=\d+', str(server.get("/metrics").headers["RateLimit"]))
        assert found
        return int(found[1])

    with temporary_database() as url, servers_on(url) as start:
        first, second, third = (start("--rate-limit", f"{limit}/h") for _ in range(3))
        for server in (first, second, third):
            wait_until(lambda server=server: remaining(server) < limit / 3)  # type: ignore[misc]
        assert third.stop() == 0
        second.kill()
        wait_until(lambda: remaining(first) > limit / 2)
