"""`python -m load`: sends orders to a server, reads them back, and writes the result. Runs on the main thread."""

import logging
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import gettempdir

from rich.console import Console

from load.cli.command import Command, Output, ProgressBar, file_output, json_outputs, run_to_end
from load.cli.errors import ExitStatus
from load.cli.flags import STDOUT
from load.http.connections import Timeouts
from load.orders.generated import GeneratedOrders, new_first_id
from load.orders.sources import OrderSource, ReplayedOrders
from load.report.page import render
from load.results.result import Result
from load.results.summary import print_summary, to_json
from load.run import Run
from load.settings import Settings, parse_settings
from load.system.machine import allow_connections, new_folder
from load.system.server_process import ServerProcess

SERVER = ("server.py",)


def main(argv: Sequence[str], *, timeouts: Timeouts | None = None, server: Sequence[str] = SERVER) -> int:
    """Run the load generator and return its exit status. --own-server starts Python with the arguments `server`."""
    # Without a handler, Python would print Tornado's warnings about failed connections. The result counts the failures.
    logging.getLogger("tornado").addHandler(logging.NullHandler())
    return Load(parse_settings(argv, os.environ), timeouts=timeouts or Timeouts(), server=server).execute()


class Load(Command):
    """The command `python -m load`. With --own-server, Python starts the server with the arguments `server`."""

    def __init__(self, settings: Settings, *, timeouts: Timeouts, server: Sequence[str]) -> None:
        super().__init__(prog="python -m load")
        self._settings = settings
        self._timeouts = timeouts
        self._server = server
        self._result: Result | None = None
        self._console = Console(stderr=settings.json == STDOUT)

    def run(self) -> ExitStatus:
        settings = self._settings
        source = _source(settings)
        flag = "--batch" if settings.batch else "--concurrency"
        allow_connections(settings.connections_for(len(source)), flag=flag)
        with self._own_server() if settings.own_server else nullcontext():
            run = Run(
                settings=self._settings,
                source=source,
                timeouts=self._timeouts,
                progress=ProgressBar(),
                print_line=self._print_line,
                clock_ns=time.perf_counter_ns,
                cpu_clock_ns=time.process_time_ns,
                wall_clock_ns=time.time_ns,
            )
            try:
                run_to_end(run.complete())
            except KeyboardInterrupt:
                self._result = run.result
                raise
            self._result = result = run.result
        if result.interrupted:
            return ExitStatus.INTERRUPTED
        return ExitStatus.PASSED if result.is_good else ExitStatus.FAILED

    @contextmanager
    def _own_server(self) -> Iterator[None]:
        """Run a server while the block runs, and keep its files if an order was lost or differs."""
        with new_folder(
            Path(gettempdir()), prefix="load-", is_wanted=self._found_faults, print_line=self._print_line
        ) as folder:
            command = [*self._server, "--port", "0", "--database", str(folder / "orders.db")]
            with ServerProcess(command, log=folder / "server.log", clock_s=time.monotonic) as server:
                self._settings = replace(self._settings, url=server.url)
                yield

    def _found_faults(self) -> bool:
        result = self._result
        return bool(result and (result.tally.wrong_202 or (result.read_back and not result.read_back.is_good)))

    def _print_line(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)

    def outputs(self) -> Sequence[Output]:
        settings, result = self._settings, self._result
        if result is None:
            return ()
        outputs = [Output("the result", lambda: print_summary(result, settings, self._console))]
        # Computed while a file is written: if Ctrl-C interrupts that, a message names the files that are missing.
        result_json = cache(lambda: to_json(result, settings))
        outputs += json_outputs(settings.json, result_json)
        if settings.report:
            outputs.append(file_output(settings.report, lambda: render(result_json())))
        return outputs


def _source(settings: Settings) -> OrderSource:
    if settings.replay is not None:
        return ReplayedOrders(settings.replay, limit=settings.orders, first_id=settings.first_id)
    first_id = settings.first_id or new_first_id(clock_ns=time.time_ns, random_bits=secrets.randbits)
    return GeneratedOrders(first_id=first_id, count=settings.orders)
