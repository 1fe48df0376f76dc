"""A request once its headers have been read, before anything of its body is. Runs on the event loop."""

import re
from collections.abc import Mapping
from typing import Any, cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPServerRequest, RequestStartLine

_ABSOLUTE_FORM = re.compile(r"https?://[^/?#]+/?", re.IGNORECASE)
_PLAIN_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")


class RequestHead:
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
