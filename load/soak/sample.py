"""Owns what can be seen of a server from outside: what Linux says of its process and files; on the thread that calls.

https://www.kernel.org/doc/html/latest/filesystems/proc.html
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
SOCKET = "socket:"


class ProcessGone(Exception):
    """There is no such process any more."""

    def __init__(self) -> None:
        super().__init__("the server's process has ended")


class Sample(NamedTuple):
    """One look. `peak_bytes` is the most memory that was ever resident; `files` are those that are no sockets.

    `cpu_s` is the processor time since the start, all threads together.
    """

    memory_bytes: int
    peak_bytes: int
    threads: int
    files: int
    sockets: int
    wal_bytes: int
    database_bytes: int
    cpu_s: float


def take_sample(process: Path, database: Path) -> Sample:
    """Look at a process, by its folder in /proc, and at the size of its database; ProcessGone where it is not there."""
    try:
        status = (process / "status").read_text()
        times = (process / "stat").read_text()
        links = _links(process / "fd")
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessGone from None
    # One that has ended and is not waited for is still listed, but has no memory.
    if "\nVmRSS:" not in status:
        raise ProcessGone
    sockets = sum(link.startswith(SOCKET) for link in links)
    return Sample(
        memory_bytes=_number(status, "VmRSS") * 1024,
        peak_bytes=_number(status, "VmHWM") * 1024,
        threads=_number(status, "Threads"),
        files=len(links) - sockets,
        sockets=sockets,
        wal_bytes=_size(database.with_name(f"{database.name}-wal")),
        database_bytes=_size(database),
        cpu_s=_cpu_s(times),
    )


def _cpu_s(times: str) -> float:
    # The name, which may have anything in it, ends with the last bracket; fields 14 and 15 are user and system ticks.
    fields = times.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _links(folder: Path) -> list[str]:
    """Give what each open file is; one that is closed meanwhile is left out."""
    links = []
    for entry in folder.iterdir():
        try:
            links.append(str(entry.readlink()))
        except FileNotFoundError:
            continue
    return links


def _number(status: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
    return int(found[1]) if found else 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
