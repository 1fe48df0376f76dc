"""Tests the report in a real Chromium, opened from its file, without a network."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from load.report.page import render
from tests.browser import Watched, chromium
from tests.load import sample_results as results

pytestmark = pytest.mark.slow
CHARTS = ("throughput", "latency", "percentiles", "backlog")
NUMBERS = "elements => elements.map(({ value, dataset, textContent }) => [dataset.field, value, textContent])"
IN_THE_TABLES = {
    "sent",
    "accepted",
    "duplicates",
    "refused",
    "errors",
    "orders_per_second",
    "elapsed_s",
    "all_processed_after_s",
    "generator_cpu_share",
    *(f"latency_{rank}_ms" for rank in ("p50", "p90", "p99", "p99_9", "max")),
}

Open = Callable[..., Watched]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Return a function that opens the report of a result, offline. A console error or a request fails the test."""
    opened: list[Watched] = []

    def show(result: dict[str, Any], **options: Any) -> Watched:
        file = tmp_path / f"report-{len(opened)}.html"
        file.write_bytes(render(result))
        watched = Watched(browser, file.as_uri(), offline=True, **options)
        opened.append(watched)
        watched.page.goto(file.as_uri())
        return watched

    yield show
    for watched in opened:
        watched.close()
        assert watched.complaints == []
        assert watched.other_origins == []
        assert len(watched.requested) == 1


def found_at(field: str, result: dict[str, Any]) -> Any:
    """Return the value at a path in the result. Keys are separated by dots, and can contain dots themselves."""
    value: Any = result
    rest = field
    while rest:
        if isinstance(value, list):
            step, _, rest = rest.partition(".")
            value = value[int(step)]
        else:
            step = next(key for key in value if rest == key or rest.startswith(f"{key}."))
            value, rest = value[step], rest[len(step) + 1 :]
    return value


def is_rounded_from(value: float, text: str) -> bool:
    """Return whether a text is the value, rounded to three significant digits or to its whole part, or as percent."""
    number, percent = re.fullmatch(r"(-?[\d,]+(?:\.\d+)?)( %)?", text.strip()) or pytest.fail(text), text.endswith("%")
    digits = number[1].replace(",", "")
    decimals = len(digits.partition(".")[2])
    is_close = abs(float(digits) - value * (100 if percent else 1)) <= 0.5000001 * 10**-decimals
    enough = value == 0 or decimals == 0 or len(digits.replace(".", "").lstrip("0")) >= 3
    return is_close and enough


def points_of(page: Page, chart: str) -> list[int]:
    """Return how many points each line of a chart has: the corners of its path, or its marks."""
    count = """series => {
        const path = series.querySelector('.line')?.getAttribute('d') ?? '';
        return Math.max(path.match(/[ML]/g)?.length ?? 0, series.querySelectorAll('.point').length);
    }"""
    counts: list[int] = page.eval_on_selector_all(f"#{chart} .series", f"all => all.map({count})")
    return counts


def stroke_of(page: Page, chart: str) -> str:
    """Return the colour of the first line of a chart."""
    stroke: str = page.locator(f"#{chart} .line").first.evaluate("path => getComputedStyle(path).stroke")
    return stroke


@pytest.mark.parametrize(
    "make",
    [results.closed_loop, results.open_loop_with_a_stall, results.failed, results.interrupted, results.single],
)
def test_every_number_on_the_page_comes_from_the_result(show: Open, make: Callable[[], dict[str, Any]]) -> None:
    result = make()
    numbers = show(result).page.eval_on_selector_all("data[data-field]", NUMBERS)
    assert {field for field in IN_THE_TABLES if result[field] is not None} <= {field for field, _, _ in numbers}
    for field, value, text in numbers:
        assert float(value) == found_at(field, result), field
        assert is_rounded_from(float(value), text), (field, value, text)


@pytest.mark.parametrize(
    ("make", "lines"),
    [
        (results.closed_loop, (1, 2, 1, 1)),
        (results.open_loop_with_a_stall, (1, 2, 2, 1)),
        (results.single, (1, 2, 1, 1)),
    ],
)
def test_every_chart_is_drawn(show: Open, make: Callable[[], dict[str, Any]], lines: tuple[int, ...]) -> None:
    page = show(make()).page
    for chart, count in zip(CHARTS, lines, strict=True):
        assert page.locator(f"#{chart} .plot > svg").is_visible()
        points = points_of(page, chart)
        assert len(points) == count
        assert all(points)


