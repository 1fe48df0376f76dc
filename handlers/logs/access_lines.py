"""Makes the lines of the access log. Runs on the event loop.

Python's logging is not used, because it takes more time for a line than the server takes for the whole request.
"""

from collections.abc import Callable

from handlers.logs.access_log import Access
from handlers.logs.log_format import LINES
from handlers.logs.log_writer import LogWriter


class AccessLines:
    """Passes a line in `log_format` to `writer` for each request. `clock` returns seconds since 1970, UTC."""

    def __init__(self, log_format: str, writer: LogWriter, *, clock: Callable[[], float]) -> None:
        self._line = LINES[log_format]
        self._writer = writer
        self._clock = clock

    def add(self, access: Access) -> None:
        """Logs the request."""
        self._writer.write(self._line(self._clock(), "INFO", "request", access._asdict()))
