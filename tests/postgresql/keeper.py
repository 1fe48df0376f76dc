"""A program that runs a PostgreSQL server. When the tests end for any reason, stops the server and deletes its folder.

Arguments: the folder, the process id of the tests, which files are on a small disk (see `Server`), the folder of the
primary if the server is a standby, and settings of the server (`name=value`). Commands arrive on stdin, one a line;
each is answered with a line on stdout. If the process id is 0, the program ends when stdin ends, else when that process
ends. It also ends on SIGTERM.
"""

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from load.system.postgresql import PostgresqlServer, give_away
from tests.postgresql.programs import installed_programs

SMALL_DISK_MIB = 100
_PR_SET_PDEATHSIG = 1
_STOP_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "kill": signal.SIGKILL}


class Server(PostgresqlServer):
    """A PostgreSQL server that ends with this program, in `folder`, which must exist.

    If `on_small_disk` is `data` or `wal`, the tables or the write-ahead log are in a small file system in memory. To
    mount it needs root.
    """

    def __init__(self, folder: Path, on_small_disk: str, settings: list[str]) -> None:
        programs = installed_programs()
        if programs is None:
            raise FileNotFoundError("PostgreSQL is not installed")
        data, wal = (folder / ("small" if on_small_disk == name else "") / name for name in ("data", "wal"))
        super().__init__(folder, programs=programs, data=data, wal=wal, settings=settings)
        self._small_disk = folder / "small" if on_small_disk else None
        self._libc = ctypes.CDLL(None)

    def create(self) -> None:
        if self._small_disk:
            self._small_disk.mkdir()
            options = f"size={SMALL_DISK_MIB}m"
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "orders", self._small_disk], check=True)
            give_away(self._small_disk)
        super().create()

    def delete(self) -> None:
        """Deletes the folder of a server that has stopped."""
        if self._small_disk:
            subprocess.run(["umount", "--lazy", self._small_disk], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self, number: signal.Signals) -> None:
        self.send_signal(signal.SIGCONT)
        super().stop(number)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the main process of the server, and then to the processes that it has started."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(number)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        for pid in map(int, children.split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def process_options(self) -> dict[str, Any]:
        return super().process_options() | {"preexec_fn": self._end_with_parent}

    def _end_with_parent(self) -> None:
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


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
                server.send_signal(signal.SIGSTOP)
            case "resume":
                server.send_signal(signal.SIGCONT)
            case "kill all":
                server.kill_all()
            case mode:
                server.stop(_STOP_SIGNALS[mode])
        _answer("done")


def main(arguments: list[str]) -> None:
    folder, watched_pid = Path(arguments[0]), int(arguments[1])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server: Server | None = None
    try:
        give_away(folder)
        server = Server(folder, arguments[2], arguments[4:])
        if primary := arguments[3]:
            server.create_standby(Path(primary))
        else:
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
            server.stop(signal.SIGQUIT)
            server.delete()


if __name__ == "__main__":
    main(sys.argv[1:])