def test_a_point_without_neighbours_is_visible(show: Open) -> None:
    values = [None] * 30 + [5.0] + [None] * 30
    timeline = {
        "interval_s": 0.1,
        "start_s": [place / 10 for place in range(61)],
        "orders_per_second": [value or 0.0 for value in values],
        "latency_p50_ms": values,
        "latency_p99_ms": values,
    }
    page = show(results.closed_loop(timeline=timeline)).page
    box = page.locator("#latency .series .point").last.bounding_box()
    assert box is not None
    assert box["width"] > 3


def test_the_value_of_the_point_under_the_pointer_is_shown(show: Open) -> None:
    result = results.open_loop_with_a_stall()
    page = show(result).page
    readout = page.locator("#percentiles .readout")
    assert readout.is_hidden()
    page.locator("#percentiles .sending .point").last.hover()
    assert readout.inner_text() == "from sending, max: 1,010 ms"
    page.locator("#percentiles .blue .point").first.hover()
    assert readout.inner_text() == f"from due, p0: {result['percentiles']['latency_ms'][0]:.2f} ms"
    page.mouse.move(0, 0)
    assert readout.is_hidden()


def test_without_answers_the_page_has_text_instead_of_charts(show: Open) -> None:
    page = show(results.unanswered()).page
    assert page.locator(".plot").count() == 0
    assert page.locator(".empty:visible").count() == 4
    assert page.locator("h2").first.inner_text() == "Failed: nothing was accepted"


def test_a_text_with_markup_stays_text(show: Open) -> None:
    page = show(results.failed()).page
    assert page.title() == "Load test, 2026-11-23 01:06:05 UTC: Failed: 3 LOST, 2 DIFFERENT, 1 not processed"
    assert page.get_by_text("</script><script>document.title='taken'</script>").is_visible()
    assert page.get_by_text("<b>items</b> is null").first.is_visible()


def test_a_script_that_is_injected_into_the_page_does_not_run(show: Open, tmp_path: Path, browser: Browser) -> None:
    file = tmp_path / "altered.html"
    evil = b"<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\"></main>"
    file.write_bytes(render(results.closed_loop()).replace(b"</main>", evil))
    watched = Watched(browser, file.as_uri(), offline=True)
    watched.page.goto(file.as_uri())
    assert watched.page.title().endswith("Passed: nothing lost")
    assert any("Content Security Policy" in complaint for complaint in watched.complaints)
    watched.close()


def test_without_javascript_everything_but_the_charts_is_shown(show: Open) -> None:
    page = show(results.open_loop_with_a_stall(), java_script_enabled=False).page
    text = page.locator("main").inner_text()
    for each in ("Passed: nothing lost", "63,988", "status 503", "713", "319", "The charts need JavaScript", "64,000"):
        assert each in text


def test_the_charts_follow_the_system_when_it_turns_dark(show: Open) -> None:
    page = show(results.closed_loop(), color_scheme="light").page
    assert stroke_of(page, "throughput") == "rgb(31, 111, 235)"
    page.emulate_media(color_scheme="dark")
    assert stroke_of(page, "throughput") == "rgb(88, 166, 255)"
    assert page.eval_on_selector("body", "body => getComputedStyle(body).backgroundColor") == "rgb(1, 4, 9)"


def test_on_paper_the_page_is_light_and_no_chart_is_cut(show: Open) -> None:
    page = show(results.closed_loop(), color_scheme="dark", viewport={"width": 690, "height": 1_000}).page
    page.emulate_media(media="print")
    page.wait_for_selector("#backlog .plot > svg[width='310']")
    assert stroke_of(page, "latency") == "rgb(188, 76, 0)"
    for chart in CHARTS:
        card, drawn = (page.locator(each).first.bounding_box() for each in (f"#{chart}", f"#{chart} .plot > svg"))
        assert card is not None
        assert drawn is not None
        assert card["x"] <= drawn["x"]
        assert drawn["x"] + drawn["width"] <= card["x"] + card["width"]


@pytest.mark.parametrize("width", [390, 1_600])
def test_the_page_fits_a_phone_and_a_desk(show: Open, width: int) -> None:
    page = show(results.open_loop_with_a_stall(), viewport={"width": width, "height": 900}).page
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for chart in CHARTS:
        box = page.locator(f"#{chart} .plot > svg").bounding_box()
        assert box is not None
        assert box["width"] > 0.35 * min(width, 1_200)
