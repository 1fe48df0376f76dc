"""Tests a real server against its OpenAPI document, and shows the document in a real browser."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import Watched, chromium
from tests.process import HANGS_AFTER_S, ROOT, ServerProcess, need, run_server

BROWSER_FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--virtual-time-budget=8000"),
    # Writes the messages of the page's console to stderr.
    "--enable-logging=stderr",
]
MODULE = """
from workers.processors.outcomes import Rejected

def process(order):
    if order.order_id % 2:
        raise Rejected("odd")
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that fails orders with odd ids, and completes those with even ids."""
    (tmp_path / "shop.py").write_text(MODULE)
    environment = {"PYTHONPATH": str(tmp_path)}
    flags = ("--processor", "shop:process")
    with ServerProcess(tmp_path / "orders.db", *flags, environment=environment) as server:
        yield server


@pytest.mark.slow
def test_schemathesis_finds_no_difference_from_the_document(server: ServerProcess, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(ROOT / "tests" / "schemathesis.toml")]
    done = subprocess.run(
        [*command, "run", f"http://127.0.0.1:{server.port}/openapi.json", "--checks", "all"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    described = server.get("/openapi.json").body["paths"]
    operations = sum(len(item) for item in described.values())
    # Schemathesis leaves out the operation that returns the document.
    assert f"Selected: {operations - 1}/{operations - 1}" in done.stdout
    assert re.findall(r"❌|⚡", done.stdout) == []
    assert re.findall(r".* ERROR .*|Traceback.*", server.log) == []


@pytest.mark.slow
def test_the_document_has_the_version_of_the_server(server: ServerProcess) -> None:
    shown = subprocess.run(
        [sys.executable, "server.py", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert server.get("/openapi.json").body["info"]["version"] == shown.stdout.split()[-1]


@pytest.mark.slow
def test_a_browser_shows_every_operation(server: ServerProcess, tmp_path: Path) -> None:
    need("chromium")
    page = f"http://127.0.0.1:{server.port}/docs"
    done = subprocess.run(
        ["chromium", *BROWSER_FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page],
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER_S,
        check=True,
    )
    assert re.findall(r".*CONSOLE.*", done.stderr) == []
    shown = re.findall(r'class="opblock opblock-(\w+)".*?data-path="([^"]+)"', done.stdout)
    described = server.get("/openapi.json").body["paths"]
    assert sorted(shown) == sorted((method, path) for path, item in described.items() for method in item)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def open_docs(browser: Browser, server: ServerProcess, **options: Any) -> Watched:
    """Opens the page /docs and unfolds the operation that sends an order."""
    watched = Watched(browser, f"http://127.0.0.1:{server.port}", **options)
    watched.page.goto(f"http://127.0.0.1:{server.port}/docs")
    watched.page.click("#operations-One_order-sendOrder .opblock-summary-control")
    watched.page.wait_for_selector(".errors-button")
    return watched


def shown_statuses(page: Page) -> list[str]:
    rows: list[str] = page.locator("tr[data-code]:visible").evaluate_all("rows => rows.map(row => row.dataset.code)")
    return rows


@pytest.mark.slow
def test_error_responses_are_hidden_until_the_button_shows_them(browser: Browser, server: ServerProcess) -> None:
    with closing(open_docs(browser, server)) as watched:
        page = watched.page
        described = server.get("/openapi.json").body["paths"]["/order"]["post"]["responses"]
        errors = [status for status in described if status >= "400"]
        assert len(errors) > 8
        button = page.locator(".errors-button")
        for expected, text in (
            (["200", "202"], f"Show errors: {', '.join(errors)}"),
            (["200", "202", *errors], "Hide errors"),
            (["200", "202"], f"Show errors: {', '.join(errors)}"),
        ):
            assert (shown_statuses(page), button.inner_text()) == (expected, text)
            button.click()
        assert page.locator("button.authorize").count() == 0
        assert watched.complaints == []


IS_TEXT_LIGHT = """
(isExpected) => [...document.querySelectorAll(".title, .opblock-description p, .errors-button, .headers td")].every(
  (text) => (Number(getComputedStyle(text).color.match(/[0-9]+/)[0]) > 128) === isExpected,
)
"""


@pytest.mark.slow
def test_the_page_follows_the_color_scheme(browser: Browser, server: ServerProcess) -> None:
    with closing(open_docs(browser, server, color_scheme="dark")) as watched:
        watched.page.wait_for_function(IS_TEXT_LIGHT, arg=True)
        watched.page.emulate_media(color_scheme="light")
        watched.page.wait_for_function(IS_TEXT_LIGHT, arg=False)
        watched.page.emulate_media(color_scheme="dark")
        watched.page.wait_for_function(IS_TEXT_LIGHT, arg=True)
        assert watched.complaints == []


@pytest.mark.slow
def test_a_key_that_is_entered_is_sent_with_requests(browser: Browser, tmp_path: Path) -> None:
    _, printed, _ = run_server("--new-api-key", "shop", "--scope", "write")
    _, key, _, _, line = printed.splitlines()
    (tmp_path / "keys.txt").write_text(line)
    with (
        ServerProcess(tmp_path / "orders.db", "--api-keys", str(tmp_path / "keys.txt")) as server,
        closing(open_docs(browser, server)) as watched,
    ):
        page = watched.page
        page.click("button.authorize")
        page.fill(".auth-container input", key)
        page.click(".auth-btn-wrapper .authorize")
        page.click(".btn-done")
        page.click(".try-out__btn")
        with page.expect_response("**/order") as answered:
            page.click(".execute")
        assert answered.value.status in (200, 202)
        assert answered.value.request.headers["authorization"] == f"Bearer {key}"
        assert (watched.complaints, watched.other_origins) == ([], [])
