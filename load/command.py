"""Owns the course of `python -m load`: flags in, a run, its summary and files, an exit status; on the main thread."""

import logging
import os
import secrets
import time
from collections.abc import Sequence
from functools import cache

from rich.console import Console

from load.cli.flag_types import STDOUT
from load.cli.outputs import (
    BAD,
    GOOD,
    INTERRUPTED,
    MISUSED,
    Output,
    Unwritable,
    check_outputs,
    encode_json,
    fail,
    output_to,
    write_all,
)
from load.cli.progress import ProgressBar
from load.http.address import Unreachable
from load.http.exchanges import Patience
from load.orders.generated import GeneratedOrders, new_first_id
from load.orders.sources import BadReplay, OrderSource, ReplayedOrders
from load.report import render
from load.results.result import Result
from load.results.result_json import to_json
from load.results.summary import print_summary
from load.run import Run
from load.settings import Settings, parse_settings
from load.system.machine import TooFewFiles, allow_connections, run_to_end


def main(argv: Sequence[str], *, patience: Patience | None = None) -> int:
    """Run the load generator and give its exit status; mistakes are one line on stderr."""
    # Without a handler Python would print Tornado's warnings about connections that fail, which the tally counts.
    logging.getLogger("tornado").addHandler(logging.NullHandler())
    settings = parse_settings(argv, os.environ)
    try:
        check_outputs(settings)
        source = _source(settings)
        allow_connections(min(settings.concurrency, -(-len(source) // (settings.bulk or 1))))
        result = run_to_end(_run(settings, source, patience or Patience()).complete())
        status = INTERRUPTED if result.interrupted else GOOD if result.is_good else BAD
        return write_all(_outputs(result, settings), status)
    except TooFewFiles as problem:
        return fail(f"{problem}, with {'--batch' if settings.batch else '--concurrency'} {problem.possible}", MISUSED)
    except BadReplay as problem:
        return fail(str(problem), MISUSED)
    except (Unreachable, Unwritable) as problem:
        return fail(str(problem), BAD)
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(settings: Settings, source: OrderSource, patience: Patience) -> Run:
    return Run(
        settings=settings,
        source=source,
        patience=patience,
        progress=ProgressBar(Console(stderr=True)),
        clock_ns=time.perf_counter_ns,
        cpu_clock_ns=time.process_time_ns,
        wall_clock_ns=time.time_ns,
    )


def _outputs(result: Result, settings: Settings) -> list[Output]:
    outputs = [Output("the result", lambda: print_summary(result, settings, Console(stderr=settings.json == STDOUT)))]
    # Made only when it is written, so that a Ctrl-C meanwhile is said to have kept it from that.
    found = cache(lambda: to_json(result, settings))
    if settings.json:
        outputs.append(output_to(settings.json, lambda: encode_json(found())))
    if settings.report:
        outputs.append(output_to(settings.report, lambda: render(found())))
    return outputs


def _source(settings: Settings) -> OrderSource:
    if settings.replay is not None:
        return ReplayedOrders(settings.replay, limit=settings.orders, first_id=settings.first_id)
    first_id = settings.first_id or new_first_id(clock_ns=time.time_ns, random_bits=secrets.randbits)
    return GeneratedOrders(first_id=first_id, count=settings.orders)
