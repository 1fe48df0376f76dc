"""Owns what Linux says of a process's memory and threads; on the thread that calls.

https://www.kernel.org/doc/html/latest/filesystems/proc.html
"""

import re
from pathlib import Path
from typing import NamedTuple, Self

from load.cli.errors import CommandError

PROC = Path("/proc")


class ProcessGone(CommandError):
    """There is no such process any more."""

    def __init__(self) -> None:
        super().__init__("the server's process has ended")


class ProcessStatus(NamedTuple):
    """One look. `peak_bytes` is the most memory that was ever resident."""

    memory_bytes: int
    peak_bytes: int
    threads: int

    @classmethod
    def read(cls, process: Path) -> Self:
        """Look at a process, by its folder in /proc; ProcessGone where it is not there."""
        try:
            text = (process / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            raise ProcessGone from None
        # One that has ended and is not waited for is still listed, but has no memory.
        if "\nVmRSS:" not in text:
            raise ProcessGone
        return cls(_number(text, "VmRSS") * 1024, _number(text, "VmHWM") * 1024, _number(text, "Threads"))


def has_status() -> bool:
    """Whether this system says how much memory a process has."""
    return (PROC / "self" / "status").exists()


def _number(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0
