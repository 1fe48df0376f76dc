"""The PostgreSQL servers of the tests: they end with the tests, whatever ends the tests, and delete their folders."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.postgresql.programs import is_debian
from tests.postgresql.server import PrivateServer, need_postgresql
from tests.process import ROOT, processes_with, wait_until

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

PROGRAM = """
import sys
from tests.postgresql.server import PrivateServer, shared_server, stop_shared_server
folder = shared_server()
assert shared_server() == folder
private = PrivateServer()
print(folder, private.folder, flush=True)
sys.stdin.read()
private.__exit__(None, None, None)
stop_shared_server()
"""


@pytest.fixture
def program() -> subprocess.Popen[str]:
    """A process that has started both kinds of server, as a process of the tests does."""
    need_postgresql()
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_XDIST_WORKER"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [None, signal.SIGTERM, signal.SIGKILL])
def test_no_process_and_no_folder_is_left_when_the_tests_end(
    program: subprocess.Popen[str], number: signal.Signals | None
) -> None:
    assert program.stdout is not None
    folders = [Path(name) for name in program.stdout.readline().split()]
    try:
        assert [(folder.is_dir(), len(processes_with(str(folder))) >= 2) for folder in folders] == [(True, True)] * 2
        if number is not None:
            program.send_signal(number)
    finally:
        program.communicate()
    wait_until(lambda: not any(folder.exists() or processes_with(str(folder)) for folder in folders))
    assert program.returncode == (0 if number is None else -number)


def test_postgresql_ends_with_its_keeper() -> None:
    with PrivateServer() as server:
        pids = processes_with(str(server.folder))
        keeper = [pid for pid in pids if "keeper" in Path(f"/proc/{pid}/cmdline").read_text()]
        assert len(keeper) == 1
        os.kill(keeper[0], signal.SIGKILL)
        wait_until(lambda: not processes_with(str(server.folder), "postgres"))


def test_a_server_can_crash_and_start_again() -> None:
    psql = "import psycopg, sys; print(*psycopg.connect(sys.argv[1], autocommit=True).execute(sys.argv[2]).fetchone())"

    def value_of(statement: str) -> str:
        command = [sys.executable, "-c", psql, server.url(), statement]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()

    with PrivateServer("log_connections=off") as server:
        assert value_of("SHOW fsync") == "on"
        assert value_of("SHOW server_version").startswith("15." if is_debian() else "18.")
        for mode in ("fast", "immediate", "kill"):
            server.stop(mode)
            server.start()
            assert value_of("SELECT 1") == "1"
