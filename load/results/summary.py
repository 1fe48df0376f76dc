"""Owns how a run's result is shown in a terminal: the table and the lines below it; on the main thread."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from load.results.notes import notes_of
from load.results.result import Result
from load.results.texts import shown
from load.settings import Settings

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}

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
        *((f"  {escape(shown(reason))}", f"{count:,}") for reason, count in tally.errors.most_common()),
    ]
    if tally.wrong_202:
        rows.append(("wrong 202", f"{tally.wrong_202.total():,}"))
        rows += [(f"  {reason}", f"{count:,}") for reason, count in tally.wrong_202.most_common()]
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
    lines = notes_of(result, settings)
    verdict = result.verdict
    if result.interrupted:
        lines.append(
            f"Interrupted while {result.phase}: this is what it has so far, and what was not read back is not checked."
        )
    elif not result.tally.acknowledged and not result.tally.wrong_202:
        lines.append("Nothing was accepted, so there is nothing to read back.")
    if verdict is not None and result.tally.acknowledged:
        lines.append(verdict.line if result.is_read else verdict.line_so_far)
    return lines
