"""Owns the course of `python -m load`: flags in, a run, its summary, an exit status; on the main thread."""

import logging
import sys
import time
from collections.abc import Sequence

import msgspec
from rich.console import Console

from load.address import Unreachable, reach
from load.clients import Patience
from load.machine import TooFewFiles, allow_connections, run_to_end
from load.orders import BadReplay, GeneratedOrders, OrderSource, ReplayedOrders, first_id_from_clock
from load.progress import ProgressBar
from load.run import Result, Run
from load.settings import Settings, parse_settings
from load.summary import print_summary, to_json

GOOD, BAD, MISUSED, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str], *, patience: Patience | None = None) -> int:
    """Run the load generator and give its exit status; mistakes are one line on stderr."""
    # Without a handler Python would print Tornado's warnings about connections that fail, which the tally counts.
    logging.getLogger("tornado").addHandler(logging.NullHandler())
    settings = parse_settings(argv)
    try:
        source = _source(settings)
        allow_connections(min(settings.concurrency, len(source)))
    except (BadReplay, TooFewFiles) as problem:
        return _fail(str(problem), MISUSED)
    try:
        result = run_to_end(_load(settings, source, patience or Patience()))
    except Unreachable as problem:
        return _fail(str(problem), BAD)
    except KeyboardInterrupt:
        return INTERRUPTED
    try:
        print_summary(result, Console())
    except OSError as problem:
        return _fail(f"the result can't be printed: {(problem.strerror or '').lower()}", BAD)
    if settings.json is not None:
        try:
            settings.json.write_bytes(_encode(result, settings))
        except OSError as problem:
            return _fail(f"{settings.json} can't be written: {(problem.strerror or '').lower()}", BAD)
    if result.interrupted:
        return INTERRUPTED
    return GOOD if result.is_good else BAD


async def _load(settings: Settings, source: OrderSource, patience: Patience) -> Result:
    address = await reach(settings.url, timeout_s=patience.connection_s)
    one_run = Run(
        address=address,
        source=source,
        patience=patience,
        progress=ProgressBar(Console(stderr=True)),
        clock_ns=time.perf_counter_ns,
        cpu_clock_ns=time.process_time_ns,
    )
    return await one_run.complete(concurrency=settings.concurrency, batch=settings.batch)


def _source(settings: Settings) -> OrderSource:
    if settings.replay is not None:
        return ReplayedOrders(settings.replay, limit=settings.orders, first_id=settings.first_id)
    first_id = settings.first_id or first_id_from_clock(time.time_ns)
    return GeneratedOrders(first_id=first_id, count=settings.orders)


def _encode(result: Result, settings: Settings) -> bytes:
    return msgspec.json.format(msgspec.json.encode(to_json(result, settings)), indent=2) + b"\n"


def _fail(line: str, status: int) -> int:
    print(f"python -m load: {line}", file=sys.stderr)
    return status
