"""One request and its answer below Tornado's RequestHandler, for the paths that a flash sale hits.

RequestHandler would take a large part of a request's time, so that orders are taken in and looked up on
HTTPMessageDelegate (https://www.tornadoweb.org/en/stable/routing.html); `python -m load.bench` compares them with a
bare RequestHandler. Anything but a good answer is handed to a RequestHandler after all, so that errors look alike
everywhere. Runs on the event loop.
"""

import functools
import re
import time
from asyncio import Future, Task
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
    format_timestamp,
)

from handlers.transport.base_handler import request_id_of
from handlers.transport.in_flight import Traffic

OK = ResponseStartLine("HTTP/1.1", 200, "OK")
ACCEPTED = ResponseStartLine("HTTP/1.1", 202, "Accepted")

_ABSOLUTE_FORM = re.compile(r"https?://[^/?#]+/?", re.IGNORECASE)
_PLAIN_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")


class Incoming:
    """One request as it is known when its headers have been read: what an HTTPServerRequest is made of."""

    __slots__ = ("answer_headers", "connection", "headers", "key_name", "path", "server_connection", "start_line")

    def __init__(
        self,
        *,
        server_connection: object,
        connection: HTTPConnection,
        start_line: RequestStartLine,
        headers: HTTPHeaders,
    ) -> None:
        self.server_connection = server_connection
        self.connection = connection
        self.start_line = start_line
        self.headers = headers
        self.answer_headers: dict[str, str] = {}
        """What every answer to this request says, whatever it is."""
        self.key_name = "-"
        """The name of the API key that it came with."""
        if absolute := _ABSOLUTE_FORM.match(start_line.path):
            # RFC 9112 §3.2.2: a server must accept it.
            self.start_line = start_line._replace(path="/" + start_line.path[absolute.end() :])
        self.path = self.start_line.path
        if "?" in self.path or not _PLAIN_HOST.fullmatch(headers.get("Host", "")):
            # Worth a closer look, which raises HTTPInputError for what is malformed.
            self.path = self.as_request().path

    @property
    def is_usual(self) -> bool:
        """Whether it is of HTTP/1.1, wants a body and says nothing of the connection, and that is Tornado's."""
        start_line = self.start_line
        return (
            start_line.version == "HTTP/1.1"
            and start_line.method != "HEAD"
            and "Connection" not in self.headers
            and isinstance(self.connection, HTTP1Connection)
        )

    @property
    def client_address(self) -> str:
        """The IP address that the request came from."""
        address: str = cast(Any, self.connection).context.remote_ip
        return address

    def as_request(self) -> "Request":
        """What RequestHandlers work with; made only for them, since it parses what an exchange has no use for."""
        request = Request(
            connection=self.connection,
            server_connection=self.server_connection,
            start_line=self.start_line,
            headers=self.headers,
        )
        request.answer_headers = self.answer_headers
        return request


class Request(HTTPServerRequest):
    """An HTTPServerRequest that knows what every answer to it says."""

    answer_headers: Mapping[str, str] = {}


Refuse = Callable[[Incoming, BaseException], None]
"""Answers the request with the problem that the error is."""


class Exchange(HTTPMessageDelegate):
    """One request: `begin` starts what takes time, `answer` writes what came of it. Both may raise."""

    def __init__(self, incoming: Incoming, *, traffic: Traffic, refuse: Refuse) -> None:
        self.incoming = incoming
        self._traffic = traffic
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
        self._traffic.enter()
        try:
            self.begin(self._body).add_done_callback(self._end)
        except Exception as error:  # noqa: BLE001 - the request's top: everything becomes an answer
            self._fail(error)

    def cancel_if_closed(self, started: "Task[Any]") -> "Task[Any]":
        """The same task, which is cancelled if the client goes away, or has gone, before it has ended."""

        def cancel() -> None:
            started.cancel()

        connection = cast(HTTP1Connection, self.incoming.connection)
        connection.set_close_callback(cancel)
        if connection.stream.closed():  # then nobody would call back
            cancel()
        return started

    def _end(self, done: Future[Any]) -> None:
        if done.cancelled():
            self._traffic.leave()
            return
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
            self._refuse(self.incoming, error)
        finally:
            self._traffic.leave()

    def write(self, start_line: ResponseStartLine, headers: dict[str, str], body: bytes) -> None:
        """The whole answer: JSON, with the headers that every answer has."""
        incoming, connection = self.incoming, self.incoming.connection
        every = {
            **headers,
            **incoming.answer_headers,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Date": _date(int(time.time())),
            "X-Request-Id": request_id_of(incoming.headers),
        }
        if self._traffic.draining:
            every["Connection"] = "close"
        elif incoming.is_usual:
            # Tornado takes a head that is ready, and is spared the making of one. Its check for line breaks is not
            # missed: of the values only the request id is the client's, and has been looked at.
            lines = "".join([f"{name}: {value}\r\n" for name, value in every.items()])
            head = f"HTTP/1.1 {start_line.code} {start_line.reason}\r\n{lines}\r\n"
            connection.write(head.encode("latin-1") + body)
            connection.finish()
            return
        connection.write_headers(start_line, HTTPHeaders(every), b"" if incoming.start_line.method == "HEAD" else body)
        connection.finish()


@functools.lru_cache(maxsize=2)
def _date(seconds: int) -> str:
    return format_timestamp(seconds)
