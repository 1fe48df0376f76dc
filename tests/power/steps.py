"""Converts the system calls of a process to steps: changes of the files of one folder, and responses to clients.

A call that changes a file is two steps: it begins, and it returns. The change can be on disk from the first step on.
Only a sync that begins after the second step covers the change. A response counts as sent when its call begins.
"""

import ast
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.power.disk import Disk, Entry
from tests.power.file import Change, File
from tests.power.system_calls import Call

SHARED_MEMORY = "-shm"
"""The suffix of SQLite's shared memory file. SQLite rebuilds this file at a restart. No system call has its content."""
ANSWER = "HTTP/1.1 20"
SENDING = {"write", "writev", "sendto", "sendmsg"}
_DESCRIPTOR = re.compile(r"\d+<([^>]*)>")


class UnknownCall(Exception):
    """A call that can change the folder in a way that the model does not support."""


class Step(NamedTuple):
    """A change of the disk (`apply`), bytes that are sent to a client (`sent`), or both.

    `synced` is the name of the file whose sync ends successfully at this step ("" for the folder), or None.
    """

    line: int
    apply: Callable[[Disk], None]
    sent: bytes = b""
    synced: str | None = None


def read_steps(calls: Iterable[Call], folder: Path) -> list[Step]:
    """Returns the steps in the sequence in which they happened. Raises UnknownCall."""
    reader = _Reader(folder)
    for call in calls:
        reader.add(call)
    # Sorting is stable, so the two steps of a call stay in order if both have the same line.
    return sorted(reader.steps, key=lambda step: step.line)


def syncs(steps: Sequence[Step], of: str) -> list[int]:
    """Returns the indexes of the steps at which syncs of the file `of` end. "" is the folder."""
    return [place for place, step in enumerate(steps) if step.synced == of]


def without_steps(steps: Sequence[Step], places: Collection[int]) -> list[Step]:
    """Returns the steps, but the steps with the indexes `places` do not change the disk."""
    return [step._replace(apply=_nothing) if place in places else step for place, step in enumerate(steps)]


def _nothing(disk: Disk) -> None:
    pass


def _nobody() -> None:
    pass


class _Reader:
    def __init__(self, folder: Path) -> None:
        self.steps: list[Step] = []
        self._folder = str(folder)
        self._known = {
            "pwrite64": self._write,
            "ftruncate": self._truncate,
            "fsync": self._sync,
            "fdatasync": self._sync,
            "openat": self._open,
            "unlink": self._unlink,
        }

    def add(self, call: Call) -> None:
        if call.name in SENDING and _is_socket(call):
            if ANSWER in call.arguments:
                self.steps.append(Step(call.begin, _nothing, sent=call.data))
            return
        known = self._known.get(call.name)
        name = self._name(call)
        # SQLite rebuilds its shared memory, and a call that failed changes nothing.
        if name is None or name.endswith(SHARED_MEMORY) or (call.result is not None and call.result < 0):
            return
        if known is None or "(deleted)" in call.arguments:
            raise UnknownCall(f"{call.name}({call.arguments[:120]}")
        known(call, name)

    def _name(self, call: Call) -> str | None:
        """Returns the name of the file that the call uses, "" for the folder, None for anything else."""
        if call.name not in (*self._known, *SENDING, "mmap"):
            # The position of paths in an unknown call is unknown too.
            return call.arguments if self._folder in call.arguments else None
        path = _path_of(call)
        if path == self._folder:
            return ""
        if path is not None and path.startswith(self._folder + "/"):
            return path.removeprefix(self._folder + "/")
        return None

    def _both(
        self, call: Call, begin: Callable[[Disk], None], end: Callable[[Disk], None], synced: str | None = None
    ) -> None:
        self.steps.append(Step(call.begin, begin))
        if call.end is not None:
            self.steps.append(Step(call.end, end, synced=synced))

    def _write(self, call: Call, name: str) -> None:
        text = call.arguments
        begin, end = text.index('"'), text.rindex('"') + 1
        data: bytes = ast.literal_eval("b" + text[begin:end])
        length, offset = (int(number) for number in text[end:].lstrip(",").split(","))
        if length != len(data):
            raise UnknownCall(f"a write of {length} bytes that shows {len(data)}")
        self._change(call, name, Change(offset, data))

    def _truncate(self, call: Call, name: str) -> None:
        self._change(call, name, Change(int(call.arguments.rpartition(",")[2]), None))

    def _change(self, call: Call, name: str, change: Change) -> None:
        def begin(disk: Disk) -> None:
            change.has_returned = False
            disk[name].add(change)

        def end(disk: Disk) -> None:
            change.has_returned = True
            if change.data is not None:
                change.data = change.data[: call.result]

        self._both(call, begin, end)

    def _sync(self, call: Call, name: str) -> None:
        finish: Callable[[], None] = _nobody

        def begin(disk: Disk) -> None:
            nonlocal finish
            finish = disk[name].begin_sync() if name else disk.begin_sync()

        self._both(call, begin, lambda _: finish(), synced=name)

    def _open(self, call: Call, name: str) -> None:
        flags = call.arguments.rpartition('"')[2]
        if "O_TRUNC" in flags:
            raise UnknownCall(f"openat({call.arguments}")
        if "O_CREAT" not in flags or call.end is None:
            return

        def create(disk: Disk) -> None:
            if name not in disk:
                disk.add(Entry(name, File(), has_returned=True))

        self.steps.append(Step(call.end, create))

    def _unlink(self, call: Call, name: str) -> None:
        entry = Entry(name, None)

        def begin(disk: Disk) -> None:
            entry.has_returned = False
            disk.add(entry)

        def end(disk: Disk) -> None:
            entry.has_returned = True

        self._both(call, begin, end)


def _is_socket(call: Call) -> bool:
    found = _DESCRIPTOR.match(call.arguments)
    return found is not None and found[1].startswith(("socket:", "TCP"))


def _path_of(call: Call) -> str | None:
    if call.name == "openat":
        return call.opened
    if call.name == "unlink":
        return call.data.decode()
    if call.name == "mmap":
        return _mapped(call)
    found = _DESCRIPTOR.match(call.arguments)
    return None if found is None else found[1]


def _mapped(call: Call) -> str | None:
    """Returns the file that is mapped shared and writable. Returns None for a mapping that can't change a file."""
    if "MAP_SHARED" not in call.arguments or "PROT_WRITE" not in call.arguments:
        return None
    found = _DESCRIPTOR.search(call.arguments.partition("MAP_SHARED")[2])
    return None if found is None else found[1]
