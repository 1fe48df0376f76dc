"""Tests the wall clock and the standard error of a program that load.chaos controls."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from load.chaos.servers.controlled import Controls, is_full
from tests.process import ROOT, wait_until

PRINT_TIMES = "import sys, time\nfor _ in sys.stdin: print(time.time(), time.time_ns(), time.monotonic(), flush=True)"
WRITE_LOG = "import sys\nfor size in sys.stdin: sys.stderr.write('.' * int(size)); print('written', flush=True)"
STAY_BELOW = "import sys\nfor _ in sys.stdin: print(sys.argv, __name__, flush=True)"


@contextmanager
def running(code: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], Controls]]:
    """Run a program under the control of this process. Its standard error goes to the file `log`."""
    program, controls = folder / "program.py", Controls(folder / "controls")
    program.write_text(code)
    command = [sys.executable, "-m", "load.chaos.servers.controlled", str(controls.path), str(program), "argument"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
    with process:
        try:
            yield process, controls
        finally:
            process.kill()


def ask(process: subprocess.Popen[str], line: str = "") -> str:
    """Send a line to the program, and return the line that it prints."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_only_the_wall_clock_is_stepped(tmp_path: Path) -> None:
    with running(PRINT_TIMES, tmp_path) as (process, controls):
        for ahead_s, step_s in ((0, 0), (7200, 7200), (-3600, -10_800)):
            controls.step_clock(step_s)
            assert controls.ahead_s == ahead_s
            before = [float(each) for each in ask(process).split()]
            clocks = subprocess.run(
                [sys.executable, "-c", "import time; print(time.time(), time.time_ns(), time.monotonic())"],
                capture_output=True,
                text=True,
                check=True,
            )
            after = [float(each) for each in clocks.stdout.split()]
            ahead = [before[0] - after[0], (before[1] - after[1]) / 1e9, before[2] - after[2]]
            assert [round(each / 3600) * 3600 for each in ahead] == [ahead_s, ahead_s, 0]
        assert controls.steps_s == {0, 7200, -3600}


def test_the_program_has_its_own_name_and_arguments(tmp_path: Path) -> None:
    with running(STAY_BELOW, tmp_path) as (process, _):
        assert ask(process) == f"['{tmp_path}/program.py', 'argument'] __main__"


def test_a_program_whose_standard_error_is_not_read_waits(tmp_path: Path) -> None:
    with running(WRITE_LOG, tmp_path) as (process, controls):
        assert ask(process, "10") == "written"
        os.kill(controls.reader, signal.SIGSTOP)
        assert not is_full(controls.reader)
        assert process.stdin is not None
        # More than the reader can take before it stops.
        process.stdin.write("1000000\n")
        process.stdin.flush()
        wait_until(lambda: is_full(controls.reader))
        os.kill(controls.reader, signal.SIGCONT)
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        wait_until(lambda: (tmp_path / "log").stat().st_size == 1_000_010)
        # A number of a process that does not exist.
        assert not is_full(2**22 + 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_reader_ends_with_the_program(number: signal.Signals, tmp_path: Path) -> None:
    with running(WRITE_LOG, tmp_path) as (process, controls):
        assert ask(process, "10") == "written"
        process.send_signal(number)
        wait_until(lambda: not Path(f"/proc/{controls.reader}").exists() or _is_dead(controls.reader))


def _is_dead(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"
