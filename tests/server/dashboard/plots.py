"""Reads the lines of the charts from the page."""

from itertools import pairwise
from typing import Any

from playwright.sync_api import Page

from tests.server.dashboard.pages import until

POINTS_OF = r"""plot => [...plot.querySelectorAll('.line')].map(path => path.getAttribute('d')
    .match(/-?[\d.]+(?:e-?\d+)?/g)?.map(Number) ?? [])
    .map(numbers => ({
        seconds: numbers.filter((_, index) => index % 2 === 0),
        values: numbers.filter((_, index) => index % 2 === 1).map(value => -value),
    }))"""
"""JavaScript. Returns the points of each line of a plot. plot.js writes them as seconds and negated values."""
POINTS = f"({POINTS_OF})(document.querySelector('.plot'))"
POINTS_AS_LISTS = f"{POINTS}.map(({{seconds, values}}) => [seconds, values])"
NEXT_FRAME = "() => new Promise((resolve) => requestAnimationFrame(resolve))"
"""JavaScript. Waits until the charts show all events that the page has received."""


def until_points(page: Page, count: int) -> None:
    """Waits until the first line of the first chart has this many points.

    A point without neighbours does not count, because the page draws it as a dot, not as a part of the line.
    """
    until(page, f"(count) => {POINTS}[0]?.seconds.length >= count", count)


def all_charts_drawn(page: Page) -> None:
    until(page, "() => document.querySelectorAll('.plot:has(.time)').length === 4")


def assert_begins_with(lines: list[Any], earlier: list[Any]) -> None:
    """Checks that the lines of a chart still have all points of `earlier`, at unchanged times."""
    for line, earlier_line in zip(lines, earlier, strict=True):
        assert [numbers[: len(before)] for numbers, before in zip(line, earlier_line, strict=True)] == earlier_line


def orders_in(seconds: list[float], values: list[float]) -> float:
    """The number of orders in a line of rates. The first point does not count, because its interval is unknown."""
    return sum(value * (later - earlier) for (earlier, later), value in zip(pairwise(seconds), values[1:], strict=True))
