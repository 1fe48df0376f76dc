"""The memory and threads of a process, as Linux reports them. Any thread.

https://www.kernel.org/doc/html/latest/filesystems/proc.html
"""

import re
from pathlib import Path
from typing import NamedTuple, Self

from load.cli.errors import CommandError

PROC = Path("/proc")


class ProcessGone(CommandError):
    """The process has ended."""

    def __init__(self) -> None:
        super().__init__("the server's process has ended")


class ProcessStatus(NamedTuple):
    """A process at one moment. `peak_bytes` is the most memory that was ever resident."""

    memory_bytes: int
    peak_bytes: int
    threads: int

    @classmethod
    def read(cls, process: Path) -> Self:
        """Read the status of a process, by its folder in /proc; ProcessGone if it has ended."""
        try:
            text = (process / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            raise ProcessGone from None
        # A process that has ended and was not waited for is still listed, but has no memory.
        if "\nVmRSS:" not in text:
            raise ProcessGone
        return cls(_number(text, "VmRSS") * 1024, _number(text, "VmHWM") * 1024, _number(text, "Threads"))


def has_status() -> bool:
    """Whether this system reports the memory of a process."""
    return (PROC / "self" / "status").exists()


def _number(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0
