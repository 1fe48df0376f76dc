"""The head of a request: request line and headers. Runs on the event loop."""

import re
from collections.abc import Mapping
from typing import Any, Protocol, cast

from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPServerRequest, RequestStartLine

from handlers.transport.plain_head import PLAIN_HOST
from handlers.transport.plain_request import ADMIN, NO_KEY

_ABSOLUTE_FORM = re.compile(r"https?://[^/?#]+/?", re.IGNORECASE)
_CONTINUE = "100-continue"


class RequestInfo(Protocol):
    """The part of a request that RequestGuard uses. RequestHead and PlainRequest implement this Protocol."""

    key_name: str
    """The name of the API key, set by RequestGuard; NO_KEY if the request has no valid key."""
    scope: str
    """The scope of the API key (read, write or admin), set by RequestGuard; ADMIN if the server has no API keys."""
    response_headers: dict[str, str]
    """Headers to add to the response, also to an error response."""

    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str:
        """The path of the URL, without the query."""

    @property
    def client_address(self) -> str:
        """The IP address that the request came from."""

    def header(self, name: str, /) -> str | None:
        """The value of the header; None if it is missing. `name` is case-insensitive."""


class RequestSubject:
    """What a request is about, for the log. `order_id` is the id of the order in the body; None if there is none."""

    __slots__ = ("order_id",)

    def __init__(self) -> None:
        self.order_id: int | None = None


class RequestHead:
    """A request before its body is read. Raises HTTPInputError if the Host header or the URL is malformed."""

    __slots__ = (
        "connection",
        "headers",
        "is_answered",
        "key_name",
        "path",
        "response_headers",
        "scope",
        "server_connection",
        "start_line",
        "subject",
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
        """See `RequestInfo`."""
        self.key_name = NO_KEY
        """See `RequestInfo`."""
        self.scope = ADMIN
        """See `RequestInfo`."""
        self.subject = RequestSubject()
        self.is_answered = False
        """Whether a response has been started. A request gets only one response."""
        if absolute := _ABSOLUTE_FORM.match(start_line.path):
            # RFC 9112 §3.2.2: a server must also accept a whole URL in place of the path.
            self.start_line = start_line._replace(path="/" + start_line.path[absolute.end() :])
        self.path = self.start_line.path
        if "?" in self.path or not PLAIN_HOST.fullmatch(headers.get("Host", "")):
            # Tornado parses a path with a query, and checks a Host header that is not of the usual form.
            self.path = self.as_request().path

    @property
    def method(self) -> str:
        """The method as the client sent it. Methods are case-sensitive."""
        return self.start_line.method

    def header(self, name: str) -> str | None:
        """See `RequestInfo`."""
        return self.headers.get(name)

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for `100 Continue` before it sends the body. Tornado then sends `100 Continue`."""
        return self.headers.get("Expect") == _CONTINUE

    def normalize_expectation(self) -> None:
        """Removes the Expect header unless the server must respond with `100 Continue` (RFC 9110 §10.1.1)."""
        has_body = "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0"
        is_known = self.headers.get("Expect", "").lower() == _CONTINUE
        self.drop_expectation()
        if is_known and has_body and self.start_line.version != "HTTP/1.0":
            self.headers["Expect"] = _CONTINUE

    def drop_expectation(self) -> None:
        """Removes the Expect header, so that Tornado does not send `100 Continue`."""
        if "Expect" in self.headers:
            del self.headers["Expect"]

    @property
    def client_address(self) -> str:
        """The IP address that the request came from."""
        address: str = cast(Any, self.connection).context.remote_ip
        return address

    def as_request(self) -> "Request":
        """Makes the request object for a RequestHandler. Slow: also parses parts that an Exchange does not need."""
        request = Request(
            connection=self.connection,
            server_connection=self.server_connection,
            start_line=self.start_line,
            headers=self.headers,
        )
        request.response_headers = self.response_headers
        request.key_name = self.key_name
        request.subject = self.subject
        return request

    def as_bodyless_request(self) -> "Request":
        """Like `as_request`, for a handler that ignores the body.

        Removes Content-Type, because Tornado would otherwise parse a form in the body, and could respond with 400.
        """
        request = self.as_request()
        if "Content-Type" in request.headers:
            del request.headers["Content-Type"]
        return request


class Request(HTTPServerRequest):
    """An HTTPServerRequest with headers to add to its response, the name of its API key, and its subject."""

    response_headers: Mapping[str, str] = {}
    key_name = NO_KEY
    subject: RequestSubject | None = None
