"""Defines the base class of all commands, runs their coroutines, and shows progress. Runs on the main thread."""

import asyncio
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tornado.ioloop import PeriodicCallback

from load.cli.errors import CommandError, ExitStatus, reason_of_os_error, without_keys
from load.cli.flags import STDOUT

REFRESH_MS = 100
Result = TypeVar("Result")


class ProgressBar:
    """Shows progress on standard error. The event loop refreshes the bar: a thread would slow down the sending."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)

    @contextmanager
    def phase(self, name: str, *, total: int, done: Callable[[], int]) -> Iterator[None]:
        """Show a bar while the block runs; `done` returns how many of `total` are done."""
        if not self._console.is_terminal:
            yield
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, auto_refresh=False, transient=True) as bar:
            task = bar.add_task(name, total=total)
            refresh = PeriodicCallback(lambda: bar.update(task, completed=done(), refresh=True), REFRESH_MS)
            refresh.start()
            try:
                yield
            finally:
                refresh.stop()


class Output(NamedTuple):
    """A file or stream to which `write` writes a result. Error messages contain `name`. `write` can raise OSError."""

    name: str
    write: Callable[[], object]


class Command(ABC):
    """The base class of commands. `execute` calls `run`, and writes `outputs`."""

    def __init__(self, *, prog: str) -> None:
        self._prog = prog

    @abstractmethod
    def run(self) -> ExitStatus:
        """Do the work. A CommandError ends the command with one line on stderr, a KeyboardInterrupt with status 130."""

    def outputs(self) -> Sequence[Output]:
        """Return the outputs of the results so far. Called after `run`, even if `run` failed or was interrupted."""
        return ()

    def execute(self) -> int:
        """Run the command, write its outputs, and return the exit status. Errors are one line on stderr."""
        # `sys.stdout` is None if standard output was closed when the process started.
        if sys.stdout is None:
            return self._fail("the result can't be printed: standard output is closed", ExitStatus.FAILED)
        try:
            status: int = self.run()
        except CommandError as error:
            status = self._fail(str(error), error.exit_status)
        except (KeyboardInterrupt, asyncio.CancelledError):
            status = ExitStatus.INTERRUPTED
        except BrokenPipeError:
            raise
        except BaseException:
            # Even after a bug in this program, write what was measured before it.
            self._write_outputs(ExitStatus.FAILED)
            raise
        return self._write_outputs(status)

    def _write_outputs(self, status: int) -> int:
        """Write all outputs that can be written. Return the status."""
        for output in self.outputs():
            try:
                output.write()
            except OSError as error:
                fault = f"{output.name} can't be written: {reason_of_os_error(error)}"
                status = self._fail(fault, ExitStatus.FAILED)
        return status

    def _fail(self, text: str, status: int) -> int:
        print(f"{self._prog}: {without_keys(text)}", file=sys.stderr)
        return status


def run_to_end(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine on a new loop. Ctrl-C cancels the coroutine; a second Ctrl-C stops the loop at once.

    Raises KeyboardInterrupt if the coroutine did not catch its cancellation, after a second Ctrl-C, or if Ctrl-C came
    after the end of the coroutine.
    """
    is_interrupted = False

    def log_unless_interrupted(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log what asyncio reports, unless a second Ctrl-C caused it: it leaves tasks pending or with an exception."""
        if not (is_interrupted or isinstance(context.get("exception"), KeyboardInterrupt)):
            loop.default_exception_handler(context)

    has_uvloop = find_spec("uvloop") is not None
    try:
        with asyncio.Runner(loop_factory=import_module("uvloop").new_event_loop if has_uvloop else None) as runner:
            runner.get_loop().set_exception_handler(log_unless_interrupted)
            return runner.run(main)
    except KeyboardInterrupt:
        is_interrupted = True
        raise


def print_line(line: str) -> None:
    """Print a line and flush it, so that the reader of a pipe gets it at once."""
    print(line, flush=True)


def file_output(path: Path, content: Callable[[], bytes]) -> Output:
    """Return the output that writes `content` to a file, or to standard output if the path is "-"."""

    def write() -> None:
        if path == STDOUT:
            sys.stdout.buffer.write(content())
            sys.stdout.buffer.flush()
        else:
            path.write_bytes(content())

    return Output(str(path), write)


def json_outputs(path: Path | None, result: Callable[[], object]) -> list[Output]:
    """Return a list with the output of `result()` as JSON; an empty list if `path` is None. The output calls
    `result`."""
    if path is None:
        return []
    return [file_output(path, lambda: msgspec.json.format(msgspec.json.encode(result()), indent=2) + b"\n")]
