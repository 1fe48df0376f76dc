"""Tests starting and stopping a server that a command runs."""

import os
from itertools import count
from pathlib import Path

import pytest

from load.system.server_process import DidNotEnd, DidNotStart, ServerProcess
from tests.process import DEADLINE_S

LISTENING = "print('listening on http://127.0.0.1:9', flush=True)"
ENDING = "import os, signal; signal.signal(signal.SIGTERM, lambda *_: {}); " + LISTENING + "; {}"


def _server(code: str, folder: Path, *, stop_s: float = DEADLINE_S) -> ServerProcess:
    return ServerProcess(["-c", code], log=folder / "log", stop_s=stop_s)


def test_a_server_that_ends_with_status_0_raises_nothing(tmp_path: Path) -> None:
    with _server(ENDING.format("os._exit(0)", "signal.pause()"), tmp_path) as server:
        assert server.url.port == 9


def test_a_server_that_ends_with_an_error_raises(tmp_path: Path) -> None:
    server = _server(ENDING.format("os._exit(7)", "signal.pause()"), tmp_path)
    with pytest.raises(DidNotEnd, match="exit status 7 after SIGTERM"), server:
        pass


def test_a_server_that_was_killed_before_its_stop_raises(tmp_path: Path) -> None:
    server = _server(ENDING.format("os._exit(0)", "signal.pause()"), tmp_path)
    with pytest.raises(DidNotEnd, match="exit status -9 before SIGTERM"), server:
        server.kill()


def test_an_exception_of_the_block_is_raised_first(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), _server(ENDING.format("os._exit(7)", "signal.pause()"), tmp_path):
        raise ZeroDivisionError


def test_a_server_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    with (
        pytest.raises(DidNotEnd, match=r"it did not end within 0\.2 s after SIGTERM"),
        _server(ENDING.format("None", "[signal.pause() for _ in iter(int, 1)]"), tmp_path, stop_s=0.2) as server,
    ):
        os.kill(server.pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_a_server_that_does_not_start_raises_with_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(DidNotStart, match="no room"), _server("raise SystemExit('no room')", tmp_path):
        pass


def test_a_server_that_never_says_where_it_listens_did_not_start(tmp_path: Path) -> None:
    with (
        pytest.raises(DidNotStart, match="did not say where it listens within 15 s"),
        ServerProcess(["-c", "import signal; signal.pause()"], log=tmp_path / "log", clock_s=count(0, 5).__next__),
    ):
        pass
