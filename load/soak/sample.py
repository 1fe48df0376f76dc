"""Owns what can be seen of a server from outside: what Linux says of its process and files; on the thread that calls.

https://www.kernel.org/doc/html/latest/filesystems/proc.html
"""

import os
from pathlib import Path
from typing import NamedTuple

from load.system.process_status import ProcessGone, ProcessStatus

SOCKET = "socket:"


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
    status = ProcessStatus.read(process)
    try:
        times = (process / "stat").read_text()
        links = _links(process / "fd")
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessGone from None
    sockets = sum(link.startswith(SOCKET) for link in links)
    return Sample(
        memory_bytes=status.memory_bytes,
        peak_bytes=status.peak_bytes,
        threads=status.threads,
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


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
