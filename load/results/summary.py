"""A run's result in a terminal: the table and the lines below it. Runs on the main thread."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from load.cli.text import printable
from load.results.notes import notes_of
from load.results.result import Result
from load.settings import Settings

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}

Row = tuple[str, ...]


def print_summary(result: Result, settings: Settings, console: Console) -> None:
    """Print the table and the lines below it; unknown values are dashes."""
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
    counts = [
        ("sent", tally.sent),
        ("accepted", tally.accepted),
        ("duplicates", tally.duplicates),
        ("refused", tally.refused.total()),
        *((f"  status {status}", count) for status, count in sorted(tally.refused.items())),
        ("errors", tally.errors.total()),
        *((f"  {escape(printable(reason))}", count) for reason, count in tally.errors.most_common()),
    ]
    if tally.wrong_202:
        counts.append(("wrong 202", tally.wrong_202.total()))
        counts += [(f"  {reason}", count) for reason, count in tally.wrong_202.most_common()]
    if tally.sent < result.orders:
        counts.append(("not sent", result.orders - tally.sent))
    if settings.bulk:
        counts.append(("orders a request", settings.bulk))
    return [(name, f"{count:,}") for name, count in counts]


def _times(result: Result) -> list[Row]:
    latencies = [result.latencies] if result.delays is None else [result.latencies, result.sending_latencies]
    per_second = result.orders_per_second
    return [
        ("elapsed", _with_unit(result.elapsed_s, "s")),
        ("orders/s", "-" if per_second is None else f"{per_second:,.0f}"),
        *([] if result.delays is None else [("", "from due", "from sending")]),
        *(
            (f"latency {name}", *(_with_unit(one.percentile_ms(percentile), "ms") for one in latencies))
            for name, percentile in PERCENTILES.items()
        ),
        ("all processed after", _with_unit(result.after_warm_up(result.waited_s), "s")),
    ]


def _with_unit(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:,.3f} {unit}"


def _lines(result: Result, settings: Settings) -> list[str]:
    lines = notes_of(result, settings)
    if result.interrupted:
        lines.append(
            f"Interrupted while {result.phase}: this is what was measured so far. Orders that were not read back are "
            "not checked."
        )
    elif not result.tally.acknowledged and not result.tally.wrong_202:
        lines.append("Nothing was accepted, so there is nothing to read back.")
    if result.read_back is not None and result.tally.acknowledged:
        lines.append(result.read_back.line if result.is_read else result.read_back.line_so_far)
    return lines
