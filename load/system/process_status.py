"""The memory, threads, files and processor time of a process, as Linux reports them. Any thread.

https://www.kernel.org/doc/html/latest/filesystems/proc.html
"""

import os
import re
from pathlib import Path
from typing import NamedTuple, Self

from load.cli.errors import CommandError

PROC = Path("/proc")
NUMBERS = re.compile(r"^(VmRSS|VmHWM|Threads):\s+(\d+)", re.MULTILINE)


class ProcessGone(CommandError):
    """The process has ended."""

    def __init__(self) -> None:
        super().__init__("the server's process has ended")


class ProcessStatus(NamedTuple):
    """A process at one moment. `peak_bytes` is the most memory that was ever resident; `files` are without sockets.

    `cpu_s` is the processor time of all threads since the start.
    """

    memory_bytes: int
    peak_bytes: int
    threads: int
    files: int
    sockets: int
    cpu_s: float

    @classmethod
    def read(cls, process: Path) -> Self:
        """Read the status of a process, by its folder in /proc; ProcessGone if it has ended."""
        try:
            status, stat = (process / "status").read_text(), (process / "stat").read_text()
            links = [_link(entry) for entry in (process / "fd").iterdir()]
        except (FileNotFoundError, ProcessLookupError):
            raise ProcessGone from None
        numbers = {name: int(number) for name, number in NUMBERS.findall(status)}
        # A process that has ended and was not waited for is still listed, but has no memory.
        if "VmRSS" not in numbers:
            raise ProcessGone
        # The process's name, which may have any characters, ends with the last bracket. Fields 14 and 15 are ticks.
        ticks = map(int, stat.rpartition(")")[2].split()[11:13])
        return cls(
            memory_bytes=numbers["VmRSS"] * 1024,
            peak_bytes=numbers["VmHWM"] * 1024,
            threads=numbers["Threads"],
            files=sum(bool(link) and not link.startswith("socket:") for link in links),
            sockets=sum(link.startswith("socket:") for link in links),
            cpu_s=sum(ticks) / os.sysconf("SC_CLK_TCK"),
        )


def has_status() -> bool:
    """Whether this system reports the memory of a process."""
    return (PROC / "self" / "status").exists()


def _link(entry: Path) -> str:
    """Return what an open file is; an empty text if it has been closed."""
    try:
        return str(entry.readlink())
    except FileNotFoundError:
        return ""
