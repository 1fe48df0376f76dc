"""Tests what signals, broken pipes and closed standard streams do to the commands of `load/`."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.load.shop import Shop
from tests.process import HANGS_AFTER_S, ROOT, wait_until

pytestmark = pytest.mark.slow

WAITER = """
import asyncio, sys
from load.cli.command import run_to_end
from load.cli.program import run_program

async def wait():
    print("waits", flush=True)
    await asyncio.Event().wait()

def main(arguments):
    try:
        run_to_end(wait())
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("cleans up", flush=True)
        return 130

run_program("__main__")
"""
TALKER = """
from load.cli.program import run_program
main = lambda _: [print('x' * 100) for _ in range(10_000)][0]
run_program('__main__')
"""
INTERRUPTED_WHILE_IMPORTING = """
import os, signal, sys
from load.cli.program import run_program

module = sys.argv.pop(1)

class Interrupting:
    @staticmethod
    def find_spec(name, path, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting)
run_program("load.command")
"""


def start(*command: str, in_background: bool = False) -> subprocess.Popen[str]:
    """Start Python as a shell does: with the default signal handlers, or `in_background` with SIGINT ignored."""
    interrupts = signal.signal(signal.SIGINT, signal.SIG_IGN if in_background else signal.default_int_handler)
    hangups = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        return subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, interrupts)
        signal.signal(signal.SIGHUP, hangups)


@pytest.mark.parametrize(
    ("number", "in_background"),
    [
        (signal.SIGTERM, False),
        (signal.SIGTERM, True),
        (signal.SIGHUP, False),
        (signal.SIGHUP, True),
        (signal.SIGINT, False),
    ],
)
def test_a_command_cleans_up_when_a_signal_ends_it(number: signal.Signals, in_background: bool) -> None:
    with start("-c", WAITER, in_background=in_background) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        process.send_signal(number)
        assert process.communicate(timeout=HANGS_AFTER_S)[0] == "cleans up\n"
        assert process.returncode == 128 + number


def test_a_command_ends_quietly_after_a_broken_pipe() -> None:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'{sys.executable} -c "{TALKER}" | head -1'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    "command",
    [
        ["load.soak", "--minutes", "1", "--folder"],
        ["load.bench", "--only", "crowd", "--runs", "50", "--folder"],
        ["load.chaos", "--folder"],
    ],
    ids=lambda command: str(command[0]),
)
def test_a_terminated_command_leaves_no_server_and_no_folder(command: list[str], tmp_path: Path) -> None:
    with start("-m", *command, str(tmp_path)) as process:
        wait_until(lambda: len(servers_in(tmp_path)) > 0)
        process.terminate()
        process.communicate(timeout=HANGS_AFTER_S)
        assert process.returncode == 143
    assert servers_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def servers_in(folder: Path) -> list[int]:
    """Return the ids of the server processes whose command lines contain the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:  # the process has ended
            continue
        if os.fsencode(folder) in line and b"server.py" in line:
            found.append(int(path.parent.name))
    return found


def _run(shop: Shop, redirection: str, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "load", "--url", shop.url, "--orders", "5", *flags]
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER_S,
        check=False,
    )


@pytest.mark.parametrize("redirection", [">&-", "<&- >&-"])
def test_a_closed_standard_output_is_an_error_before_any_order_is_sent(redirection: str, shop: Shop) -> None:
    run = _run(shop, redirection)
    assert (run.returncode, shop.ids) == (1, [])
    assert run.stderr == "python -m load: the result can't be printed: standard output is closed\n"


def test_a_closed_standard_error_does_not_stop_a_run(shop: Shop, tmp_path: Path) -> None:
    run = _run(shop, "<&- 2>&-", "--json", str(tmp_path / "result.json"))
    assert (run.returncode, len(shop.ids)) == (0, 5)
    assert "Read back 5 of 5" in run.stdout
    assert (tmp_path / "result.json").stat().st_size > 0
    assert _run(shop, ">&- 2>&-").returncode == 1


@pytest.mark.parametrize("while_importing", ["tornado.iostream", "msgspec", "rich.console"])
def test_ctrl_c_during_the_start_ends_quietly(while_importing: str, shop: Shop) -> None:
    command = [sys.executable, "-c", INTERRUPTED_WHILE_IMPORTING, while_importing, "--url", shop.url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANGS_AFTER_S, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
