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
    """Starts the system's Chromium, headless. If it is not installed, the test is skipped; in CI it fails."""
    need("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page in its own browser context, at `origin`. `options` are those of a context.

    `complaints` are the console's errors and warnings and the exceptions of the page, `requested` all URLs that it
    requested, and `other_origins` those of other origins.
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
