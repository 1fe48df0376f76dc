"""Logging that never raises. Usable on any thread."""

import contextlib
import logging


def log_safely(
    log: logging.Logger, level: int, text: str, *arguments: object, error: BaseException | None = None
) -> None:
    """Logs a line, and the traceback of `error`.

    A user's program can have set up a log that raises. Such an exception is ignored, because it would end the thread or
    the task that calls this function.
    """
    with contextlib.suppress(Exception):
        log.log(level, text, *arguments, exc_info=error)
