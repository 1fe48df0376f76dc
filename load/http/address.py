"""Parses the server's URL and resolves it to a socket address. Runs on the event loop."""

import socket
import ssl
from argparse import ArgumentTypeError
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from tornado.iostream import StreamClosedError
from tornado.tcpclient import TCPClient
from tornado.util import TimeoutError as TornadoTimeoutError

from load.cli.errors import CommandError

PORTS = {"http": 80, "https": 443}
REACH_S = 5.0
EXAMPLE = "http://127.0.0.1:8080"


class BadUrl(ArgumentTypeError):
    """The text is not the URL of an HTTP server. `ServerUrl.parse` is the type of a flag, too."""


class Unreachable(CommandError):
    """The server at the URL accepts no connection, has an untrusted certificate, or rejects the API key."""


@dataclass(frozen=True)
class ServerUrl:
    """An http:// or https:// URL, split into parts. `netloc` is sent as Host. `path` has no trailing slash."""

    host: str
    port: int
    netloc: str
    path: str
    scheme: str = "http"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a URL. Raises BadUrl if it is not valid. The error does not show the URL: a part of it can be a key."""
        try:
            parts = urlsplit(text)
            port = PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
        except ValueError as problem:
            fault = "its host can't be read" if "IPv6" in str(problem) else "its port is not a number up to 65535"
            raise BadUrl(f"not a URL like {EXAMPLE}: {fault}") from None
        if "@" in text:
            raise BadUrl("the URL has a user name or a password: pass an API key with --api-key")
        if parts.scheme not in PORTS or not parts.hostname or not text.isascii():
            raise BadUrl(f"not a URL like {EXAMPLE}, in ASCII")
        if parts.query or parts.fragment or " " in parts.path:
            raise BadUrl("the URL has more than a host, a port and a path")
        return cls(parts.hostname, port, parts.netloc, parts.path.rstrip("/"), parts.scheme)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}"


@dataclass(frozen=True)
class Address:
    """Contains a server's resolved address, and encodes requests, which contain `api_key` unless it is empty."""

    url: ServerUrl
    family: socket.AddressFamily
    sockaddr: tuple[Any, ...]
    tls: ssl.SSLContext | None = None
    api_key: str = field(default="", repr=False)

    def post(self, path: str, body: bytes, *, content: str = "application/json", header: str = "") -> bytes:
        """Encode a POST request. `content` is the body's media type. `header` has header lines that end with CRLF."""
        return self._head("POST", path, f"Content-Type: {content}\r\nContent-Length: {len(body)}\r\n{header}") + body

    def get(self, path: str, *, header: str = "") -> bytes:
        """Encode a GET request. `header` has additional header lines, each with CRLF at its end."""
        return self._head("GET", path, header)

    def _head(self, method: str, path: str, header: str) -> bytes:
        key = f"Authorization: Bearer {self.api_key}\r\n" if self.api_key else ""
        return f"{method} {self.url.path}{path} HTTP/1.1\r\nHost: {self.url.netloc}\r\n{key}{header}\r\n".encode()


async def reach(url: ServerUrl, *, timeout_s: float = REACH_S, api_key: str = "") -> Address:
    """Connect once and return the server's address. Raises Unreachable if that fails.

    Trusts the certificates in the file that SSL_CERT_FILE names; without this variable, the system's certificates.
    """
    tls = ssl.create_default_context() if url.scheme == "https" else None
    try:
        stream = await TCPClient().connect(url.host, url.port, ssl_options=tls, timeout=timeout_s)
    except ssl.SSLCertVerificationError as problem:
        raise Unreachable(f"The certificate of {url} is not trusted: {problem.verify_message.rstrip('.')}") from None
    except TornadoTimeoutError:
        raise Unreachable(f"No server at {url}: no answer within {timeout_s:g} s") from None
    except (StreamClosedError, OSError) as problem:
        raise Unreachable(f"No server at {url}: {reason_of(problem, 'connection closed')}") from None
    address = Address(url, stream.socket.family, stream.socket.getpeername(), tls, api_key)
    stream.close()
    return address


def reason_of(problem: BaseException, otherwise: str) -> str:
    """Return in a few words why a connection failed, or `otherwise` if the error gives no reason."""
    cause = problem.real_error if isinstance(problem, StreamClosedError) else problem
    if isinstance(cause, ssl.SSLError):
        return f"TLS: {(cause.reason or cause.strerror or otherwise).replace('_', ' ').lower()}"
    return (getattr(cause, "strerror", None) or otherwise).lower()
