"""Owns how a run's result is shown in a terminal: the table and the lines below it; on the main thread."""

from rich.console import Console
from rich.table import Table

from load.result import Result
from load.settings import Settings

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
MANY_WAITED = 0.01

Row = tuple[str, str] | tuple[str, str, str]


def print_summary(result: Result, settings: Settings, console: Console) -> None:
    """Print the table and what follows from it; what is not known shows as a dash."""
    rows = [*_orders(result, settings), *_times(result)]
    table = Table(show_header=False)
    table.add_column()
    for _ in range(max(map(len, rows)) - 1):
        table.add_column(justify="right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for line in _lines(result, settings):
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _orders(result: Result, settings: Settings) -> list[Row]:
    tally = result.tally
    rows: list[Row] = [
        ("sent", f"{tally.sent:,}"),
        ("accepted", f"{tally.accepted:,}"),
        ("duplicates", f"{tally.duplicates:,}"),
        ("refused", f"{tally.refused.total():,}"),
        *((f"  status {status}", f"{count:,}") for status, count in sorted(tally.refused.items())),
        ("errors", f"{tally.errors.total():,}"),
        *((f"  {reason}", f"{count:,}") for reason, count in tally.errors.most_common()),
    ]
    if tally.sent < result.orders:
        rows.append(("not sent", f"{result.orders - tally.sent:,}"))
    if settings.bulk:
        rows.append(("orders a request", f"{settings.bulk:,}"))
    return rows


def _times(result: Result) -> list[Row]:
    rows: list[Row] = [
        ("elapsed", _text(result.elapsed_s, " s")),
        ("orders/s", "-" if result.orders_per_second is None else f"{result.orders_per_second:,.0f}"),
    ]
    if result.departures is None:
        rows += [(f"latency {name}", _ms(result.latencies.percentile_ms(p))) for name, p in PERCENTILES.items()]
    else:
        rows.append(("", "from due", "from sending"))
        rows += [
            (f"latency {name}", _ms(result.latencies.percentile_ms(p)), _ms(result.sending_latencies.percentile_ms(p)))
            for name, p in PERCENTILES.items()
        ]
    rows.append(("all processed after", _text(result.processed_s, " s")))
    return rows


def _ms(value: float | None) -> str:
    return _text(value, " ms")


def _text(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:,.3f}{unit}"


def _lines(result: Result, settings: Settings) -> list[str]:
    lines = [
        f"Status {status}, order {refusal.order_id} for instance: {refusal.reason}"
        for status, refusal in sorted(result.tally.examples.items())
    ]
    lines += _lines_on_the_figures(result, settings)
    verdict = result.verdict
    if result.interrupted:
        lines.append(
            f"Interrupted while {result.phase}: this is what it has so far, and what was not read back is not checked."
        )
    elif not result.tally.acknowledged:
        lines.append("Nothing was accepted, so there is nothing to read back.")
    if verdict is not None and result.tally.acknowledged:
        lines.append(verdict.line if result.is_read else verdict.line_so_far)
    return lines


def _lines_on_the_figures(result: Result, settings: Settings) -> list[str]:
    lines = []
    if result.all_in_warm_up:
        lines.append(
            f"Everything fell into the warm-up of {result.warm_up_s:g} s, so there are no figures: send for longer."
        )
    if result.was_busy:
        lines.append(
            f"The load generator was the limit: it used {result.cpu_share:.0%} of a core while it sent, "
            "so the server may take more than this."
        )
    elif result.was_late:
        lines.append(
            f"The load generator was the limit: it sent 1 % of the requests that had a free connection more than "
            f"{(result.late_p99_s or 0) * 1e3:,.0f} ms after they were due, so the server may be faster than this."
        )
    elif result.behind_s:
        lines.append(
            f"The server did not keep up: {result.orders_per_second or 0:,.0f} of {settings.rate:,} orders/s were "
            f"answered; the last one was sent {result.behind_s:,.1f} s after it was due."
        )
    elif result.departures and result.departures.waited > MANY_WAITED * result.departures.count:
        departures = result.departures
        lines.append(
            f"{departures.waited:,} of {departures.count:,} requests waited for a free connection, "
            f"up to {departures.longest_wait_ns / 1e9:,.3f} s: the server stalled, or --concurrency is too low."
        )
    return lines
