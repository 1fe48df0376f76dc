"""Describes the machine, raises the limit on open files, makes folders, and reads a process's status from /proc.

Runs on the main thread; the status can be read on any thread. The fields of /proc:
https://www.kernel.org/doc/html/latest/filesystems/proc.html
"""

import asyncio
import os
import platform
import re
import resource
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple, Self

import msgspec

from load.cli.errors import CommandError, UsageError
from load.cli.program import uninterrupted

PACKAGES = ("tornado", "peewee", "msgspec", "uvloop")
OTHER_FILES = 20  # Files besides connections: standard streams, the event loop's descriptors, the result.
IGNORE_ALL = "*\n"  # The content of a .gitignore file, so that the databases are not committed.
BUSY_SHARE = 0.9  # A client that used a larger share of a core was too busy to measure the server's speed.
PROC = Path("/proc")
PROCESS_ENDED = "the server's process has ended, or this system has no /proc"
NUMBERS = re.compile(r"^(VmRSS|VmHWM|Threads):\s+(\d+)", re.MULTILINE)


@contextmanager
def new_folder(
    parent: Path, *, prefix: str, is_wanted: Callable[[], bool], print_line: Callable[[str], object] = print
) -> Iterator[Path]:
    """Create a folder for databases and logs, yield its absolute path, and remove it at the end unless `is_wanted()`.

    The folder is also kept after a bug: any exception except CommandError, Ctrl-C and a broken pipe. If the folder is
    kept, its path is printed.
    """
    folder = Path(mkdtemp(dir=parent.resolve(), prefix=prefix))
    is_kept = True
    try:
        (folder / ".gitignore").write_text(IGNORE_ALL)
        yield folder
        is_kept = is_wanted()
    except CommandError:
        is_kept = is_wanted()
        raise
    except (KeyboardInterrupt, asyncio.CancelledError, BrokenPipeError):
        is_kept = False
        raise
    finally:
        if is_kept:
            print_line(f"The databases and logs are in {parent / folder.name}")
        else:
            with uninterrupted():
                shutil.rmtree(folder)


def allow_connections(count: int, *, flag: str = "") -> None:
    """Raise the soft limit on open files to the hard limit. Raises CommandError if this is too low for `count`.

    `flag` is the flag that sets the number of connections, if such a flag exists. With `flag`, the error is a
    UsageError that suggests a value for the flag.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            # macOS reports an infinite hard limit but accepts only a lower one.
            hard = soft
    if hard != resource.RLIM_INFINITY and count + OTHER_FILES > hard:
        possible = max(0, hard - OTHER_FILES)
        text = f"{count} connections need more open files than the limit of {hard} allows (ulimit -n): {possible} are"
        if flag:
            raise UsageError(f"{text} possible, with {flag} {possible}")
        raise CommandError(f"{text} possible")


def most_connections() -> int:
    """Return how many connections the soft limit on open files allows; 1 if it allows none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(1, soft - OTHER_FILES)


def describe_machine(folder: Path | None = None) -> dict[str, str]:
    """Return texts that name the processors, the versions of software, and the file system of the folder."""
    return {
        "cpus": f"{os.cpu_count()} x {_cpu_model()}",
        "platform": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        **_versions(),
        **({} if folder is None else {"file_system": _file_system(folder)}),
    }


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) if find_spec(name) else "not installed" for name in PACKAGES}


def _cpu_model() -> str:
    models = (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _lines(file: str) -> list[str]:
    """Return the lines of a file in /proc; no lines if the system has no such file."""
    return Path(file).read_text().splitlines() if Path(file).exists() else []


def _file_system(folder: Path) -> str:
    """Return the type of the file system: on tmpfs, for example, a sync takes no time."""
    mounts = [line.split() for line in _lines("/proc/mounts")]
    above = [(len(mount[1]), mount[2]) for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    return max(above)[1] if above else "unknown file system"


class MachineTime(NamedTuple):
    """The CPU time of all CPUs of the machine, in clock ticks: in use, and altogether."""

    busy: int
    all: int

    @classmethod
    def read(cls) -> Self:
        # The fields are user, nice, system, idle, iowait, irq, softirq and steal.
        ticks = [int(each) for each in _lines("/proc/stat")[0].split()[1:9]]
        return cls(sum(ticks) - ticks[3] - ticks[4], sum(ticks))

    def since(self, earlier: "MachineTime") -> "MachineTime":
        return MachineTime(self.busy - earlier.busy, self.all - earlier.all)

    @property
    def busy_share(self) -> float:
        return self.busy / max(1, self.all)


class ProcessStatus(msgspec.Struct, frozen=True):
    """The resources that a process uses. `peak_mib` is its highest memory so far. `files` does not count sockets."""

    memory_mib: float
    peak_mib: float
    threads: int
    files: int
    sockets: int
    cpu_s: float

    @classmethod
    def read(cls, pid: int) -> Self:
        """Read the status of a process from /proc. Raises CommandError if the process has ended."""
        process = PROC / str(pid)
        try:
            status, stat = (process / "status").read_text(), (process / "stat").read_text()
            links = [_link(entry) for entry in (process / "fd").iterdir()]
        except (FileNotFoundError, ProcessLookupError):
            raise CommandError(PROCESS_ENDED) from None
        numbers = {name: int(number) for name, number in NUMBERS.findall(status)}
        # A zombie process is still listed, but has no memory.
        if "VmRSS" not in numbers:
            raise CommandError(PROCESS_ENDED)
        # The process's name can contain any characters; it ends at the last ")". Fields 14 and 15 are the CPU time.
        ticks = map(int, stat.rpartition(")")[2].split()[11:13])
        return cls(
            memory_mib=numbers["VmRSS"] / 1024,
            peak_mib=numbers["VmHWM"] / 1024,
            threads=numbers["Threads"],
            files=sum(bool(link) and not link.startswith("socket:") for link in links),
            sockets=sum(link.startswith("socket:") for link in links),
            cpu_s=sum(ticks) / os.sysconf("SC_CLK_TCK"),
        )


def _link(entry: Path) -> str:
    """Return the target of a link in /proc/PID/fd; an empty string if the file has been closed."""
    try:
        return str(entry.readlink())
    except FileNotFoundError:
        return ""
