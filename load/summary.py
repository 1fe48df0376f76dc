"""Owns how a run's result is shown: the table, the lines below it, and the JSON; on the main thread, after the loop."""

from typing import Any

from rich.console import Console
from rich.table import Table

from load.readback import Verdict
from load.run import Result
from load.settings import Settings

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}


def print_summary(result: Result, console: Console) -> None:
    """Print the table and what follows from it; what is not known shows as a dash."""
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in _rows(result):
        table.add_row(name, value)
    console.print(table)
    for line in _lines(result):
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _rows(result: Result) -> list[tuple[str, str]]:
    tally = result.tally
    rows = [
        ("sent", f"{tally.sent:,}"),
        ("accepted", f"{len(tally.accepted):,}"),
        ("duplicates", f"{len(tally.duplicates):,}"),
        ("refused", f"{tally.refused.total():,}"),
        *((f"  status {status}", f"{count:,}") for status, count in sorted(tally.refused.items())),
        ("errors", f"{tally.errors.total():,}"),
        *((f"  {reason}", f"{count:,}") for reason, count in tally.errors.most_common()),
    ]
    if tally.sent < result.orders:
        rows.append(("not sent", f"{result.orders - tally.sent:,}"))
    rows += [
        ("elapsed", _text(result.elapsed_s, " s")),
        ("orders/s", "-" if result.orders_per_second is None else f"{result.orders_per_second:,.0f}"),
        *((f"latency {name}", _text(tally.latency_ms(value), " ms")) for name, value in PERCENTILES.items()),
        ("all processed after", _text(result.processed_s, " s")),
    ]
    return rows


def _text(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:,.3f}{unit}"


def _lines(result: Result) -> list[str]:
    lines = []
    if result.generator_was_the_limit:
        lines.append(
            f"The load generator was the limit: it used {result.cpu_share:.0%} of a core while it sent, "
            "so the server may take more than this."
        )
    if result.interrupted:
        lines.append("Interrupted: this is what it has so far, and what was not read back is not checked.")
    elif not result.tally.acknowledged:
        lines.append("Nothing was accepted, so there is nothing to read back.")
    if result.verdict is not None and result.tally.acknowledged:
        lines.append(result.verdict.line)
    return lines


def to_json(result: Result, settings: Settings) -> dict[str, Any]:
    """Give the result with its units in the names; unknown values are null, amounts are texts."""
    tally = result.tally
    return {
        "url": str(settings.url),
        "replay": None if settings.replay is None else str(settings.replay),
        "concurrency": settings.concurrency,
        "batch": settings.batch,
        "orders": result.orders,
        "sent": tally.sent,
        "accepted": len(tally.accepted),
        "duplicates": len(tally.duplicates),
        "refused": tally.refused.total(),
        "refused_by_status": {str(status): count for status, count in sorted(tally.refused.items())},
        "errors": tally.errors.total(),
        "errors_by_reason": dict(tally.errors.most_common()),
        "not_sent": result.orders - tally.sent,
        "elapsed_s": result.elapsed_s,
        "orders_per_second": result.orders_per_second,
        **{f"latency_{name.replace('.', '_')}_ms": tally.latency_ms(value) for name, value in PERCENTILES.items()},
        "all_processed_after_s": result.processed_s,
        "generator_cpu_share": result.cpu_share,
        "generator_was_the_limit": result.generator_was_the_limit,
        "read_back": None if result.verdict is None else _verdict_json(result.verdict),
        "interrupted": result.interrupted,
        "passed": result.is_good and not result.interrupted,
    }


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "acknowledged": verdict.acknowledged,
        "read": verdict.read,
        "lost_ids": verdict.lost,
        "different": _by_id(verdict.different),
        "unprocessed": _by_id(verdict.unprocessed),
        "unread": _by_id(verdict.unread),
        "statuses": dict(verdict.statuses),
        "total_amount": f"{verdict.total_amount:f}",
    }


def _by_id(orders: dict[int, str]) -> dict[str, str]:
    return {str(order_id): why for order_id, why in orders.items()}
