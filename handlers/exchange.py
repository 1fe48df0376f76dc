"""One request and its answer below Tornado's RequestHandler, for the paths that a flash sale hits.

RequestHandler costs as much again as all that a durable order costs, so the two busiest resources are served on
HTTPMessageDelegate (https://www.tornadoweb.org/en/stable/routing.html). Anything but a good answer is handed to a
RequestHandler after all, so that errors look alike everywhere. Runs on the event loop.
"""

import functools
import time
from asyncio import Future
from collections.abc import Callable
from typing import Any, cast

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    ResponseStartLine,
    format_timestamp,
)

from handlers.base import request_id_of
from handlers.traffic import Traffic

OK = ResponseStartLine("HTTP/1.1", 200, "OK")
ACCEPTED = ResponseStartLine("HTTP/1.1", 202, "Accepted")

Refuse = Callable[[HTTPServerRequest, BaseException], None]
"""Answers the request with the problem that the error is."""


class Exchange(HTTPMessageDelegate):
    """One request: `begin` starts what takes time, `answer` writes what came of it. Both may raise."""

    def __init__(
        self,
        request: HTTPServerRequest,
        *,
        traffic: Traffic,
        refuse: Refuse,
    ) -> None:
        self.request = request
        self._traffic = traffic
        self._refuse = refuse
        self._body = b""

    def begin(self, body: bytes) -> Future[Any]:
        """Starts what the request asks for. Raises what the client is to be told."""
        raise NotImplementedError

    def answer(self, result: Any) -> None:
        """Writes the answer to what `begin` started. Raises what the client is to be told instead."""
        raise NotImplementedError

    def data_received(self, chunk: bytes) -> None:
        self._body += chunk

    def finish(self) -> None:
        self._traffic.enter()
        try:
            self.begin(self._body).add_done_callback(self._end)
        except Exception as error:  # noqa: BLE001 - the request's top: everything becomes an answer
            self._fail(error)

    def _end(self, done: Future[Any]) -> None:
        error = done.exception()
        try:
            if error is None:
                self.answer(done.result())
        except Exception as problem:  # noqa: BLE001 - the request's top: everything becomes an answer
            error = problem
        if error is None:
            self._traffic.leave()
        else:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        try:
            self._refuse(self.request, error)
        finally:
            self._traffic.leave()

    def write(self, start_line: ResponseStartLine, headers: dict[str, str], body: bytes) -> None:
        """The whole answer: JSON, with the headers that every answer has."""
        connection = cast(HTTPConnection, self.request.connection)
        all_headers = HTTPHeaders(
            {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "Date": _date(int(time.time())),
                "X-Request-Id": request_id_of(self.request),
                **headers,
            }
        )
        if self._traffic.draining:
            all_headers["Connection"] = "close"
        connection.write_headers(start_line, all_headers, body if self.request.method != "HEAD" else b"")
        connection.finish()


@functools.lru_cache(maxsize=2)
def _date(seconds: int) -> str:
    return format_timestamp(seconds)
