"""The tables of the page's figures and charts, and the JSON that charts.js draws. Pure functions, any thread."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from load.report.tables import Row, Table, aligned, cell_of, counted, exact, measured, share

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
"""Percentiles by their names; in the names of the result's fields the point is an underscore."""
OPEN_LOOP = "open loop"


def throughput_note(result: Mapping[str, Any]) -> str:
    """Say what limited the throughput."""
    notes = []
    if result["rate_per_second"] is not None:
        notes.append(f"of {exact(result['rate_per_second'])} that were due")
    if result["server_stopped_after_s"] is not None:
        notes.append("the server stopped answering")
    elif result["server_behind_s"]:
        notes.append("the server did not keep up")
    elif result["generator_was_the_limit"]:
        notes.append("the load generator was the limit")
    elif result["accepted"] and result["generator_cpu_share"] is not None:
        notes.append("the load generator was not the limit")
    return "; ".join(notes) or "acknowledged"


def tables_of(result: Mapping[str, Any]) -> list[Table]:
    """Return all figures."""
    return [_orders(result), _latency(result), _run(result)]


def _orders(result: Mapping[str, Any]) -> Table:
    rows = []
    for name, field, prefix in (
        ("Sent", "sent", ""),
        ("Accepted", "accepted", ""),
        ("Duplicates", "duplicates", ""),
        ("Refused", "refused", "status "),
        ("Errors", "errors", ""),
        ("Wrong 202", "wrong_202", ""),
        ("Not sent", "not_sent", ""),
    ):
        if result[field] or field not in ("wrong_202", "not_sent"):
            rows.append(Row(name, [cell_of(result, field, text=counted)]))
        parts = f"{field}_by_status" if field == "refused" else f"{field}_by_reason"
        for part in result.get(parts, ()):
            rows.append(Row(f"{prefix}{part}", [cell_of(result, parts, part, text=counted)], is_part=True))
    return Table("Orders", rows)


def _latency(result: Mapping[str, Any]) -> Table:
    is_open = result["mode"] == OPEN_LOOP
    prefixes = ["latency", "sending_latency"] if is_open else ["latency"]
    note = "From sending to the answer."
    if is_open:
        note = (
            "From due: from the moment when a request was due, so that a stall of the server counts for all requests "
            "that were due meanwhile. From sending: without the wait for a free connection; with enough connections "
            "that is the same."
        )
    if result["bulk"]:
        note += f" Of requests with up to {counted(result['bulk'])} orders each."
    rows = [
        Row(name, [cell_of(result, f"{prefix}_{name.replace('.', '_')}_ms") for prefix in prefixes])
        for name in PERCENTILES
    ]
    return Table("Latency, ms", aligned(rows), ["", "from due", "from sending"] if is_open else [], note)


def _run(result: Mapping[str, Any]) -> Table:
    rows = [
        Row("Throughput", [cell_of(result, "orders_per_second", unit="orders/s")]),
        Row("Sending took", [cell_of(result, "elapsed_s", unit="s")]),
        Row("All processed after", [cell_of(result, "all_processed_after_s", unit="s")]),
        Row("Load generator's CPU", [cell_of(result, "generator_cpu_share", text=share, unit="of a core")]),
    ]
    if result["mode"] == OPEN_LOOP:
        rows.append(Row("Load generator late, p99", [cell_of(result, "generator_late_p99_ms", unit="ms")]))
    if result["read_back"] is not None:
        rows.append(Row("Read back", [cell_of(result, "read_back", "read", text=counted)]))
    warm_up = "Counted from the end of the warm-up." if result["warm_up_s"] else ""
    limit = "The load generator was the limit." if result["generator_was_the_limit"] else ""
    return Table("The run", rows, note=f"{warm_up} {limit}".strip())


Columns = Mapping[str, tuple[str, Callable[[Any], str]]]
"""Headings and number formats by the names of the lists."""


def chart_tables(result: Mapping[str, Any]) -> dict[str, Table | None]:
    """Return the numbers of each chart by its name; None if there is nothing to draw."""
    percentiles = {"percentile": ("percentile", exact), "latency_ms": ("ms", measured)}
    latencies = {"latency_p50_ms": ("p50, ms", measured), "latency_p99_ms": ("p99, ms", measured)}
    return {
        "throughput": _timeline(result, {"orders_per_second": ("orders/s", measured)}),
        "latency": _timeline(result, latencies),
        "percentiles": _table(result, "percentiles", percentiles),
        "backlog": _table(result, "backlog", {"time_s": ("s", measured), "waiting": ("orders", counted)}),
    }


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
