"""Starts a second server: on a target's database, on a damaged copy, or on a disk that becomes read-only.

On the target's database, the second server must refuse to start. On a damaged copy or a read-only disk, it must
respond with a 503. The functions block, and return a text for each problem.
"""

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from load.chaos.databases.disk import create_image, run_program
from load.chaos.databases.sqlite import SqliteDatabase
from load.orders.comparison import ACCEPTED
from load.orders.generated import GeneratedOrders
from load.system.server_process import DidNotEnd, DidNotStart, ServerProcess

START_LIMIT_S, STOP_LIMIT_S, ANSWER_LIMIT_S = 40.0, 60.0, 25.0
UNAVAILABLE = 503
TRUNCATION_LIMIT_S = 1.0  # Later, the server itself can have truncated the WAL, after some seconds without writes.
ERROR = re.compile(r"^\S+ ERROR ", re.MULTILINE)
WARNING_OR_ERROR = re.compile(r"^\S+ (WARNING|ERROR) ", re.MULTILINE)
IMAGE_BYTES = 64 << 20
# Mounts the image "$0" at the folder "$1", so that only this process sees it. Then executes the other arguments.
MOUNT = ("unshare", "--mount", "sh", "-c", 'mount -o loop,errors=remount-ro "$0" "$1" && shift && exec "$@"')
BECOME = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"
JSON = {"Content-Type": "application/json"}

Check = Callable[[ServerProcess], Iterator[str]]


