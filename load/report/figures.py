"""The page's figures: a few large ones, and tables of all of them. Pure functions, any thread."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from load.report.numbers import counted, exact, measured, share
from load.report.tables import Cell, Row, Table, aligned, cell_of

PERCENTILES = {"p50": "p50", "p90": "p90", "p99": "p99", "p99_9": "p99.9", "max": "max"}
"""Names of percentiles by their names in the result."""
OPEN_LOOP = "open loop"


class Tile(NamedTuple):
    """A large figure, its name and a note."""

    name: str
    cell: Cell
    note: str


def tiles_of(result: Mapping[str, Any]) -> list[Tile]:
    """Return the figures that a reader looks for first."""

    def tile(name: str, field: str, unit: str, note: str) -> Tile:
        return Tile(name, cell_of(result, field, text=measured, unit=unit), note)

    latency_note = "from when a request was due" if result["mode"] == OPEN_LOOP else "from sending to the answer"
    start = "from the end of the warm-up" if result["warm_up_s"] else "from the first request"
    return [
        tile("Throughput", "orders_per_second", "orders/s", _throughput_note(result)),
        tile("Latency p50", "latency_p50_ms", "ms", latency_note),
        tile("Latency p99", "latency_p99_ms", "ms", latency_note),
        tile("All processed after", "all_processed_after_s", "s", start),
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
    """Return all figures."""
    return [_orders(result), _latency(result), _run(result)]


def _orders(result: Mapping[str, Any]) -> Table:
    def rows(name: str, field: str, parts: str = "", prefix: str = "") -> list[Row]:
        part_rows = [
            Row(f"{prefix}{part}", [cell_of(result, parts, part, text=counted)], is_part=True)
            for part in (result[parts] if parts else ())
        ]
        return [Row(name, [cell_of(result, field, text=counted)]), *part_rows]

    return Table(
        "Orders",
        [
            *rows("Sent", "sent"),
            *rows("Accepted", "accepted"),
            *rows("Duplicates", "duplicates"),
            *rows("Refused", "refused", "refused_by_status", "status "),
            *rows("Errors", "errors", "errors_by_reason"),
            *(rows("Wrong 202", "wrong_202", "wrong_202_by_reason") if result["wrong_202"] else []),
            *(rows("Not sent", "not_sent") if result["not_sent"] else []),
        ],
    )


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
        Row(name, [cell_of(result, f"{prefix}_{key}_ms", text=measured) for prefix in prefixes])
        for key, name in PERCENTILES.items()
    ]
    return Table("Latency, ms", aligned(rows), ["", "from due", "from sending"] if is_open else [], note)


def _run(result: Mapping[str, Any]) -> Table:
    def row(name: str, field: str, unit: str) -> Row:
        return Row(name, [cell_of(result, field, text=measured, unit=unit)])

    rows = [
        row("Throughput", "orders_per_second", "orders/s"),
        row("Sending took", "elapsed_s", "s"),
        row("All processed after", "all_processed_after_s", "s"),
        Row("Load generator's CPU", [cell_of(result, "generator_cpu_share", text=share, unit="of a core")]),
    ]
    if result["mode"] == OPEN_LOOP:
        rows.append(row("Load generator late, p99", "generator_late_p99_ms", "ms"))
    if result["read_back"] is not None:
        rows.append(Row("Read back", [cell_of(result, "read_back", "read", text=counted)]))
    warm_up = "Counted from the end of the warm-up." if result["warm_up_s"] else ""
    limit = "The load generator was the limit." if result["generator_was_the_limit"] else ""
    return Table("The run", rows, note=f"{warm_up} {limit}".strip())
