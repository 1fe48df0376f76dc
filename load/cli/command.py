"""Defines the base class of all commands, and shows progress. Runs on the main thread, outside the event loop."""

import asyncio
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tornado.ioloop import PeriodicCallback

from load.cli.errors import CommandError, ExitStatus, reason_of_os_error, without_keys
from load.cli.flags import STDOUT

REFRESH_MS = 100


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
    """The base class of commands. `execute` checks that `files` can be written, calls `run`, and writes `outputs`."""

    def __init__(self, *, prog: str, files: Sequence[Path | None] = ()) -> None:
        self._prog = prog
        self._files = files

    @abstractmethod
    def run(self) -> ExitStatus:
        """Do the work. A CommandError ends the command with one line on stderr, a KeyboardInterrupt with status 130."""

    def outputs(self) -> Sequence[Output]:
        """Return the outputs of the results so far. Called after `run`, even if `run` failed or was interrupted."""
        return ()

    def execute(self) -> int:
        """Run the command, write its outputs, and return the exit status. Errors are one line on stderr."""
        if problem := _find_unwritable(self._files):
            return self._fail(problem, ExitStatus.FAILED)
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
        """Write all outputs that can be written. Return the status. After Ctrl-C, print which outputs are missing."""
        remaining: list[Output] = []
        try:
            remaining += self.outputs()
            while remaining:
                try:
                    remaining[0].write()
                except OSError as error:
                    status = self._fail(_unwritable(remaining[0].name, error), ExitStatus.FAILED)
                del remaining[0]
        except KeyboardInterrupt:
            status = ExitStatus.INTERRUPTED
            if remaining:
                names = ", ".join(output.name for output in remaining)
                self._fail(f"interrupted, so these are missing or incomplete: {names}", status)
        return status

    def _fail(self, text: str, status: int) -> int:
        print(f"{self._prog}: {without_keys(text)}", file=sys.stderr)
        return status


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
    """Return one output that writes JSON, or none if `path` is None. `result` is called when the output is written."""
    if path is None:
        return []
    return [file_output(path, lambda: msgspec.json.format(msgspec.json.encode(result()), indent=2) + b"\n")]


def _find_unwritable(paths: Sequence[Path | None]) -> str:
    """Return why standard output or a file can't be written, or "". Removes files that it creates for the test."""
    # `sys.stdout` is None if standard output was closed when the process started.
    if sys.stdout is None:
        return "the result can't be printed: standard output is closed"
    for path in filter(None, paths):
        existed = path.exists()
        # A pipe is not opened, because closing it again would signal end of file to its reader.
        if path == STDOUT or (existed and not path.is_file()):
            continue
        try:
            path.open("ab").close()
            if not existed:
                path.unlink()
        except OSError as error:
            return _unwritable(path, error)
    return ""


def _unwritable(name: object, error: OSError) -> str:
    return f"{name} can't be written: {reason_of_os_error(error)}"
