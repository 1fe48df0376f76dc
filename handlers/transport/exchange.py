"""One request and its answer below Tornado's RequestHandler, for the paths that a flash sale hits.

RequestHandler would take a large part of a request's time, so that orders are taken in and looked up on
HTTPMessageDelegate (https://www.tornadoweb.org/en/stable/routing.html); `python -m load.bench` compares them with a
bare RequestHandler. Anything but a good answer is handed to a RequestHandler after all, so that errors look alike
everywhere. Runs on the event loop.
"""

import functools
import time
from asyncio import Future, Task
from collections.abc import Awaitable
from typing import Any, Protocol, cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, ResponseStartLine, format_timestamp

from handlers.transport.in_flight import InFlightRequests
from handlers.transport.request_head import RequestHead
from handlers.transport.request_ids import request_id_for

OK = ResponseStartLine("HTTP/1.1", 200, "OK")
ACCEPTED = ResponseStartLine("HTTP/1.1", 202, "Accepted")


class Refuse(Protocol):
    """Answers the request with the problem that stands for the error."""

    def __call__(self, head: RequestHead, error: BaseException, /) -> None: ...


class Exchange(HTTPMessageDelegate):
    """One request: `begin` starts what takes time, `answer` writes what came of it. Both may raise."""

    def __init__(self, head: RequestHead, *, in_flight: InFlightRequests, refuse: Refuse) -> None:
        self.head = head
        self._in_flight = in_flight
        self._refuse = refuse
        self._body = b""

    def begin(self, body: bytes) -> Future[Any]:
        """Starts what the request asks for. Raises what the client is to be told."""
        raise NotImplementedError

    def answer(self, result: Any) -> None:
        """Writes the answer to what `begin` started. Raises what the client is to be told instead."""
        raise NotImplementedError

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._body += chunk
        return None

    def finish(self) -> None:
        self._in_flight.begin()
        try:
            self.begin(self._body).add_done_callback(self._end)
        except Exception as error:  # noqa: BLE001 - the request's top: everything becomes an answer
            self._fail(error)

    def cancel_if_closed(self, started: "Task[Any]") -> "Task[Any]":
        """The same task, which is cancelled if the client goes away, or has gone, before it has ended."""

        def cancel() -> None:
            started.cancel()

        connection = cast(HTTP1Connection, self.head.connection)
        connection.set_close_callback(cancel)
        if connection.stream.closed():  # then nobody would call back
            cancel()
        return started

    def _end(self, done: Future[Any]) -> None:
        if done.cancelled():
            self._in_flight.end()
            return
        error = done.exception()
        try:
            if error is None:
                self.answer(done.result())
        except Exception as problem:  # noqa: BLE001 - the request's top: everything becomes an answer
            error = problem
        if error is None:
            self._in_flight.end()
        else:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        try:
            self._refuse(self.head, error)
        finally:
            self._in_flight.end()

    def write(self, start_line: ResponseStartLine, headers: dict[str, str], body: bytes) -> None:
        """The whole answer: JSON, with the headers that every answer has."""
        head, connection = self.head, self.head.connection
        every = {
            **headers,
            **head.answer_headers,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Date": _date(int(time.time())),
            "X-Request-Id": request_id_for(head.headers),
        }
        if self._in_flight.draining:
            every["Connection"] = "close"
        elif head.is_usual:
            # Tornado takes a head that is ready, and is spared the making of one. Its check for line breaks is not
            # missed: of the values only the request id is the client's, and has been looked at.
            lines = "".join([f"{name}: {value}\r\n" for name, value in every.items()])
            response_head = f"HTTP/1.1 {start_line.code} {start_line.reason}\r\n{lines}\r\n"
            connection.write(response_head.encode("latin-1") + body)
            connection.finish()
            return
        connection.write_headers(start_line, HTTPHeaders(every), b"" if head.start_line.method == "HEAD" else body)
        connection.finish()


@functools.lru_cache(maxsize=2)
def _date(seconds: int) -> str:
    return format_timestamp(seconds)
