"""A real Chromium whose pages record console errors, exceptions and requests to other origins."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, Request, sync_playwright

from tests.process import DEADLINE_S, need

FLAGS = ["--no-sandbox", "--disable-gpu"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Starts the installed Chromium, headless. Without Chromium, skips the test; in CI, fails the test."""
    need("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page in a browser context of its own. `options` are arguments of `Browser.new_context`.

    `complaints` has the errors and warnings of the console, and the exceptions of the page. `requested` has the URLs of
    all requests, `other_origins` only the URLs that are not on `origin`.
    """

    def __init__(self, browser: Browser, origin: str, **options: Any) -> None:
        self.complaints: list[str] = []
        self.other_origins: list[str] = []
        self.requested: list[str] = []
        self._origin = origin
        context = browser.new_context(**options)
        context.set_default_timeout(DEADLINE_S * 1_000)
        self.page: Page = context.new_page()
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._look_at)

    def close(self) -> None:
        self.page.context.close()

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def _look_at(self, request: Request) -> None:
        self.requested.append(request.url)
        if not request.url.startswith((self._origin, "data:", "blob:")):
            self.other_origins.append(request.url)
