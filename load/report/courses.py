"""Owns the page's charts but for their drawing: their words, their numbers as tables, and as JSON for charts.js.

Pure functions, any thread.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from load.report.figures import OPEN_LOOP
from load.report.numbers import counted, exact, measured
from load.report.tables import Row, Table, aligned, cell_of

RANKS = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9, "max": 100.0}


@dataclass(frozen=True, kw_only=True)
class Key:
    """A line of a chart: its name, and its look as the style sheet calls it."""

    name: str
    look: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart by the name that charts.js has for it; `table` is None where there is nothing to draw."""

    name: str
    title: str
    note: str
    keys: Sequence[Key]
    table: Table | None


def charts_of(result: Mapping[str, Any]) -> list[Chart]:
    """Give the charts in the order of the page."""
    is_open = result["mode"] == OPEN_LOOP
    due = Key(name="due", look="due")
    latency = "of a request, from when it was due" if is_open else "of a request, from sending to the answer"
    return [
        Chart(
            name="throughput",
            title="Throughput over time",
            note="Acknowledged orders by when their answer came." + _warm_up_note(result),
            keys=[Key(name="acknowledged", look="blue"), *([due] if result["rate_per_second"] else [])],
            table=_timeline(result, {"orders_per_second": "orders/s"}),
        ),
        Chart(
            name="latency",
            title="Latency over time",
            note=f"{latency.capitalize()}; by when the answer came." + _warm_up_note(result),
            keys=[Key(name="p50", look="blue"), Key(name="p99", look="orange")],
            table=_timeline(result, {"latency_p50_ms": "p50, ms", "latency_p99_ms": "p99, ms"}),
        ),
        Chart(
            name="percentiles",
            title="Latency by percentile",
            note="How long the quickest 50, 90, 99 per cent of the requests took at most.",
            keys=[
                Key(name="from due" if is_open else "latency", look="blue"),
                *([Key(name="from sending", look="sending")] if is_open else []),
            ],
            table=_series(
                result,
                "percentiles",
                {"percentile": ("percentile", exact), "latency_ms": ("ms", measured)},
            ),
        ),
        Chart(
            name="backlog",
            title="Backlog over time",
            note="Orders that the server had yet to process, its own count.",
            keys=[Key(name="waiting", look="blue")],
            table=_series(result, "backlog", {"time_s": ("s", measured), "waiting": ("orders", counted)}),
        ),
    ]


def data_of(result: Mapping[str, Any]) -> bytes:
    """Give what charts.js draws as JSON that can stand in a script element: it holds no `<`."""
    data = {
        "timeline": result["timeline"],
        "backlog": result["backlog"],
        "percentiles": result["percentiles"],
        "sending": [
            [rank, result[f"sending_latency_{key}_ms"]]
            for key, rank in RANKS.items()
            if result["mode"] == OPEN_LOOP and result[f"sending_latency_{key}_ms"] is not None
        ],
        "due_per_second": result["rate_per_second"],
        "warm_up_s": result["warm_up_s"] or 0,
    }
    return msgspec.json.encode(data).replace(b"<", b"\\u003c")


def _warm_up_note(result: Mapping[str, Any]) -> str:
    return " Grey: the warm-up, which does not count." if result["warm_up_s"] else ""


def _timeline(result: Mapping[str, Any], columns: Mapping[str, str]) -> Table | None:
    texts = {name: (heading, measured) for name, heading in columns.items()}
    table = _series(result, "timeline", {"start_s": ("from, s", exact), **texts})
    timeline = result["timeline"]
    drawn = any(value for name in columns for value in timeline[name])
    return table if drawn else None


def _series(
    result: Mapping[str, Any], field: str, columns: Mapping[str, tuple[str, Callable[[Any], str]]]
) -> Table | None:
    """Give the lists of a field side by side, or None where they are empty; the first is the rows' name."""
    (first, (first_heading, first_text)), *others = columns.items()
    values = result[field][first]
    if not values:
        return None
    rows = [
        Row(
            name=first_text(value),
            cells=[cell_of(result, field, name, place, text=text) for name, (_, text) in others],
        )
        for place, value in enumerate(values)
    ]
    headings = [first_heading, *(heading for _, (heading, _) in others)]
    return Table(title="", headings=headings, rows=aligned(rows))
