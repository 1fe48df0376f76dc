"""Exit statuses, and the errors that end a command with one line on standard error."""

from enum import IntEnum


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
