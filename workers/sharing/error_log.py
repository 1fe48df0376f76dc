"""Logs that a periodic read of the database fails. Runs on the event loop."""

import logging

from models.errors import StorageError
from workers.safe_log import log_safely

_log = logging.getLogger(__name__)


class ErrorLog:
    """Logs the first error after a success. `what_fails` is the beginning of the log line."""

    def __init__(self, what_fails: str) -> None:
        self._what_fails = what_fails
        self._has_failed = False

    def note_success(self) -> None:
        """The next error is logged again."""
        self._has_failed = False

    def note_error(self, error: BaseException) -> None:
        """Logs the error if the last read has succeeded. Without a traceback if the storage is at fault."""
        if not self._has_failed:
            unexpected = None if isinstance(error, StorageError) else error
            log_safely(_log, logging.WARNING, "%s: %s", self._what_fails, error, error=unexpected)
        self._has_failed = True
