"""Owns the page's figures: the few large ones, and the tables of all of them; pure functions, any thread."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from load.report.numbers import counted, exact, measured, share
from load.report.tables import Cell, Row, Table, aligned, cell_of

PERCENTILES = {"p50": "p50", "p90": "p90", "p99": "p99", "p99_9": "p99.9", "max": "max"}
"""What the result calls them within its names, and what readers do."""
OPEN_LOOP = "open loop"


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A large figure, its name and what to know of it."""

    name: str
    cell: Cell
    note: str


def tiles_of(result: Mapping[str, Any]) -> list[Tile]:
    """Give the figures that a reader looks for first."""
    latency_note = "from when a request was due" if result["mode"] == OPEN_LOOP else "from sending to the answer"
    return [
        Tile(
            name="Throughput",
            cell=cell_of(result, "orders_per_second", text=measured, unit="orders/s"),
            note=_throughput_note(result),
        ),
        *(
            Tile(
                name=f"Latency {name}",
                cell=cell_of(result, f"latency_{key}_ms", text=measured, unit="ms"),
                note=latency_note,
            )
            for key, name in PERCENTILES.items()
            if key in ("p50", "p99")
        ),
        Tile(
            name="All processed after",
            cell=cell_of(result, "all_processed_after_s", text=measured, unit="s"),
            note="from the end of the warm-up" if result["warm_up_s"] else "from the first request",
        ),
    ]


def _throughput_note(result: Mapping[str, Any]) -> str:
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
    """Give all figures."""
    return [_orders(result), _latency(result), _course(result)]


def _orders(result: Mapping[str, Any]) -> Table:
    def row(name: str, *path: str, is_part: bool = False) -> Row:
        return Row(name=name, cells=[cell_of(result, *path, text=counted)], is_part=is_part)

    rows = [
        row("Sent", "sent"),
        row("Accepted", "accepted"),
        row("Duplicates", "duplicates"),
        row("Refused", "refused"),
        *(row(f"status {name}", "refused_by_status", name, is_part=True) for name in result["refused_by_status"]),
        row("Errors", "errors"),
        *(row(name, "errors_by_reason", name, is_part=True) for name in result["errors_by_reason"]),
        *([row("Wrong 202", "wrong_202")] if result["wrong_202"] else []),
        *(row(name, "wrong_202_by_reason", name, is_part=True) for name in result["wrong_202_by_reason"]),
        *([row("Not sent", "not_sent")] if result["not_sent"] else []),
    ]
    return Table(title="Orders", rows=rows)


def _latency(result: Mapping[str, Any]) -> Table:
    is_open = result["mode"] == OPEN_LOOP
    prefixes = ["latency", "sending_latency"] if is_open else ["latency"]
    note = "From sending to the answer."
    if is_open:
        note = (
            "From due: from the moment when a request was to be sent, so that a stall of the server counts for all "
            "that were due meanwhile. From sending: without the wait for a free connection; where there were enough "
            "connections that is the same."
        )
    if result["bulk"]:
        note += f" Of requests with up to {counted(result['bulk'])} orders each."
    rows = [
        Row(name=name, cells=[cell_of(result, f"{prefix}_{key}_ms", text=measured) for prefix in prefixes])
        for key, name in PERCENTILES.items()
    ]
    headings = ["", "from due", "from sending"] if is_open else []
    return Table(title="Latency, ms", headings=headings, rows=aligned(rows), note=note)


def _course(result: Mapping[str, Any]) -> Table:
    def row(name: str, *path: str, unit: str) -> Row:
        return Row(name=name, cells=[cell_of(result, *path, text=measured, unit=unit)])

    rows = [
        row("Throughput", "orders_per_second", unit="orders/s"),
        row("Sending took", "elapsed_s", unit="s"),
        row("All processed after", "all_processed_after_s", unit="s"),
        Row(
            name="Load generator's CPU",
            cells=[cell_of(result, "generator_cpu_share", text=share, unit="of a core")],
        ),
    ]
    if result["mode"] == OPEN_LOOP:
        rows.append(row("Load generator late, p99", "generator_late_p99_ms", unit="ms"))
    if result["read_back"] is not None:
        rows.append(
            Row(name="Read back", cells=[cell_of(result, "read_back", "read", text=counted)]),
        )
    notes = [
        *(["Counted from the end of the warm-up."] if result["warm_up_s"] else []),
        *(["The load generator was the limit."] if result["generator_was_the_limit"] else []),
    ]
    return Table(title="Course", rows=rows, note=" ".join(notes))
