"""Defines exit statuses, and errors that are printed as one line. Makes texts safe to print. Usable on any thread."""

import re
from enum import IntEnum

LONGEST = 200
KEY = re.compile(r"orderskey_[^\s'\"]*")  # Matches the server's API keys. A user can pass a key to a wrong flag.


class ExitStatus(IntEnum):
    """The exit statuses of all commands. After SIGTERM or SIGHUP, the status is 128 plus the number of the signal."""

    PASSED = 0
    FAILED = 1
    BAD_USAGE = 2
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class CommandError(Exception):
    """An error that ends a command with `exit_status`. The text of the error is printed as one line on stderr."""

    exit_status = ExitStatus.FAILED


class UsageError(CommandError):
    """The command was called with a flag or a file that it can't use."""

    exit_status = ExitStatus.BAD_USAGE


def reason_of_os_error(error: OSError) -> str:
    """Return the operating system's text for the error in lower case, such as "no space left on device"."""
    return (error.strerror or "unknown error").lower()


def without_keys(text: str) -> str:
    """Return the text with every API key in it replaced by `orderskey_...`."""
    return KEY.sub("orderskey_...", text)


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."


def printable(text: str) -> str:
    """Cut a text to 200 characters, and escape control characters, so that the text can't control a terminal."""
    shown = cut(text, LONGEST)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown)
