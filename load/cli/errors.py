"""Exit statuses, errors that end a command with one line on standard error, and texts of messages. Any thread."""

import re
from enum import IntEnum

LONGEST = 200
KEY = re.compile(r"orderskey_[^\s'\"]*")  # The server's API keys begin so; a user may put one in the wrong place.


class ExitStatus(IntEnum):
    """What every command returns; after SIGTERM or SIGHUP it is 128 plus the signal's number instead of 130."""

    PASSED = 0
    FAILED = 1
    BAD_USAGE = 2
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class CommandError(Exception):
    """Ends a command with its text as one line on standard error, and with `exit_status`."""

    exit_status = ExitStatus.FAILED


class UsageError(CommandError):
    """The command was called with something that it can't work with."""

    exit_status = ExitStatus.BAD_USAGE


def reason_of_os_error(error: OSError) -> str:
    """Return the system's words for the error in lower case, such as "no space left on device"."""
    return (error.strerror or "unknown error").lower()


def without_keys(text: str) -> str:
    """Return the text with every API key in it cut short."""
    return KEY.sub("orderskey_...", text)


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."


def printable(text: str, *, longest: int = LONGEST) -> str:
    """Return a text that fits a line and can't control a terminal: escapes control characters, cuts long texts."""
    shown = cut(text, longest)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown)
