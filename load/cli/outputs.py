"""Owns where a run's result goes, whether it can go there, and the exit statuses; on the main thread."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from load.cli.flag_types import STDOUT, without_keys
from load.settings import Settings

GOOD, BAD, MISUSED, INTERRUPTED = 0, 1, 2, 130


class Output(NamedTuple):
    """One place that the result is written to, named as in a message; `write` raises OSError where it can't."""

    name: str
    write: Callable[[], object]


class Unwritable(Exception):
    """The result of a run could not be written, which is known before; the text names where and says why."""


def check_outputs(settings: Settings) -> None:
    """See before a run that its result can be printed and its files be made; Unwritable, and no new file is left."""
    # None where the process was started with it closed.
    if sys.stdout is None:
        raise Unwritable("the result can't be printed: standard output is closed")
    check_files(settings.json, settings.report)


def check_files(*paths: Path | None) -> None:
    """See before a run that these files can be made; Unwritable, and no new file is left."""
    for path in paths:
        # A pipe is not opened: its reader would take the closing for the end.
        if path and path != STDOUT and (path.is_file() or not path.exists()):
            _try_to_open(path)


def write_all(outputs: Sequence[Output], status: int) -> int:
    """Write to as many places as can be written to and give the exit status: `status` where nothing was in the way.

    Of a Ctrl-C meanwhile it says what it kept from being written.
    """
    left = list(outputs)
    try:
        while left:
            try:
                left[0].write()
            except OSError as problem:
                status = fail(f"{left[0].name} can't be written: {(problem.strerror or '').lower()}", BAD)
            del left[0]
    except KeyboardInterrupt:
        if left:
            fail(f"interrupted: not written, or not as a whole: {', '.join(output.name for output in left)}", status)
        status = INTERRUPTED
    return status


def output_to(path: Path, content: Callable[[], bytes]) -> Output:
    """Give the output of what `content` makes to a file, or to standard output."""

    def write() -> None:
        if path == STDOUT:
            sys.stdout.buffer.write(content())
            sys.stdout.buffer.flush()
        else:
            path.write_bytes(content())

    return Output(str(path), write)


def encode_json(result: object) -> bytes:
    """Encode a result so that people can read it, too."""
    return msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"


def write_json(path: Path, result: object) -> None:
    """Write a result to a file; Unwritable."""
    try:
        path.write_bytes(encode_json(result))
    except OSError as problem:
        raise Unwritable(f"{path} can't be written: {(problem.strerror or 'unknown error').lower()}") from None


def fail(line: str, status: int) -> int:
    """Print one line on standard error, and give the status."""
    print(f"python -m load: {without_keys(line)}", file=sys.stderr)
    return status


def _try_to_open(path: Path) -> None:
    was_there = path.exists()
    try:
        with path.open("ab"):
            pass
        if not was_there:
            path.unlink()
    except OSError as problem:
        raise Unwritable(f"{path} can't be written: {(problem.strerror or 'unknown error').lower()}") from None
