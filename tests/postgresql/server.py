"""Real PostgreSQL servers for tests: a server for all tests of a run, and servers that a test can stop and kill."""

import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal

import pytest

from tests.postgresql.programs import base_folder, installed_programs
from tests.process import ROOT

_KEEPER = "tests.postgresql.keeper"
_STOP_DEADLINE_MS = 30_000


def need_postgresql() -> None:
    """If the chosen version of PostgreSQL is not installed, skips the test, or in CI fails the test."""
    if installed_programs() is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("PostgreSQL is not installed")


def url_of(folder: Path, database: str) -> str:
    """The URL of the database on the server in this folder."""
    return f"postgresql://orders@/{database}?host={folder}"


class PrivateServer:
    """A server that the test can stop, kill and start. The end of `with` stops the server and deletes its folder.

    `on_small_disk` puts the tables (`data`) or the write-ahead log (`wal`) on a small disk. Only root can mount it, so
    the test of another user is skipped. If `standby_of` is the folder of a running server, this server is its standby.
    """

    def __init__(
        self, *settings: str, on_small_disk: Literal["data", "wal", ""] = "", standby_of: Path | None = None
    ) -> None:
        need_postgresql()
        if on_small_disk and os.geteuid() != 0:
            pytest.skip("only root can mount a small disk")
        self.folder = Path(tempfile.mkdtemp(prefix="orders-postgresql-", dir=base_folder()))
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", _KEEPER, str(self.folder), "0", on_small_disk, str(standby_of or ""), *settings],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._expect("ready")

    def url(self, database: str = "postgres") -> str:
        return url_of(self.folder, database)

    def start(self) -> None:
        self._command("start")

    def stop(self, mode: str = "fast") -> None:
        """Stops the server: `fast` rolls transactions back, `immediate` is like a crash, `kill` kills one process."""
        self._command(mode)

    def kill_all(self) -> None:
        """Kills all processes of the server, as if the machine had lost its power."""
        self._command("kill all")

    def pause(self) -> None:
        """Stops all processes of the server until `resume`, as if the machine were frozen."""
        self._command("pause")

    def resume(self) -> None:
        self._command("resume")

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Until the end of the block, the small disk has no space left."""
        filler = self.folder / "small" / "filler"
        block = bytes(4096)
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(block):
                pass
        yield
        filler.unlink()

    def __enter__(self) -> "PrivateServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.wait()
        self._keeper.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)  # left if the keeper was killed

    def _command(self, command: str) -> None:
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(f"{command}\n")
        self._keeper.stdin.flush()
        self._expect("done")

    def _expect(self, answer: str) -> None:
        assert self._keeper.stdout is not None
        assert self._keeper.stdout.readline() == f"{answer}\n"


def shared_server() -> Path:
    """The folder of the server that all tests of this run share. The first call starts it."""
    folder = _shared_folder()
    with _locked(folder):
        if _keeper_of(folder) is None:
            for left in folder.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            # Written after the start. So a start that was killed is repeated.
            (folder / "keeper").write_text(str(_spawn_keeper(folder)))
    return folder


def stop_shared_server() -> None:
    """Stops the server of this run, if there is one, and returns when its process has ended and its folder is gone."""
    folder = _shared_folder(creates=False)
    if (keeper := _keeper_of(folder)) is None:
        return
    ended = os.pidfd_open(keeper)
    try:
        os.kill(keeper, signal.SIGTERM)
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        assert poll.poll(_STOP_DEADLINE_MS), "the PostgreSQL server of the tests does not stop"
    finally:
        os.close(ended)
    with contextlib.suppress(ChildProcessError):  # another process of this run has started it
        os.waitpid(keeper, 0)


def _shared_folder(*, creates: bool = True) -> Path:
    # The processes of pytest-xdist have the same parent.
    run = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    folder = base_folder() / f"orders-postgresql-run-{run}"
    if creates:
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Only one process at a time runs the block."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _keeper_of(folder: Path) -> int | None:
    """The process id of the keeper that runs the server in this folder."""
    try:
        pid = int((folder / "keeper").read_text())
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return pid if str(folder) in line else None


def _spawn_keeper(folder: Path) -> int:
    """Starts a keeper that ends with this run of pytest. Returns its process id when the server is ready."""
    run = folder.name.rpartition("-")[2]
    source, target = os.pipe()
    try:
        keeper = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", _KEEPER, str(folder), run, "", ""],
            os.environ | {"PYTHONPATH": str(ROOT)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, target, 1),
            ],
            setsid=True,
        )
    finally:
        os.close(target)
    with open(source) as answers:  # noqa: PTH123 - a descriptor
        assert answers.readline() == "ready\n", "PostgreSQL does not start"
    return keeper
