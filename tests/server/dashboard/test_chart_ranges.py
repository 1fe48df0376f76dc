"""The charts of the dashboard in a real Chromium: ten minutes, an hour and a day, also after a restart."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from models.clock import Clock
from models.database.address import parse_address
from models.measurements import Measurement, Measures
from models.store import open_store
from tests.browser import Watched
from tests.live_orders import post_all
from tests.models.shorthand_store import retry_at_once
from tests.process import ServerProcess, address_of

pytestmark = pytest.mark.slow

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
RATE = 5
LENGTHS_S = {10: HOUR_S, 120: DAY_S}
"""How much is saved of intervals of each length."""


def save_history(path: Path, *, length_s: int, gap_s: tuple[int, int] = (0, 0)) -> None:
    """Saves a history of `length_s` seconds, as an earlier process of the server would have done.

    `RATE` orders were completed in each second. No server was running between these two numbers of seconds ago.
    """

    def measures(interval_s: int) -> Measures:
        return Measures(interval_s, interval_s * RATE, interval_s * RATE, 3, 2, {5: 9}, {6: 9})

    now_s = int(time.time())
    measurements = [
        Measurement(interval_s, begin_s, "a", measures(interval_s))
        for interval_s, kept_s in LENGTHS_S.items()
        for begin_s in range((now_s - min(length_s, kept_s)) // interval_s * interval_s, now_s, interval_s)
        if not gap_s[1] < now_s - begin_s <= gap_s[0]
    ]
    store = open_store(parse_address(address_of(path)), clock=Clock())
    store.connect()
    try:
        store.recover(retry_at_once)
        store.save_measurements(measurements, now_s=now_s)
    finally:
        store.disconnect()
        store.close()


@contextmanager
def opened(browser: Browser, server: ServerProcess, query: str = "", **options: Any) -> Iterator[Page]:
    """Opens the dashboard, and waits until it shows points. Fails the test after an error in the console."""
    origin = f"http://127.0.0.1:{server.port}/"
    watched = Watched(browser, origin, **options)
    try:
        watched.page.goto(f"{origin}{query}")
        until_drawn(watched.page)
        yield watched.page
        assert watched.complaints == []
        assert watched.other_origins == []
    finally:
        watched.close()


def until_drawn(page: Page) -> None:
    page.wait_for_function("() => document.querySelector('.plot .line')?.getAttribute('d')")


def strokes(page: Page) -> list[list[tuple[float, float]]]:
    """The parts of the line `completed`: seconds since the first point, and orders per second."""
    path = page.locator(".plot").first.locator(".line").nth(1).get_attribute("d") or ""
    return [
        [(float(x), -float(y)) for x, _, y in (point.partition(" ") for point in re.split("L", stroke))]
        for stroke in path.split("M")[1:]
    ]


def window(page: Page) -> tuple[float, float]:
    """The begin and the end of the time axis, in seconds since the first point."""
    view_box = page.locator(".plot .window").first.get_attribute("viewBox") or ""
    begin_s, _, span_s, _ = map(float, view_box.split(" "))
    return begin_s, begin_s + span_s


def labels(page: Page) -> list[str]:
    return page.locator(".plot").first.locator(".time").all_text_contents()


def current_range(page: Page) -> str:
    return page.locator("#ranges [aria-current]").inner_text()


def test_the_charts_of_a_new_server_begin_with_its_start_in_each_range(browser: Browser, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server:
        for query in ("", "?range=1h", "?range=1d"):
            with opened(browser, server, query) as page:
                expect(page.locator("#charts-title")).to_have_text(re.compile(r"^Since \d\d:\d\d:\d\d$"))
                begin_s, end_s = window(page)
                assert begin_s == 0
                assert end_s < 10 * MINUTE_S


def test_a_day_is_kept_over_a_restart_and_a_gap_is_no_line(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    save_history(path, length_s=DAY_S, gap_s=(8 * HOUR_S, 6 * HOUR_S))
    with ServerProcess(path) as server, opened(browser, server) as page:
        assert current_range(page) == "10 minutes"
        expect(page.locator("#charts-title")).to_have_text("The last ten minutes")
        page.get_by_role("link", name="Day").click()
        expect(page.locator("#charts-title")).to_have_text("The last day")
        assert page.url.endswith("/?range=1d")
        before, after = strokes(page)
        assert before[0][0] == 0
        assert window(page)[1] == pytest.approx(DAY_S, abs=4 * MINUTE_S)
        assert after[0][0] - before[-1][0] == pytest.approx(2 * HOUR_S, abs=4 * MINUTE_S)
        # The last points are those of the running server.
        assert {value for _, value in [*before, *after[:100]]} == {RATE}
        assert len(before) + len(after) <= 720
        # The background shows where the server was not running.
        expect(page.locator(".plot").first.locator(".gaps rect")).to_have_count(1)
        # A reload, and a link to the page, show the same.
        page.reload()
        until_drawn(page)
        assert current_range(page) == "Day"
        again, _ = strokes(page)
        # The oldest point leaves the chart when an interval ends.
        assert len(again) == pytest.approx(len(before), abs=2)


def test_the_keyboard_and_a_phone_can_choose_the_range(browser: Browser, tmp_path: Path) -> None:
    save_history(tmp_path / "orders.db", length_s=2 * HOUR_S)
    with (
        ServerProcess(tmp_path / "orders.db") as server,
        opened(browser, server, "#/", viewport={"width": 390, "height": 800}, has_touch=True) as page,
    ):
        page.get_by_role("link", name="10 minutes").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#charts-title")).to_have_text("The last hour")
        assert page.url.endswith("/?range=1h#/")
        assert 200 < len(strokes(page)[0]) <= 360
        page.get_by_role("link", name="Day").tap()
        expect(page.locator("#charts-title")).to_have_text(re.compile("^Since "))
        assert window(page)[1] == pytest.approx(2 * HOUR_S, abs=4 * MINUTE_S)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        boxes = [link.bounding_box() for link in page.get_by_role("navigation").get_by_role("link").all()]
        assert all(box and box["height"] >= 24 for box in boxes)


def test_new_points_change_the_newest_interval_only(browser: Browser, tmp_path: Path) -> None:
    save_history(tmp_path / "orders.db", length_s=DAY_S, gap_s=(10 * MINUTE_S, 0))
    with ServerProcess(tmp_path / "orders.db") as server, opened(browser, server, "?range=1d") as page:
        completed = page.locator(".legend b").nth(1)
        expect(completed).to_have_text("0/s")
        before = sum(map(len, strokes(page)))
        post_all(server, range(1, 301))
        expect(completed).not_to_have_text("0/s")
        shown = completed.inner_text()
        # The average falls each second, until the interval ends.
        expect(completed).not_to_have_text(shown)
        assert sum(map(len, strokes(page))) == pytest.approx(before, abs=2)


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/New_York"])
def test_the_time_axis_has_round_times_in_the_time_zone_of_the_user(
    browser: Browser, tmp_path: Path, zone: str
) -> None:
    """Hours in India do not begin at the same time as hours in UTC."""
    save_history(tmp_path / "orders.db", length_s=DAY_S)
    with (
        ServerProcess(tmp_path / "orders.db") as server,
        opened(browser, server, "?range=1d", timezone_id=zone) as page,
    ):
        local = labels(page)
        assert sum(bool(re.fullmatch(r"\d{1,2} \w{3}", label)) for label in local) == 1
        assert all(re.fullmatch(r"\d\d:00|\d{1,2} \w{3}", label) for label in local)
        box = page.locator(".plot").first.bounding_box()
        assert box
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
        shown = page.locator(".plot").first.locator(".readout b").inner_text()
        expected = page.evaluate("""() => new Date(Date.now() - 12 * 3_600_000).getHours()""")
        assert int(re.findall(r"(\d\d):\d\d:\d\d$", shown)[0]) in {(expected + each) % 24 for each in (-1, 0, 1)}


def test_the_pointer_shows_that_a_gap_has_no_data(browser: Browser, tmp_path: Path) -> None:
    save_history(tmp_path / "orders.db", length_s=DAY_S, gap_s=(18 * HOUR_S, 6 * HOUR_S))
    with ServerProcess(tmp_path / "orders.db") as server, opened(browser, server, "?range=1d") as page:
        plot = page.locator(".plot").first
        box = plot.bounding_box()
        assert box
        for part, text in ((0.5, "No data"), (0.2, f"completed : {RATE}/s")):
            page.mouse.move(box["x"] + part * box["width"], box["y"] + 50)
            expect(plot.locator(".readout")).to_contain_text(text)


def test_when_the_history_outgrows_its_points_the_page_requests_longer_intervals(
    browser: Browser, tmp_path: Path
) -> None:
    with ServerProcess(tmp_path / "orders.db") as server:
        watched = Watched(browser, f"http://127.0.0.1:{server.port}/")
        page = watched.page
        requests: list[str] = []
        columns = ["accepted_per_second", "completed_per_second", "pending", "processing"]
        durations = [f"{what}_{part}_seconds" for what in ("ack", "processing") for part in ("p50", "p99")]

        def answer(route: Route) -> None:
            requests.append(route.request.url)
            if len(requests) > 1:
                route.continue_()
                return
            point = dict.fromkeys([*columns, *durations], 0) | {"seconds": 1}
            first, last = point | {"time": 1_000}, point | {"time": 1_601}
            history = {name: [value] for name, value in first.items()}
            events = {"history": {"interval_seconds": 1, "covered_seconds": 600} | history, "point": last}
            body = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events.items())
            route.fulfill(body=body, content_type="text/event-stream")

        page.route("**/metrics/events*", answer)
        page.goto(f"http://127.0.0.1:{server.port}/?range=1d")
        expect(page.locator("#charts-title")).to_have_text(re.compile("^Since "))
        expect(page.locator("#link")).to_have_text("Live")
        page.wait_for_function("() => document.querySelector('#uptime').textContent")
        assert [url.rpartition("?")[2] for url in requests] == ["range=1d"] * 2
        watched.close()
        assert watched.complaints == []
