"""System calls of a process, read from what strace wrote while they were made.

Where threads overtake each other strace splits a call in two, `<unfinished ...>` and `resumed`: it began at the line of
the first, and had returned at the line of the second. strace holds a thread at both, so that of two calls of which one
waited for the other the lines are in that order.
"""

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

MAX_BYTES = 100_000_000
"""Of one write that strace shows; the longest is a few pages."""
TRACED = (
    # What changes a file's content, or what of it is on disk.
    *("pwrite64", "write", "pwritev", "pwritev2", "writev", "ftruncate", "truncate", "fallocate"),
    *("fsync", "fdatasync", "copy_file_range", "sendfile", "mmap"),
    # What changes a folder.
    *("open", "openat", "creat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat"),
    *("mkdir", "mkdirat", "rmdir", "symlink", "symlinkat"),
    # What an answer leaves by.
    *("sendto", "sendmsg"),
)
UNFINISHED = "<unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>")
_RESULT = re.compile(r"\)\s+= (-?\w+|\?)(?:<(.*)>)?(?: .*)?$")


class UnreadableTrace(Exception):
    """A line that can't be what strace writes, or lacks a part of the data."""


class Call(NamedTuple):
    """One call. `begin` and `end` are numbers of lines; `end` and `result` are None where it never returned.

    `arguments` is as strace writes them; `opened` is the path behind a result that is a file descriptor.
    """

    name: str
    arguments: str
    begin: int
    end: int | None
    result: int | None
    opened: str | None = None

    @property
    def data(self) -> bytes:
        """The bytes handed over, in all strings together. Raises UnreadableTrace where some are not shown."""
        parts = re.findall(r'"([^"\\]*(?:\\.[^"\\]*)*)"(\.\.\.)?', self.arguments)
        if any(cut_off for _, cut_off in parts):
            raise UnreadableTrace(f"{self.name} is not shown whole")
        return b"".join(ast.literal_eval(f'b"{text}"') for text, _ in parts)


def strace(trace: Path) -> list[str]:
    """What to put before a command for its calls, those of all its threads, to be written to the file `trace`."""
    shown = ["-y", "-s", str(MAX_BYTES), "-e", "signal=none", "-e", f"trace={','.join(TRACED)}"]
    # Other calls are not even stopped at.
    return ["strace", "-f", "--seccomp-bpf", *shown, "-o", str(trace)]


def read_calls(lines: Iterable[str], *, first_line: int = 0) -> list[Call]:
    """The calls in the order in which they began. Raises UnreadableTrace."""
    calls: list[Call] = []
    unfinished: dict[str, int] = {}
    for number, line in enumerate(lines, first_line):
        thread, _, text = line.rstrip("\n").partition(" ")
        text = text.lstrip()
        if text.startswith(("+++", "---")):
            continue
        if resumed := _RESUMED.match(text):
            if thread not in unfinished:
                raise UnreadableTrace(f"line {number}: what is resumed was never begun")
            place = unfinished.pop(thread)
            begun = calls[place]
            calls[place] = _finished(begun.name, begun.arguments + text[resumed.end() :], begun.begin, number)
            continue
        name, opened, rest = text.partition("(")
        if not opened or not name.isidentifier():
            raise UnreadableTrace(f"line {number}: {text[:80]}")
        if rest.endswith(UNFINISHED):
            unfinished[thread] = len(calls)
            calls.append(Call(name, rest.removesuffix(UNFINISHED).rstrip(), number, None, None))
        else:
            calls.append(_finished(name, rest, number, number))
    return calls


def _finished(name: str, text: str, begin: int, end: int) -> Call:
    # Data may hold anything, but never a quotation mark that is not escaped.
    after_data = text.rfind('"') + 1
    found = _RESULT.search(text, after_data)
    if found is None:
        raise UnreadableTrace(f"line {end}: {name} has no result")
    arguments = text[: found.start()]
    if found[1] == "?":
        # The process ended within the call.
        return Call(name, arguments, begin, None, None)
    return Call(name, arguments, begin, end, int(found[1], 0), found[2])
