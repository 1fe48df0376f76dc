"""The charts and tiles of the dashboard, in a real Chromium."""

import re
import subprocess
import sys
from datetime import datetime, timedelta

import pytest
from playwright.sync_api import Browser, expect

from tests.live_orders import post_all
from tests.process import DEADLINE_S, ROOT, ServerProcess
from tests.server.dashboard.pages import expect_live, list_of, opened, until
from tests.server.dashboard.plots import (
    POINTS,
    POINTS_AS_LISTS,
    all_charts_drawn,
    assert_begins_with,
    orders_in,
    until_points,
)

pytestmark = pytest.mark.slow


def test_the_tiles_and_charts_show_a_load_of_a_thousand_orders(browser: Browser, server: ServerProcess) -> None:
    with opened(browser, server) as watched:
        page = watched.page
        expect_live(page)
        expect(page.locator("#total_orders")).to_have_text("0")
        load = subprocess.Popen(
            [sys.executable, "-m", "load", "--url", f"http://127.0.0.1:{server.port}"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        expect(page.locator("#total_orders")).to_have_text("1,000")
        expect(page.locator("#completed_orders")).to_have_text("1,000")
        assert load.wait(DEADLINE_S) == 0
        for name in ("pending", "processing", "failed", "cancelled"):
            expect(page.locator(f"#{name}_orders")).to_have_text("0")
        expect(list_of(page, "Latest").locator("tbody tr")).to_have_count(10)
        expect(list_of(page, "Latest").locator("tbody tr").first.locator(".status")).to_have_text("Completed")
        all_charts_drawn(page)
        peaks = page.evaluate(f"{POINTS}.map(({{values}}) => Math.max(...values))")
        assert len(peaks) == 2
        assert min(peaks) > 100


def test_a_single_order_is_a_dot_in_the_latency_chart(browser: Browser, server: ServerProcess) -> None:
    with opened(browser, server) as watched:
        all_charts_drawn(watched.page)
        post_all(server, [1])
        dots = watched.page.locator(".plot").nth(2).locator(".dots")
        for dot in (dots.first, dots.last):
            expect(dot).to_have_attribute("d", re.compile(r"^M[^M]+$"))
            assert dot.evaluate("path => getComputedStyle(path).strokeWidth") == "4px"


def test_a_chart_shows_the_values_at_the_pointer(browser: Browser, server: ServerProcess) -> None:
    with opened(browser, server) as watched:
        page = watched.page
        until_points(page, 2)
        plot = page.locator(".plot").first
        readout = plot.locator(".readout")
        expect(readout).to_be_hidden()
        box = plot.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 50, box["y"] + 50)
        expect(readout).to_be_visible()
        time_of_day, *values = readout.locator("*").all_text_contents()
        assert values == ["accepted : 0/s", "completed : 0/s"]
        now = datetime.now().astimezone()
        last_minute = [now - timedelta(seconds=seconds) for seconds in range(60)]
        assert time_of_day in [f"{moment:%H:%M:%S}" for moment in last_minute]
        page.mouse.move(0, 0)
        expect(readout).to_be_hidden()


def test_a_reload_keeps_the_history_of_the_charts(browser: Browser, server: ServerProcess) -> None:
    with opened(browser, server) as watched:
        page = watched.page
        until_points(page, 1)
        post_all(server, range(1, 501))
        # Each line must end with a second without orders: then it includes all orders.
        until(page, f"() => {POINTS}.every(({{values}}) => values.some((value) => value > 0) && values.at(-1) === 0)")
        before = page.evaluate(POINTS_AS_LISTS)
        page.reload()
        until_points(page, len(before[0][0]))
        assert_begins_with(page.evaluate(POINTS_AS_LISTS), before)
        for seconds, values in before:
            assert orders_in(seconds, values) == pytest.approx(500, rel=0.05)
