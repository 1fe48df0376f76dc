"""A request whose headers have been read and whose body has not. Runs on the event loop."""

import re
from collections.abc import Mapping
from typing import Any, Protocol, cast

from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPServerRequest, RequestStartLine

from handlers.transport.plain_head import PLAIN_HOST

_ABSOLUTE_FORM = re.compile(r"https?://[^/?#]+/?", re.IGNORECASE)
_CONTINUE = "100-continue"


class RequestInfo(Protocol):
    """What decides whether a request is served. Both RequestHead and PlainRequest are that."""

    key_name: str
    """The name of the API key that the request was sent with, or "-"."""
    response_headers: dict[str, str]
    """Headers that each response to this request has, error responses included."""

    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str:
        """Without the query."""

    @property
    def client_address(self) -> str:
        """The IP address that the request came from."""

    def header(self, name: str, /) -> str | None:
        """The value of a header field, whose name is case-insensitive; None if there is none."""


class RequestHead:
    """The request line, the headers and the connection. Raises HTTPInputError if the Host or the URL is malformed."""

    __slots__ = (
        "connection",
        "headers",
        "is_answered",
        "key_name",
        "path",
        "response_headers",
        "server_connection",
        "start_line",
    )

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
        self.response_headers: dict[str, str] = {}
        """Headers that each response to this request has, error responses included."""
        self.key_name = "-"
        """The name of the API key that the request was sent with, or "-"."""
        self.is_answered = False
        """Whether something has begun to make the response. Nothing else may make one then."""
        if absolute := _ABSOLUTE_FORM.match(start_line.path):
            # RFC 9112 §3.2.2: a server must accept the absolute form.
            self.start_line = start_line._replace(path="/" + start_line.path[absolute.end() :])
        self.path = self.start_line.path
        if "?" in self.path or not PLAIN_HOST.fullmatch(headers.get("Host", "")):
            # Tornado's parser checks the rest.
            self.path = self.as_request().path

    @property
    def method(self) -> str:
        """The method, in upper case as it was sent."""
        return self.start_line.method

    def header(self, name: str) -> str | None:
        """The value of a header field."""
        return self.headers.get(name)

    @property
    def expects_continue(self) -> bool:
        """Whether Tornado will send `100 Continue`, because the client waits for it before it sends the body."""
        return self.headers.get("Expect") == _CONTINUE

    def normalize_expectation(self) -> None:
        """Keeps the Expect header only if `100 Continue` is the answer to it (RFC 9110 §10.1.1)."""
        has_body = "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0"
        is_known = self.headers.get("Expect", "").lower() == _CONTINUE
        self.drop_expectation()
        if is_known and has_body and self.start_line.version != "HTTP/1.0":
            self.headers["Expect"] = _CONTINUE

    def drop_expectation(self) -> None:
        """Prevents Tornado from sending `100 Continue`."""
        if "Expect" in self.headers:
            del self.headers["Expect"]

    @property
    def client_address(self) -> str:
        """The IP address that the request came from."""
        address: str = cast(Any, self.connection).context.remote_ip
        return address

    def as_request(self) -> "Request":
        """The request for RequestHandlers. Made on demand, because it parses more than an Exchange needs."""
        request = Request(
            connection=self.connection,
            server_connection=self.server_connection,
            start_line=self.start_line,
            headers=self.headers,
        )
        request.response_headers = self.response_headers
        return request

    def as_bodyless_request(self) -> "Request":
        """The request for a handler that ignores the body. Tornado would parse a form, and send 400 for a bad one."""
        request = self.as_request()
        if "Content-Type" in request.headers:
            del request.headers["Content-Type"]
        return request


class Request(HTTPServerRequest):
    """An HTTPServerRequest with headers for every response to it."""

    response_headers: Mapping[str, str] = {}
