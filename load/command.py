"""Owns the course of `python -m load`: flags in, a run, its summary and files, an exit status; on the main thread."""

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from load.address import Unreachable
from load.exchanges import Patience
from load.flag_types import STDOUT
from load.machine import TooFewFiles, allow_connections, run_to_end
from load.orders import BadReplay, GeneratedOrders, OrderSource, ReplayedOrders, first_id_from_clock
from load.progress import ProgressBar
from load.report import render
from load.result import Result
from load.result_json import to_json
from load.run import Run
from load.settings import Settings, parse_settings
from load.summary import print_summary

GOOD, BAD, MISUSED, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str], *, patience: Patience | None = None) -> int:
    """Run the load generator and give its exit status; mistakes are one line on stderr."""
    # Without a handler Python would print Tornado's warnings about connections that fail, which the tally counts.
    logging.getLogger("tornado").addHandler(logging.NullHandler())
    settings = parse_settings(argv, os.environ)
    try:
        source = _source(settings)
        allow_connections(min(settings.concurrency, len(source)))
        result = run_to_end(_run(settings, source, patience or Patience()).complete())
        return _show(result, settings)
    except (BadReplay, TooFewFiles) as problem:
        return _fail(str(problem), MISUSED)
    except Unreachable as problem:
        return _fail(str(problem), BAD)
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


def _show(result: Result, settings: Settings) -> int:
    """Print the result and write its files, as many of them as can be written; give the exit status."""
    status = INTERRUPTED if result.interrupted else GOOD if result.is_good else BAD
    outputs: list[tuple[str, Callable[[], object]]] = [
        ("the result", lambda: print_summary(result, settings, Console(stderr=settings.json == STDOUT)))
    ]
    if settings.json or settings.report:
        found = to_json(result, settings)
        if settings.json:
            outputs.append((str(settings.json), lambda: _write(settings.json, _encode(found))))
        if settings.report:
            outputs.append((str(settings.report), lambda: _write(settings.report, render(found))))
    for name, write in outputs:
        try:
            write()
        except OSError as problem:
            status = _fail(f"{name} can't be written: {(problem.strerror or '').lower()}", BAD)
    return status


def _write(path: Path | None, content: bytes) -> None:
    if path == STDOUT:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    elif path:
        path.write_bytes(content)


def _source(settings: Settings) -> OrderSource:
    if settings.replay is not None:
        return ReplayedOrders(settings.replay, limit=settings.orders, first_id=settings.first_id)
    first_id = settings.first_id or first_id_from_clock(time.time_ns)
    return GeneratedOrders(first_id=first_id, count=settings.orders)


def _encode(found: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"


def _fail(line: str, status: int) -> int:
    print(f"python -m load: {line}", file=sys.stderr)
    return status
