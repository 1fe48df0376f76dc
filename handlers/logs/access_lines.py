"""Writes the lines of the access log. Runs on the event loop.

Python's logging is not used, because it takes more time for a line than the server takes for the whole request.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TextIO

from handlers.logs.access_log import Access
from handlers.logs.log_format import LINES


class AccessLines:
    """Writes a line in `log_format` for each request, all lines of one iteration of the event loop together.

    `clock` returns seconds since 1970, UTC. Lines are lost if the stream can't be written to.
    """

    def __init__(self, log_format: str, stream: TextIO, *, clock: Callable[[], float]) -> None:
        self._line = LINES[log_format]
        self._stream = stream
        self._clock = clock
        self._lines: list[str] = []

    def add(self, access: Access) -> None:
        """Writes a line for the request in the next iteration of the event loop."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._write)
        self._lines.append(self._line(self._clock(), "INFO", "request", access._asdict()))

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        with contextlib.suppress(OSError, ValueError):  # a broken pipe, or a stream that is closed
            self._stream.write("\n".join([*lines, ""]))
            self._stream.flush()
