"""Measures our server while it archives and deletes old orders. Runs on the event loop."""

import asyncio
from contextlib import suppress
from itertools import count

from load.bench.measurement import Measurement
from load.bench.trial import P99, Row, Server, Trial, Value
from load.bench.trials.background import MAX_LATE_MS
from load.bench.workloads import STEADY, post_at_rate
from load.cli.errors import CommandError
from load.http.address import Address, reach
from load.readback.metrics import Metrics, read_metrics

ARCHIVED_WITHIN_S, POLL_S = 60.0, 0.05
KEEP = "1s"  # All orders of the file are older.


async def retention(trial: Trial) -> list[Row]:
    """Compare the p99 of POST /order of a server that archives old orders with that of a server without `--keep`.

    Both servers are ours, on the same file, one after the other. The one that starts first changes with each run.
    """
    flags = ("--keep", KEEP, "--archive", str(trial.folder / "archive"))
    row = Row(name="", at_most=1.2)
    speed = Row(name="orders that were archived in the meantime", unit="/s")
    archived = 0
    for number in range(1, trial.runs + 1):
        measured = {"alone": Measurement(), "archiving": Measurement()}
        earlier = archived
        for name in measured if number % 2 else reversed(measured):
            with trial.start_server(*(flags if name == "archiving" else ())) as process:
                address = await reach(process.url)
                before = await (_await_archiving(address, archived) if name == "archiving" else read_metrics(address))
                server = Server(name, address, ids=count(before.orders + 1), seeds=count(1))
                measured[name].add(await post_at_rate(trial, server))
                after = await read_metrics(address)
                archived = after.archived_orders
                _check_totals(row, before, after, measured[name])
        row.name = row.name or f"{STEADY}, while some of {before.orders:,} orders are archived, against none"
        trial.check(row, *measured.values())
        if measured["alone"].late_p99_ms > MAX_LATE_MS:
            # Both latencies include the client's own delay, so a long delay makes their ratio meaningless.
            row.invalid[f"the client itself was more than {MAX_LATE_MS:g} ms late with 1 % of its requests"] += 1
        trial.add_run(row, number, P99, measured, value=Value.TIME)
        speed.runs.append({"value": (archived - earlier) / measured["archiving"].elapsed_s})
        trial.print_line(f"        archived {archived - earlier:,} orders")
    return [row, speed]


async def _await_archiving(address: Address, archived: int) -> Metrics:
    """Wait until more orders are archived than these. Raises CommandError if this takes too long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(ARCHIVED_WITHIN_S):
            # Polled, because a server does not report what it archives.
            while (metrics := await read_metrics(address)).archived_orders <= archived:  # noqa: ASYNC110
                await asyncio.sleep(POLL_S)
            return metrics
    raise CommandError(f"no order was archived within {ARCHIVED_WITHIN_S:g} s")


def _check_totals(row: Row, before: Metrics, after: Metrics, measured: Measurement) -> None:
    if after.orders < before.orders + measured.right:
        row.wrong["a measurement after which the totals lacked orders"] += 1
