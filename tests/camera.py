"""`python -m tests.camera`: takes the pictures for the README pages, with a real server under varying load.

By default, the load lasts ten minutes, the period that the charts of the dashboard show. `--seconds` shortens it.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.process import ROOT, ServerProcess
from tests.user_module import UserModule

if TYPE_CHECKING:  # Playwright takes some time to import, and every pytest process imports this module for the sizes.
    from playwright.sync_api import Browser, Page, ViewportSize

FOLDER = ROOT / "tests" / "pictures"
SHOP = """
    if order.order_id % 9_000 == 7:
        raise Rejected("card declined: insufficient funds")
    if order.order_id % 20_000 == 11 and order.attempt == 1:
        raise RetryLater(3_600, "warehouse: item 999 arrives this afternoon")
    work_for(0.002)
"""
COURSE = ((40, 0.2), (120, 0.15), (300, 0.15), (1_500, 0.1), (700, 0.15), (250, 0.25))
"""The phases of the load. Each has a number of orders per second, and a share of the duration of the load."""
REPORT_SECONDS = 30
WIDE: "ViewportSize" = {"width": 1_400, "height": 1_180}
NARROW: "ViewportSize" = {"width": 390, "height": 844}
LONG: "ViewportSize" = {"width": 1_400, "height": 1_600}


@contextmanager
def loading(server: ServerProcess, *flags: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Runs the load generator against the server. The end of the `with` block stops the load generator."""
    command = [sys.executable, "-m", "load", "--url", f"http://127.0.0.1:{server.port}", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def page_of(browser: "Browser", url: str, *, scheme: str, viewport: "ViewportSize") -> Iterator["Page"]:
    """Opens the page in a new browser context, waits until its charts are drawn, and yields it."""
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light", viewport=viewport)
    try:
        page = context.new_page()
        page.goto(url)
        page.wait_for_function("() => document.querySelectorAll('.plot .tick, .plot .time').length >= 8")
        yield page
    finally:
        context.close()


def picture_dashboard(folder: Path, seconds: float) -> None:
    """Takes pictures of the dashboard at the end of the load: light and dark on a desktop, light on a phone."""
    with tempfile.TemporaryDirectory() as place, UserModule(Path(place), SHOP) as module, module.server() as server:
        for rate, share in COURSE:
            with loading(server, "--rate", str(rate), "--duration", str(seconds)) as process:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(seconds * share)
                if (rate, share) == COURSE[-1]:
                    take_dashboard(folder, f"http://127.0.0.1:{server.port}/")


def take_dashboard(folder: Path, url: str) -> None:
    from tests.browser import chromium

    with chromium() as browser:
        for name, scheme, viewport in (
            ("dashboard-light", "light", WIDE),
            ("dashboard-dark", "dark", WIDE),
            ("dashboard-phone", "light", NARROW),
        ):
            with page_of(browser, url, scheme=scheme, viewport=viewport) as page:
                page.locator("tbody tr").first.wait_for()
                page.screenshot(path=folder / f"{name}.png")


def picture_report(folder: Path, seconds: float) -> None:
    """Runs the load generator for `seconds`, and takes pictures of its report, light and dark."""
    from tests.browser import chromium

    with tempfile.TemporaryDirectory() as place, ServerProcess(Path(place) / "orders.db") as server:
        report = Path(place) / "report.html"
        with loading(server, "--rate", "2000", "--duration", str(seconds), "--report", str(report)) as process:
            process.wait()
        with chromium() as browser:
            for scheme in ("light", "dark"):
                with page_of(browser, report.as_uri(), scheme=scheme, viewport=LONG) as page:
                    page.screenshot(path=folder / f"report-{scheme}.png")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.camera", description="Takes the README pictures again.")
    parser.add_argument("--seconds", type=float, default=600, help="duration of the dashboard's load (%(default)g)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder for the pictures (%(default)s)")
    given = parser.parse_args(arguments)
    given.folder.mkdir(exist_ok=True)
    picture_dashboard(given.folder, given.seconds)
    picture_report(given.folder, min(given.seconds, REPORT_SECONDS))


if __name__ == "__main__":
    main(sys.argv[1:])
