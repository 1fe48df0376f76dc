"""The page's figures: large ones, tables of all, and how they were measured. Pure functions, any thread."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from load.report.tables import Cell, Row, Table, aligned, cell_of, counted, exact, share

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
"""Percentiles by their names; in the names of the result's fields the point is an underscore."""
OPEN_LOOP = "open loop"
MACHINE = {"cpus": "Processors", "platform": "Platform", "python": "Python", "sqlite": "SQLite"}
"""Names that differ from those in the result; packages keep theirs."""


class Tile(NamedTuple):
    """A large figure, its name and a note."""

    name: str
    cell: Cell
    note: str


class Fact(NamedTuple):
    """A name, its value, and the flag that sets it, if there is one."""

    name: str
    value: str
    flag: str = ""


def tiles_of(result: Mapping[str, Any]) -> list[Tile]:
    """Return the figures that a reader looks for first."""
    latency_note = "from when a request was due" if result["mode"] == OPEN_LOOP else "from sending to the answer"
    start = "from the end of the warm-up" if result["warm_up_s"] else "from the first request"
    return [
        Tile("Throughput", cell_of(result, "orders_per_second", unit="orders/s"), _throughput_note(result)),
        Tile("Latency p50", cell_of(result, "latency_p50_ms", unit="ms"), latency_note),
        Tile("Latency p99", cell_of(result, "latency_p99_ms", unit="ms"), latency_note),
        Tile("All processed after", cell_of(result, "all_processed_after_s", unit="s"), start),
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


def settings_of(result: Mapping[str, Any]) -> list[Fact]:
    """Return what the run was told to do, without settings that were not given."""
    settings = [
        ("Server", "--url", "url"),
        ("Replayed file", "--replay", "replay"),
        ("Orders", "--orders", "orders"),
        ("Connections, at most", "--concurrency", "concurrency"),
        ("Orders at once", "--batch", "batch"),
        ("Orders a request", "--bulk", "bulk"),
        ("Orders due a second", "--rate", "rate_per_second"),
        ("Duration, s", "--duration", "duration_s"),
        ("Warm-up, s", "--warm-up", "warm_up_s"),
    ]
    given = [Fact(name, _text(result[field]), flag) for name, flag, field in settings if result[field] not in (None, 0)]
    return [Fact("Kind of load", result["mode"]), Fact("Started", started(result)), *given]


def machine_of(result: Mapping[str, Any]) -> list[Fact]:
    """Return what the load generator ran on."""
    return [Fact(MACHINE.get(name, name), _text(value)) for name, value in result["machine"].items()]


def started(result: Mapping[str, Any]) -> str:
    """Return when the run started, to the second."""
    return f"{datetime.fromisoformat(result['started']):%Y-%m-%d %H:%M:%S} UTC"


def _text(value: Any) -> str:
    return exact(value) if isinstance(value, int | float) else str(value)
