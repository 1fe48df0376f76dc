"""Prints a run's result as a table with sentences below it, and makes the dictionary that --json writes.

Runs on the main thread. The HTML report is made from this dictionary.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from load.cli.errors import printable
from load.results.counting import Distribution, thinned, timeline_of
from load.results.result import Result
from load.settings import Settings
from load.system.machine import describe_machine

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}

Row = tuple[str, ...]


def print_summary(result: Result, settings: Settings, console: Console) -> None:
    """Print the table and the lines below it; unknown values are dashes."""
    table = Table("", show_header=False)
    for _ in range(1 if result.delays is None else 2):
        table.add_column(justify="right")
    for row in (*_orders(result, settings), *_times(result)):
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
        ("elapsed", _with_unit(result.after_warm_up(result.sending_s), "s")),
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
        lines.append(result.read_back.describe(is_complete=result.is_read))
    return lines


def notes_of(result: Result, settings: Settings) -> list[str]:
    return [*_order_notes(result, settings), *filter(None, [_limit(result, settings)])]


def _order_notes(result: Result, settings: Settings) -> Iterator[str]:
    tally = result.tally
    if wrong := tally.wrong_202.total():
        note = f"{_number_of_orders(wrong)} got a wrong 202. This fails the run, because a 202 acknowledges orders."
        if settings.bulk:
            note += " It is not known which of them were acknowledged, so they are not read back."
        yield note
    for status, (order_id, reason) in sorted(tally.examples.items()):
        yield f"Status {status}, order {order_id} for instance: {printable(reason)}"
    # Duplicates are reported because they cost the server less work than new orders.
    if tally.duplicates and not settings.first_id and not settings.replay:
        were = "was" if tally.duplicates == 1 else "were"
        yield f"{_number_of_orders(tally.duplicates)} {were} there already: another run uses the same ids."
    if result.recording and not result.counted:
        yield f"All requests were in the warm-up of {result.warm_up_s:g} s, so nothing was measured: send for longer."


def _limit(result: Result, settings: Settings) -> str:
    delays = result.delays
    if result.stopped_s is not None:
        return _stopped_note(result, result.stopped_s)
    if result.was_busy:
        return (
            f"The load generator was the limit: it used {result.cpu_share:.0%} of a core while it sent, "
            "so the server may be faster than this."
        )
    if delays is None:
        return ""
    if result.was_late:
        limit_s = result.late_limit_s
        return (
            f"The load generator was the limit: it sent {delays.later_than(limit_s * 1e9):,} of "
            f"{len(delays.late_ns):,} requests that had a free connection more than {limit_s * 1e3:,.0f} ms after they "
            "were due, so the server may be faster than this."
        )
    if result.behind_s:
        return (
            f"The server did not keep up: {result.orders_per_second or 0:,.0f} of {settings.rate or 0:,.10g} orders/s "
            f"were answered; the last one was sent {result.behind_s:,.1f} s after it was due."
        )
    return ""


def _stopped_note(result: Result, stopped_s: float) -> str:
    tally = result.tally
    answered = tally.sent > tally.errors.total()
    note = f"The server {f'stopped answering {stopped_s:,.1f} s after the start' if answered else 'did not answer'}"
    if unsent := result.orders - tally.sent:
        note += f"; {_number_of_orders(unsent)} {'was' if unsent == 1 else 'were'} not sent"
    return f"{note}." if result.delays or not answered else f"{note}. The figures cover only the time before."


def _number_of_orders(count: int) -> str:
    return "1 order" if count == 1 else f"{count:,} orders"


def to_json(result: Result, settings: Settings) -> dict[str, Any]:
    """Return the result as a dictionary. Names contain units, unknown values are None, amounts are strings."""
    tally, backlog, found = result.tally, thinned(result.backlog), result.read_back
    summary = {"summary": found.describe(is_complete=result.is_read)} if found else {}
    return {
        "url": str(settings.url),
        "mode": settings.mode,
        "replay": None if settings.replay is None else str(settings.replay),
        "concurrency": settings.concurrency,
        "batch": settings.batch,
        "bulk": settings.bulk,
        "rate_per_second": settings.rate,
        "duration_s": settings.duration_s,
        "warm_up_s": settings.warm_up_s,
        "started": datetime.fromtimestamp(result.started_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "orders": result.orders,
        "sent": tally.sent,
        "accepted": tally.accepted,
        "duplicates": tally.duplicates,
        "refused": tally.refused.total(),
        "refused_by_status": {str(status): count for status, count in sorted(tally.refused.items())},
        "errors": tally.errors.total(),
        "errors_by_reason": dict(tally.errors.most_common()),
        "wrong_202": tally.wrong_202.total(),
        "wrong_202_by_reason": dict(tally.wrong_202.most_common()),
        "not_sent": result.orders - tally.sent,
        "elapsed_s": result.after_warm_up(result.sending_s),
        "orders_per_second": result.orders_per_second,
        **_percentiles("latency", result.latencies),
        **_percentiles("sending_latency", result.sending_latencies),
        "all_processed_after_s": result.after_warm_up(result.waited_s),
        "generator_cpu_share": result.cpu_share,
        "generator_late_p99_ms": Distribution(result.delays.late_ns if result.delays else ()).percentile_ms(99),
        "generator_was_the_limit": result.generator_was_the_limit,
        "server_behind_s": result.behind_s,
        "server_stopped_after_s": result.stopped_s,
        "notes": notes_of(result, settings),
        "read_back": found and msgspec.to_builtins(found, str_keys=True) | summary,
        "interrupted": result.interrupted,
        "passed": result.is_good and not result.interrupted,
        "machine": describe_machine(),
        "timeline": timeline_of(result.recording),
        "backlog": {"time_s": [time_s for time_s, _ in backlog], "waiting": [waiting for _, waiting in backlog]},
        "percentiles": result.latencies.curve(),
    }


def _percentiles(what: str, distribution: Distribution) -> dict[str, float | None]:
    return {
        f"{what}_{name.replace('.', '_')}_ms": distribution.percentile_ms(percentile)
        for name, percentile in PERCENTILES.items()
    }
