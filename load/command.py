"""`python -m load`: runs the load generator; on the main thread."""

import logging
import os
import secrets
import time
from collections.abc import Sequence
from functools import cache

from rich.console import Console

from load.cli.command import Command, Output, file_output, json_output
from load.cli.errors import ExitStatus, UsageError
from load.cli.flags import STDOUT
from load.cli.progress import ProgressBar
from load.http.exchanges import Patience
from load.orders.generated import GeneratedOrders, new_first_id
from load.orders.sources import OrderSource, ReplayedOrders
from load.report import render
from load.results.result import Result
from load.results.result_json import to_json
from load.results.summary import print_summary
from load.run import Run
from load.settings import Settings, parse_settings
from load.system.machine import TooFewFiles, allow_connections, run_to_end


def main(argv: Sequence[str], *, patience: Patience | None = None) -> int:
    """Run the load generator and return its exit status."""
    # Without a handler Python would print Tornado's warnings about failed connections, which the result counts.
    logging.getLogger("tornado").addHandler(logging.NullHandler())
    return Load(parse_settings(argv, os.environ), patience=patience or Patience()).execute()


class Load(Command):
    """Sends orders, reads them back, and writes the result."""

    def __init__(self, settings: Settings, *, patience: Patience) -> None:
        super().__init__(prog="python -m load", files=(settings.json, settings.report))
        self._settings = settings
        self._patience = patience
        self._result: Result | None = None

    def run(self) -> ExitStatus:
        settings = self._settings
        source = _source(settings)
        try:
            allow_connections(min(settings.concurrency, -(-len(source) // (settings.bulk or 1))))
        except TooFewFiles as error:
            flag = "--batch" if settings.batch else "--concurrency"
            raise UsageError(f"{error}, with {flag} {error.possible}") from None
        run = Run(
            settings=settings,
            source=source,
            patience=self._patience,
            progress=ProgressBar(Console(stderr=True)),
            clock_ns=time.perf_counter_ns,
            cpu_clock_ns=time.process_time_ns,
            wall_clock_ns=time.time_ns,
        )
        result = self._result = run_to_end(run.complete())
        if result.interrupted:
            return ExitStatus.INTERRUPTED
        return ExitStatus.PASSED if result.is_good else ExitStatus.FAILED

    def outputs(self) -> Sequence[Output]:
        settings, result = self._settings, self._result
        if result is None:
            return ()
        to_stderr = settings.json == STDOUT
        outputs = [Output("the result", lambda: print_summary(result, settings, Console(stderr=to_stderr)))]
        # Made only when it is written, so that a Ctrl-C meanwhile names the files that are missing.
        result_json = cache(lambda: to_json(result, settings))
        if settings.json:
            outputs.append(json_output(settings.json, result_json))
        if settings.report:
            outputs.append(file_output(settings.report, lambda: render(result_json())))
        return outputs


def _source(settings: Settings) -> OrderSource:
    if settings.replay is not None:
        return ReplayedOrders(settings.replay, limit=settings.orders, first_id=settings.first_id)
    first_id = settings.first_id or new_first_id(clock_ns=time.time_ns, random_bits=secrets.randbits)
    return GeneratedOrders(first_id=first_id, count=settings.orders)
