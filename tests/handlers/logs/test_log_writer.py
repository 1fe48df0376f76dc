"""The log writer, with real pipes and files: the sequence of lines, stalled and failing descriptors, and closing."""

import os
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from handlers.logs.log_writer import MAX_WAITING_CHARACTERS, LogWriter
from tests.process import DEADLINE_S, wait_until

REPORT = "1970-01-01T00:00:00.000Z WARNING {} log lines were dropped because stderr did not take them\n"
LONG = "x" * 1_000
TOO_LONG = "y" * 100_000
"""More than fits into a pipe."""


class Pipe:
    """A pipe. Nothing is read from it before `read_all` or `close_reader`."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self._is_reader_open = True

    def read_until(self, end: str) -> str:
        text = b""
        while not text.endswith(end.encode()):
            part = os.read(self.reader, 1_000_000)
            assert part
            text += part
        return text.decode()

    def close_reader(self) -> None:
        if self._is_reader_open:
            os.close(self.reader)
        self._is_reader_open = False

    def close(self) -> None:
        self.close_reader()
        os.close(self.writer)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


StartWriter = Callable[[int], LogWriter]


@pytest.fixture
def start_writer(pipe: Pipe) -> Iterator[StartWriter]:
    """Starts a writer for a descriptor."""
    started = []

    def start(descriptor: int) -> LogWriter:
        writer = LogWriter(descriptor, log_format="text", clock=lambda: 0)
        writer.start()
        started.append(writer)
        return writer

    yield start
    pipe.close_reader()  # ends a write that nobody reads
    for each in started:
        each.close()


def stall(writer: LogWriter, pipe: Pipe) -> None:
    """Writes a line that is longer than the pipe's buffer. Returns when the pipe is full."""
    writer.write(TOO_LONG)
    poll = select.poll()
    poll.register(pipe.writer, select.POLLOUT)
    wait_until(lambda: not poll.poll(0))


def test_lines_of_many_threads_are_written_whole_and_in_the_order_of_each_thread(
    tmp_path: Path, start_writer: StartWriter
) -> None:
    with (tmp_path / "log").open("wb") as file:
        writer = start_writer(file.fileno())

        def write(name: str) -> None:
            for number in range(2_000):
                writer.write(f"{name} {number}")

        threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        writer.close()
    written = (tmp_path / "log").read_text().splitlines()
    for name in "abcd":
        assert [each for each in written if each.startswith(name)] == [f"{name} {number}" for number in range(2_000)]
    assert len(written) == 8_000
    assert writer.dropped_lines == 0


def test_a_stalled_reader_costs_lines_that_are_counted_and_reported_in_their_place(
    pipe: Pipe, start_writer: StartWriter
) -> None:
    writer = start_writer(pipe.writer)
    stall(writer, pipe)
    count = 0
    while not writer.dropped_lines:
        count += 1
        writer.write(LONG)
    # The last line but one went over the limit, and the last one was dropped.
    assert (count - 2) * len(LONG) <= MAX_WAITING_CHARACTERS < (count - 1) * len(LONG)
    writer.write("short")
    writer.write("two\nlines")
    assert writer.dropped_lines == 4
    text = pipe.read_until("did not take them\n")
    writer.write("last")
    text += pipe.read_until("last\n")
    assert text == f"{TOO_LONG}\n" + f"{LONG}\n" * (count - 1) + REPORT.format(4) + "last\n"
    assert writer.dropped_lines == 4


def test_close_waits_for_the_lines_and_later_ones_are_written_at_once(pipe: Pipe, start_writer: StartWriter) -> None:
    writer = start_writer(pipe.writer)
    for number in range(100):
        writer.write(str(number))
    writer.close()
    writer.write("later")
    assert pipe.read_until("later\n") == "".join(f"{number}\n" for number in [*range(100), "later"])
    writer.close()


def test_close_does_not_wait_for_a_stalled_reader(pipe: Pipe, start_writer: StartWriter) -> None:
    writer = start_writer(pipe.writer)
    stall(writer, pipe)
    writer.close()
    writer.write("never read")


@pytest.mark.parametrize("device", ["/dev/full", "closed pipe"])
def test_a_failing_write_costs_its_lines_which_are_reported_later(
    tmp_path: Path, device: str, pipe: Pipe, start_writer: StartWriter
) -> None:
    target = os.dup(pipe.writer) if device == "closed pipe" else os.open(device, os.O_WRONLY)
    pipe.close_reader()
    writer = start_writer(target)
    for number in range(3):
        writer.write("lost")
        wait_until(lambda expected=number + 1: writer.dropped_lines == expected)  # type: ignore[misc]
    with (tmp_path / "log").open("wb") as file:
        os.dup2(file.fileno(), target)
        writer.write("first")
        writer.write("second")
        writer.close()
    os.close(target)
    assert (tmp_path / "log").read_text() == REPORT.format(3) + "first\nsecond\n"


def test_a_line_that_is_cut_off_gets_a_line_feed_before_the_next_line(
    tmp_path: Path, pipe: Pipe, start_writer: StartWriter
) -> None:
    target = os.dup(pipe.writer)
    writer = start_writer(target)
    stall(writer, pipe)
    pipe.close_reader()
    wait_until(lambda: writer.dropped_lines == 1)
    with (tmp_path / "log").open("wb") as file:
        os.dup2(file.fileno(), target)
        writer.write("next")
        writer.close()
    os.close(target)
    assert (tmp_path / "log").read_text() == "\n" + REPORT.format(1) + "next\n"


def test_a_non_blocking_descriptor_gets_every_line(pipe: Pipe, start_writer: StartWriter) -> None:
    os.set_blocking(pipe.writer, False)
    writer = start_writer(pipe.writer)
    stall(writer, pipe)
    writer.write("end")
    assert pipe.read_until("\nend\n") == f"{TOO_LONG}\nend\n"
    assert writer.dropped_lines == 0


def test_text_that_is_not_unicode_is_escaped(pipe: Pipe, start_writer: StartWriter) -> None:
    start_writer(pipe.writer).write("a\ud800b")
    assert pipe.read_until("\n") == "a\\ud800b\n"


def test_an_error_on_the_thread_is_written_and_the_thread_goes_on(pipe: Pipe) -> None:
    refusals = iter([True])

    def clock() -> float:
        if next(refusals, False):
            raise OSError("no time")
        return 0.0

    writer = LogWriter(pipe.writer, log_format="text", clock=clock)
    writer.start()
    stall(writer, pipe)
    for _ in range(MAX_WAITING_CHARACTERS // len(LONG) + 2):
        writer.write(LONG)
    # Lines were dropped, and the report about them fails.
    assert "\nThe log failed, and log lines can be missing.\n" in pipe.read_until("\nOSError: no time\n\n")
    writer.write("next line")
    dropped = writer.dropped_lines
    assert pipe.read_until("next line\n") == REPORT.format(dropped) + "next line\n"
    writer.close()
