"""Makes the lines of the access log. Runs on the event loop.

Python's logging is not used, because it takes more time for a line than the server takes for the whole request.
"""

import asyncio
from collections.abc import Callable

from msgspec import structs

from handlers.logs.access_log import Access
from handlers.logs.log_format import JSON, json_line, text_lines
from handlers.logs.log_writer import LogWriter

_LEVEL = "INFO"
_MESSAGE = "request"


class AccessLines:
    """Passes a line in `log_format` to `writer` for each request. `clock` returns seconds since 1970, UTC.

    All requests that end in one iteration of the event loop have the same time in the log. Their lines are passed to
    `writer` together, in the next iteration.
    """

    def __init__(self, log_format: str, writer: LogWriter, *, clock: Callable[[], float]) -> None:
        self._is_json = log_format == JSON
        self._writer = writer
        self._clock = clock
        self._time_s = 0.0
        self._accesses: list[Access] = []

    def add(self, access: Access) -> None:
        """Logs the request."""
        if not self._accesses:
            self._time_s = self._clock()
            asyncio.get_running_loop().call_soon(self._write)
        self._accesses.append(access)

    def _write(self) -> None:
        accesses, self._accesses = self._accesses, []
        if self._is_json:
            lines = [json_line(self._time_s, _LEVEL, _MESSAGE, structs.asdict(access)) for access in accesses]
            self._writer.write("\n".join(lines))
        else:
            self._writer.write(text_lines(self._time_s, _LEVEL, map(_as_text, accesses)))


def _as_text(access: Access) -> str:
    # The same text as for named values of a log record, in less time.
    status = "-" if access.status is None else access.status
    order_id = "-" if access.order_id is None else access.order_id
    return (
        f"{_MESSAGE} method={access.method} path={access.path} status={status} bytes={access.bytes} ms={access.ms}"
        f" request_id={access.request_id} client={access.client} key={access.key} order_id={order_id}"
    )