@dataclass(kw_only=True)
class SecondServers:
    """Starts servers with `command`, each in a new folder below `folder`. The folder is kept if something is wrong."""

    command: Sequence[str]
    folder: Path
    orders: GeneratedOrders
    rng: Random
    _numbers: Iterator[int] = field(default_factory=lambda: count(1), init=False)
    _indexes: Iterator[int] = field(default_factory=count, init=False)

    def on_hard_link(self, database: Path, *, owner: int) -> list[str]:
        """Start a server on a hard link to the database of the process `owner`."""
        folder = self._new_folder()
        link = folder / "linked.db"
        link.hardlink_to(database)
        return self._start_refused(link, folder, owner)

    def without_lock_file(self, database: Path, *, owner: int) -> list[str]:
        """Remove the lock file of the process `owner`, and start a server on the same database."""
        Path(f"{database}.lock").unlink(missing_ok=True)
        return self._start_refused(database, self._new_folder(), owner)

    def on_damaged_index(self, database: Path) -> list[str]:
        """Copy the database, overwrite the root page of an index in the copy, and start a server on the copy."""
        folder = self._new_folder()
        copy = SqliteDatabase(database).copy(folder)
        page_bytes, pages = copy.index_pages()
        with copy.path.open("r+b") as file:
            file.seek((self.rng.choice(pages) - 1) * page_bytes)
            # No type of page has the number 255.
            file.write(b"\xff" + self.rng.randbytes(page_bytes - 1))
        return self._serve(copy.path, folder, self._check_failing, line=ERROR)

    def on_truncated_wal(self, database: Path) -> list[str]:
        """Start a server on a copy of the database. Truncate the copy's WAL. Raises TimeoutError if it is too late."""
        folder = self._new_folder()
        copy = SqliteDatabase(database).copy(folder).path

        def check(server: ServerProcess) -> Iterator[str]:
            begun_s = time.monotonic()
            yield from self._check_accepting(server)
            wal = Path(f"{copy}-wal")
            os.truncate(wal, wal.stat().st_size // 2 * self.rng.randrange(2))
            if time.monotonic() - begun_s > TRUNCATION_LIMIT_S:
                raise TimeoutError("the WAL of a copy was truncated too late")
            yield from self._check_failing(server)

        return self._serve(copy, folder, check, line=ERROR)

    def on_read_only_disk(self) -> list[str]:
        """Start a server on a new file system, and make it read-only. Raises NotPossible without root or ext4."""
        folder = self._new_folder()
        image, mounted = folder / "image", folder / "mounted"
        mounted.mkdir()
        create_image(image, IMAGE_BYTES)
        within = (*MOUNT, str(image), str(mounted))
        run_program(*within, "true")

        def check(server: ServerProcess) -> Iterator[str]:
            yield from self._check_accepting(server)
            # "abort" makes the file system read-only, as a disk error does. "ro" fails while a file is open.
            run_program("nsenter", "--mount", f"--target={server.pid}", "mount", "-o", "remount,abort", str(mounted))
            yield from self._check_failing(server)

        return self._serve(mounted / "orders.db", folder, check, line=WARNING_OR_ERROR, within=within)

    def _new_folder(self) -> Path:
        folder = self.folder / f"second-{next(self._numbers)}"
        folder.mkdir()
        return folder

    def _process(self, database: Path, folder: Path, within: Sequence[str] = ()) -> ServerProcess:
        arguments = [*self.command, "--port", "0", "--database", str(database), "--drain-timeout", "1"]
        if within:
            arguments = ["-c", BECOME, *within, sys.executable, *arguments]
        limits: dict[str, Any] = {"start_s": START_LIMIT_S, "stop_s": STOP_LIMIT_S}
        return ServerProcess(arguments, log=folder / "server.log", **limits)

    def _start_refused(self, database: Path, folder: Path, owner: int) -> list[str]:
        process, problems = self._process(database, folder), ["a second server was not refused"]
        try:
            with process:
                pass
        except DidNotStart:
            lines = (folder / "server.log").read_text().splitlines()
            is_named = len(lines) == 1 and re.search(rf"\b{owner}\b", lines[0])
            problems = [] if is_named else ["the refusal of a second server does not name the first one"]
            if process.exit_status != 1:
                problems.append(f"a second server ended with status {process.exit_status}")
        except DidNotEnd as error:
            problems.append(str(error).rpartition(": ")[2])
        return self._finish(folder, problems)

    def _serve(
        self, database: Path, folder: Path, check: Check, *, line: re.Pattern[str], within: Sequence[str] = ()
    ) -> list[str]:
        """Run a server, and stop it after `check`. The server's log must have a line that matches `line`."""
        problems: list[str] = []
        try:
            with self._process(database, folder, within) as server:
                problems += check(server)
        except DidNotStart as error:
            problems.append(f"a second server did not start: {str(error).splitlines()[-1]}")
        except DidNotEnd as error:
            problems.append(f"a second server: {str(error).rpartition(': ')[2]}")
        if not line.search((folder / "server.log").read_text()):
            problems.append("the log of a second server does not say what is wrong")
        return self._finish(folder, problems)

    def _finish(self, folder: Path, problems: list[str]) -> list[str]:
        """Remove the folder unless something is wrong. Return the problems with the folder's name."""
        if not problems:
            shutil.rmtree(folder)
        return [f"{problem} ({folder.name})" for problem in problems]

    def _check_accepting(self, server: ServerProcess) -> Iterator[str]:
        status = self._post(server)
        if status != ACCEPTED:
            yield f"a new order got {status} before the fault"

    def _check_failing(self, server: ServerProcess) -> Iterator[str]:
        status = self._post(server)
        if status != UNAVAILABLE:
            yield f"a new order that can't be stored got {status}"
        status = _ask(server, "GET", "/readyz")
        if status != UNAVAILABLE:
            yield f"/readyz got {status} although orders can't be stored"

    def _post(self, server: ServerProcess) -> int:
        return _ask(server, "POST", "/order", self.orders.body(next(self._indexes)))


def _ask(server: ServerProcess, method: str, path: str, body: bytes | None = None) -> int:
    """Send a request, and return the status of the response; 0 if there is none."""
    try:
        return urllib3.request(
            method, f"{server.url}{path}", body=body, headers=JSON, timeout=ANSWER_LIMIT_S, retries=False
        ).status
    except HTTPError:
        return 0
