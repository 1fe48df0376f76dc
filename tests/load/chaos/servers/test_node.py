"""Tests servers that end, or do not start, although no fault was injected."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from load.chaos.report import WRONG, Findings
from load.chaos.servers.controlled import Controls
from load.chaos.servers.node import Node, RunFailed

LISTENING = "print('listening on http://127.0.0.1:9', flush=True)"


class SignallingFindings(Findings):
    """Findings that release the semaphore `added` for each problem, so that a test can wait for it."""

    def __init__(self) -> None:
        super().__init__(target="record")
        self.added = asyncio.Semaphore(0)

    def add(self, row: str, text: str = "", order_id: int = 0) -> None:
        super().add(row, text, order_id)
        self.added.release()


@contextmanager
def server_of(code: str, folder: Path) -> Iterator[Node]:
    """Yield a server that runs the Python program `code` instead of the server."""
    server = Node(
        findings=SignallingFindings(),
        command=["-c", code],
        controls=Controls(folder / "controls"),
        folder=folder / "record",
        database="orders.db",
    )
    try:
        yield server
    finally:
        server.close()


def problems_of(server: Node) -> list[str]:
    return [text for text, _ in server.findings.problems[WRONG]]


def test_a_server_that_ends_by_itself_is_wrong_and_is_restarted(tmp_path: Path) -> None:
    async def run(server: Node) -> None:
        assert isinstance(server.findings, SignallingFindings)
        added = server.findings.added
        await server.start()
        watcher = asyncio.create_task(server.restart_when_ended(every_s=0.01))
        async with asyncio.timeout(10):
            await added.acquire()
            await added.acquire()
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)

    with server_of(f"{LISTENING}; raise SystemExit(3)", tmp_path) as server:
        asyncio.run(run(server))
        assert set(problems_of(server)) == {"the server ended by itself with status 3"}


@pytest.mark.parametrize("is_blocked", [False, True])
def test_a_failed_start_is_wrong_unless_it_was_blocked(
    is_blocked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("load.chaos.servers.node.RETRY_START_S", 0.0)  # makes the test fast
    monkeypatch.setattr("load.chaos.servers.node.START_ATTEMPTS", 2)  # makes the test fast

    async def run(server: Node) -> None:
        with pytest.raises(RunFailed):
            await server.start()

    with server_of("raise SystemExit('no')", tmp_path) as server:
        if is_blocked:
            with server.start_blocked():
                asyncio.run(run(server))
        else:
            asyncio.run(run(server))
        assert problems_of(server) == ([] if is_blocked else ["a start failed: no"] * 2)


@pytest.mark.parametrize(("status", "problems"), [(0, []), (4, ["exit status 4 after SIGTERM"])])
def test_any_status_but_0_after_sigterm_is_wrong(status: int, problems: list[str], tmp_path: Path) -> None:
    code = (
        f"import os, signal; signal.signal(signal.SIGTERM, lambda *_: os._exit({status})); {LISTENING}; signal.pause()"
    )

    async def run(server: Node) -> None:
        await server.start()
        await server.terminate()

    with server_of(code, tmp_path) as server:
        asyncio.run(run(server))
        assert problems_of(server) == problems


def test_a_process_that_can_not_be_created_is_not_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise BlockingIOError("no more processes")

    async def run(server: Node) -> None:
        async with asyncio.timeout(10):
            await server.kill_while_starting(after_s=0.0)
        with pytest.raises(BlockingIOError, match="no more processes"):
            await server.start()

    # A test can't make the system refuse a new process.
    monkeypatch.setattr("load.system.server_process.subprocess.Popen", refuse)
    with server_of(LISTENING, tmp_path) as server:
        asyncio.run(run(server))
        assert problems_of(server) == []


@pytest.mark.parametrize("is_blocked", [False, True])
def test_a_server_that_ends_before_its_kill_is_wrong_unless_blocked(is_blocked: bool, tmp_path: Path) -> None:
    with server_of("raise SystemExit(3)", tmp_path) as server:

        async def run() -> None:
            await server.kill_while_starting(after_s=10.0)

        if is_blocked:
            with server.start_blocked():
                asyncio.run(run())
        else:
            asyncio.run(run())
        assert problems_of(server) == (
            [] if is_blocked else ["the server ended by itself with status 3 while it started"]
        )
