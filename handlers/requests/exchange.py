"""The base class of exchanges. An exchange serves one request without Tornado's RequestHandler.

It is an HTTPMessageDelegate (https://www.tornadoweb.org/en/stable/routing.html), which is faster than a RequestHandler,
and receives the body in chunks. ErrorResponder sends the error responses, so that exchanges and RequestHandlers send
the same error responses. Runs on the event loop.
"""

from asyncio import Future, Task
from collections.abc import Awaitable
from typing import Any, cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, ResponseStartLine

from handlers.requests.error_responses import ErrorResponder
from handlers.requests.request_head import RequestHead
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.request_ids import request_id_for
from handlers.transport.responses import http_date

OK = ResponseStartLine("HTTP/1.1", 200, "OK")
ACCEPTED = ResponseStartLine("HTTP/1.1", 202, "Accepted")


class Exchange(HTTPMessageDelegate):
    """Serves one request. Subclasses implement `begin` and `answer`.

    `begin` starts the work and returns a future. `answer` writes the response from the result of the future. If
    `begin`, the future or `answer` fails, the exception becomes the error response.
    """

    def __init__(self, head: RequestHead, *, in_flight: InFlightRequests, errors: ErrorResponder) -> None:
        self.head = head
        self._in_flight = in_flight
        self._errors = errors
        self._body = b""

    def begin(self, body: bytes) -> Future[Any]:
        """Starts the work, and returns a future for the result."""
        raise NotImplementedError

    def answer(self, result: Any) -> None:
        """Writes the response for the result of the future that `begin` returned."""
        raise NotImplementedError

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._body += chunk
        return None

    def finish(self) -> None:
        self._in_flight.begin(self)
        try:
            self.begin(self._body).add_done_callback(self._on_done)
        except Exception as error:  # noqa: BLE001 - outermost exception handler of the request
            self._fail(error)

    def _on_done(self, done: Future[Any]) -> None:
        if done.cancelled():
            self._in_flight.end(self)
            return
        error = done.exception()
        try:
            if error is None:
                self.answer(done.result())
        except Exception as problem:  # noqa: BLE001 - outermost exception handler of the request
            error = problem
        if error is None:
            self._in_flight.end(self)
        else:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        try:
            self._errors.respond(self.head, error)
        finally:
            self._in_flight.end(self)

    def write(self, start_line: ResponseStartLine, headers: dict[str, str], body: bytes) -> None:
        """Writes a whole response with the JSON text `body`, `headers`, and the headers that all responses have."""
        head, connection = self.head, self.head.connection
        head.is_answered = True
        all_headers = {
            **headers,
            **head.response_headers,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Date": http_date(),
            "X-Request-Id": request_id_for(head.header("X-Request-Id")),
        }
        if self._in_flight.draining:
            all_headers["Connection"] = "close"
        is_head = head.start_line.method == "HEAD"
        self._in_flight.responses[start_line.code] += 1
        connection.write_headers(start_line, HTTPHeaders(all_headers), b"" if is_head else body)
        connection.finish()


def cancel_on_disconnect(head: RequestHead, task: "Task[Any]") -> "Task[Any]":
    """Cancels the task if the client of the request disconnects or has already disconnected. Returns the task."""

    def cancel() -> None:
        task.cancel()

    connection = cast(HTTP1Connection, head.connection)
    connection.set_close_callback(cancel)
    if connection.stream.closed():  # Tornado does not call the callback of a closed stream
        cancel()
    return task
