"""The charts of the page except for their drawing: titles, tables of their numbers, and JSON for charts.js.

Pure functions, any thread.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from load.report.figures import OPEN_LOOP, PERCENTILES
from load.report.tables import Row, Table, aligned, cell_of, counted, exact, measured


class Chart(NamedTuple):
    """A chart, with its name in charts.js; `table` is None if there is nothing to draw.

    `keys` are its lines: the name, and the class in the style sheet.
    """

    name: str
    title: str
    note: str
    keys: Sequence[tuple[str, str]]
    table: Table | None


def charts_of(result: Mapping[str, Any]) -> list[Chart]:
    """Return the charts in the order of the page."""
    is_open = result["mode"] == OPEN_LOOP
    since = "when it was due" if is_open else "sending to the answer"
    warm_up = " Grey: the warm-up, which does not count." if result["warm_up_s"] else ""
    return [
        Chart(
            "throughput",
            "Throughput over time",
            f"Acknowledged orders by when their answer came.{warm_up}",
            [("acknowledged", "blue"), *([("due", "due")] if result["rate_per_second"] else [])],
            _timeline(result, {"orders_per_second": ("orders/s", measured)}),
        ),
        Chart(
            "latency",
            "Latency over time",
            f"Of a request, from {since}; by when the answer came.{warm_up}",
            [("p50", "blue"), ("p99", "orange")],
            _timeline(result, {"latency_p50_ms": ("p50, ms", measured), "latency_p99_ms": ("p99, ms", measured)}),
        ),
        Chart(
            "percentiles",
            "Latency by percentile",
            "The latency that 50, 90, 99 per cent of the requests did not exceed.",
            [("from due", "blue"), ("from sending", "sending")] if is_open else [("latency", "blue")],
            _table(result, "percentiles", {"percentile": ("percentile", exact), "latency_ms": ("ms", measured)}),
        ),
        Chart(
            "backlog",
            "Backlog over time",
            "Orders that the server had yet to process, as it counts them.",
            [("waiting", "blue")],
            _table(result, "backlog", {"time_s": ("s", measured), "waiting": ("orders", counted)}),
        ),
    ]


def data_of(result: Mapping[str, Any]) -> bytes:
    """Return what charts.js draws as JSON that can stand in a script element: it has no `<`."""
    latencies = {rank: result[f"sending_latency_{name.replace('.', '_')}_ms"] for name, rank in PERCENTILES.items()}
    data = {
        "timeline": result["timeline"],
        "backlog": result["backlog"],
        "percentiles": result["percentiles"],
        "sending": [each for each in latencies.items() if result["mode"] == OPEN_LOOP and each[1] is not None],
        "due_per_second": result["rate_per_second"],
        "warm_up_s": result["warm_up_s"] or 0,
    }
    return msgspec.json.encode(data).replace(b"<", b"\\u003c")


Columns = Mapping[str, tuple[str, Callable[[Any], str]]]
"""Headings and number formats by the names of the lists."""


def _timeline(result: Mapping[str, Any], columns: Columns) -> Table | None:
    table = _table(result, "timeline", {"start_s": ("from, s", exact), **columns})
    return table if any(value for name in columns for value in result["timeline"][name]) else None


def _table(result: Mapping[str, Any], field: str, columns: Columns) -> Table | None:
    """Return the lists of a field side by side, or None if they are empty; the first list names the rows."""
    (first, (_, text_of_first)), *others = columns.items()
    rows = [
        Row(text_of_first(value), [cell_of(result, field, name, place, text=text) for name, (_, text) in others])
        for place, value in enumerate(result[field][first])
    ]
    return Table("", aligned(rows), [heading for heading, _ in columns.values()]) if rows else None
