"""Reads the system calls of a process from the output of strace.

strace writes two lines for a call A if another thread makes a call before A returns: `<unfinished ...>` and `resumed`.
A begins at the first line and returns at the second line. strace stops the thread at both lines. So if a call B begins
only after A has returned, B begins at a later line than A returns.
"""

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

MAX_BYTES = 100_000_000
"""How many bytes of a write strace shows. This is far more than the longest write, which has a few pages."""
TRACED = (
    # Calls that change or sync the content of a file.
    *("pwrite64", "write", "pwritev", "pwritev2", "writev", "ftruncate", "truncate", "fallocate"),
    *("fsync", "fdatasync", "copy_file_range", "sendfile", "mmap"),
    # Calls that change a folder.
    *("open", "openat", "creat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat"),
    *("mkdir", "mkdirat", "rmdir", "symlink", "symlinkat"),
    # Calls that send responses.
    *("sendto", "sendmsg"),
)
UNFINISHED = "<unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>")
_RESULT = re.compile(r"\)\s+= (-?\w+|\?)(?:<(.*)>)?(?: .*)?$")


class UnreadableTrace(Exception):
    """A line that is not in the format of strace, or that has only a part of the data."""


class Call(NamedTuple):
    """One system call. `begin` and `end` are line numbers. `end` and `result` are None if the call never returned.

    `arguments` is the text between the parentheses. If the result is a file descriptor, `opened` is its path.
    """

    name: str
    arguments: str
    begin: int
    end: int | None
    result: int | None
    opened: str | None = None

    @property
    def data(self) -> bytes:
        """The bytes of all strings in the arguments. Raises UnreadableTrace if strace has cut a string."""
        parts = re.findall(r'"([^"\\]*(?:\\.[^"\\]*)*)"(\.\.\.)?', self.arguments)
        if any(cut_off for _, cut_off in parts):
            raise UnreadableTrace(f"{self.name} is not shown whole")
        return b"".join(ast.literal_eval(f'b"{text}"') for text, _ in parts)


def strace(trace: Path) -> list[str]:
    """Returns a prefix for a command. With it, strace writes the calls of all the command's threads to `trace`."""
    shown = ["-y", "-s", str(MAX_BYTES), "-e", "signal=none", "-e", f"trace={','.join(TRACED)}"]
    # With --seccomp-bpf, strace does not slow down other calls.
    return ["strace", "-f", "--seccomp-bpf", *shown, "-o", str(trace)]


def read_calls(lines: Iterable[str], *, first_line: int = 0) -> list[Call]:
    """Returns the calls in the sequence in which they began. Raises UnreadableTrace."""
    calls: list[Call] = []
    unfinished: dict[str, int] = {}
    for number, line in enumerate(lines, first_line):
        thread, _, text = line.rstrip("\n").partition(" ")
        text = text.lstrip()
        if text.startswith(("+++", "---")):
            continue
        if resumed := _RESUMED.match(text):
            if thread not in unfinished:
                raise UnreadableTrace(f"line {number}: a resumed call that never began")
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
    # Quotation marks in data are escaped, so the last unescaped one is the end of the data.
    after_data = text.rfind('"') + 1
    found = _RESULT.search(text, after_data)
    if found is None:
        raise UnreadableTrace(f"line {end}: {name} has no result")
    arguments = text[: found.start()]
    if found[1] == "?":
        # The process ended during the call.
        return Call(name, arguments, begin, None, None)
    return Call(name, arguments, begin, end, int(found[1], 0), found[2])
