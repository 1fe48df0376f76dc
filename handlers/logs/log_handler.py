"""Connects Python's logging to the log writer. Used on any thread."""

import logging
import sys
import threading
from typing import TYPE_CHECKING

from handlers.logs.log_format import formatter
from handlers.logs.log_writer import LogWriter

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_log = logging.getLogger("orders")


class LogHandler(logging.Handler):
    """Passes each record to `writer`, as a line. `logging.shutdown` closes the writer."""

    def __init__(self, writer: LogWriter, log_format: str) -> None:
        super().__init__()
        self._writer = writer
        self.setFormatter(formatter(log_format))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a user's function may log anything
            text = f"{record.pathname}:{record.lineno}: can't format this log message: {type(error).__name__}"
            line = self.format(logging.LogRecord(record.name, logging.ERROR, "", 0, text, None, None))
        self._writer.write(line)

    def close(self) -> None:
        self._writer.close()
        super().close()


def configure_logging(log_format: str, writer: LogWriter, *, added_fields: logging.Filter) -> None:
    """Logs in one of `FORMATS`: the server's own lines from INFO on, the lines of libraries from WARNING on.

    `added_fields` adds fields to records, on the thread that logs.

    Also logs what Python itself would write to stderr: warnings, exceptions that Python can't raise to any caller, and
    exceptions that end a thread.
    """
    handler = LogHandler(writer, log_format)
    handler.addFilter(added_fields)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("orders").setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_end_of_thread


def _log_end_of_thread(end: "threading.ExceptHookArgs") -> None:
    if end.exc_type is not SystemExit:  # not an error: a normal end of a thread
        name = end.thread.name if end.thread else "unknown"
        _log.error("an exception ended the thread %s", name, exc_info=end.exc_value)


def _log_unraisable(unraisable: "UnraisableHookArgs") -> None:
    error = unraisable.exc_value
    _log.error("%s %r", unraisable.err_msg or "Exception ignored in:", unraisable.object, exc_info=error)
