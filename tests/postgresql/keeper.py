"""A program that runs a PostgreSQL server, and stops it and deletes its folder when the tests end, however they end.

Arguments: the folder, the process id of the tests, which files are on a small disk (see `Server`), and settings of the
server (`name=value`). Commands arrive on stdin, one a line; each is answered with a line on stdout. If the process id
is 0, the program ends when stdin ends, else when that process ends. It also ends on SIGTERM.
"""

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.postgresql.programs import give_away, usable_programs, without_privileges

START_DEADLINE_S = 60.0
SMALL_DISK_MIB = 100
_POLL_INTERVAL_S = 0.005
_STILL_RUNNING = "is still in use"
_PR_SET_PDEATHSIG = 1
_STOP_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "kill": signal.SIGKILL}
_SETTINGS = (
    "listen_addresses=",
    # Files in the folder, which are deleted with it.
    "dynamic_shared_memory_type=mmap",
    "shared_buffers=64MB",
    "max_connections=100",
    "max_wal_size=256MB",
    "log_min_messages=warning",
    "log_checkpoints=off",
)


class Server:
    """A PostgreSQL server in `folder`, which must exist. Accepts connections on a Unix socket in the folder.

    If `on_small_disk` is `data` or `wal`, the tables or the write-ahead log are in a small file system in memory. To
    mount it needs root.
    """

    def __init__(self, folder: Path, on_small_disk: str, settings: list[str]) -> None:
        self._folder = folder
        self._small_disk = folder / "small" if on_small_disk else None
        self._data = folder / ("small/data" if on_small_disk == "data" else "data")
        self._wal = folder / ("small/wal" if on_small_disk == "wal" else "wal")
        self._settings = [*_SETTINGS, f"unix_socket_directories={folder}", *settings]
        self._programs = usable_programs(folder)
        self._libc = ctypes.CDLL(None)
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        if self._small_disk:
            self._small_disk.mkdir()
            options = f"size={SMALL_DISK_MIB}m"
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "orders", self._small_disk], check=True)
            give_away(self._small_disk)
        subprocess.run(
            [
                self._programs / "initdb",
                f"--pgdata={self._data}",
                f"--waldir={self._wal}",
                "--username=orders",
                # Only this user and root can reach the socket, because nobody else can enter the folder.
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--wal-segsize=1",
                "--no-sync",
                "--no-instructions",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            check=True,
            **without_privileges(),
        )

    def delete(self) -> None:
        """Deletes the folder of a server that has stopped."""
        if self._small_disk:
            subprocess.run(["umount", "--lazy", self._small_disk], check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Starts the server if it does not run. Returns when it accepts connections."""
        deadline_s = time.monotonic() + START_DEADLINE_S
        if self._process is None or self._process.poll() is not None:
            self._process = self._run()
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                log = (self._folder / "log").read_text()[-2_000:]
                # After a kill, processes of the server that was killed can still be running.
                if _STILL_RUNNING not in log or time.monotonic() > deadline_s:
                    raise RuntimeError(f"PostgreSQL does not start: {log}")
                (self._folder / "log").write_text("")
                self._process = self._run()
            time.sleep(_POLL_INTERVAL_S)

    def _run(self) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *(f"--{each}" for each in self._settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C"},
                preexec_fn=self._end_with_parent,
                **without_privileges(),
            )

    def stop(self, mode: str) -> None:
        """Stops the server: `fast` rolls transactions back, `immediate` is like a crash, `kill` kills one process."""
        if self._process is not None:
            self.resume()
            self._process.send_signal(_STOP_SIGNALS[mode])
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stops all processes of the server, as if the machine were frozen."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        # First the postmaster, so that it starts no further process.
        self._process.send_signal(number)
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        for pid in map(int, children.split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _end_with_parent(self) -> None:
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)

    def _is_ready(self) -> bool:
        # https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/utils/pidfile.h
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        assert self._process is not None
        return len(lines) >= 8 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"


def _answer(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _obey(server: Server) -> None:
    """Carries out the commands on stdin until it ends."""
    for line in sys.stdin:
        match line.strip():
            case "start":
                server.start()
            case "pause":
                server.pause()
            case "resume":
                server.resume()
            case mode:
                server.stop(mode)
        _answer("done")


def main(arguments: list[str]) -> None:
    folder, watched_pid = Path(arguments[0]), int(arguments[1])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server: Server | None = None
    try:
        give_away(folder)
        server = Server(folder, arguments[2], arguments[3:])
        server.create()
        server.start()
        _answer("ready")
        if watched_pid:
            with contextlib.suppress(ProcessLookupError):
                select.select([os.pidfd_open(watched_pid)], [], [])
        else:
            _obey(server)
    finally:
        if server is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            server.stop("immediate")
            server.delete()


if __name__ == "__main__":
    main(sys.argv[1:])
