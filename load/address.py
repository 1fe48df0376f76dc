"""Owns where the server is: its URL, and the socket address that answered for it; on the event loop's thread."""

import socket
import ssl
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from tornado.iostream import StreamClosedError
from tornado.tcpclient import TCPClient
from tornado.util import TimeoutError as TornadoTimeoutError

PORTS = {"http": 80, "https": 443}


class BadUrl(ValueError):
    """The URL can't be that of a server to load."""


class Unreachable(Exception):
    """Nothing takes connections at the URL, or nothing that can be trusted."""


@dataclass(frozen=True)
class ServerUrl:
    """An http:// or https:// URL in parts: `netloc` is what the Host header says, `path` has no slash at its end."""

    host: str
    port: int
    netloc: str
    path: str
    scheme: str = "http"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take a URL apart; BadUrl says what is wrong with it."""
        try:
            parts = urlsplit(text)
            port = parts.port
            parts.netloc.encode("ascii")
            parts.path.encode("ascii")
        except ValueError as problem:
            raise BadUrl(f"{text!r} is no URL: {problem}") from None
        if parts.scheme not in PORTS or not parts.hostname:
            raise BadUrl(f"{text!r} is no URL like http://127.0.0.1:8080")
        if parts.query or parts.fragment or "@" in parts.netloc or " " in parts.path:
            raise BadUrl(f"{text!r} has more than a host, a port and a path")
        port = PORTS[parts.scheme] if port is None else port
        return cls(parts.hostname, port, parts.netloc, parts.path.rstrip("/"), parts.scheme)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}"


@dataclass(frozen=True)
class Address:
    """A server that took a connection: where to connect to without asking the resolver again.

    `tls` is None where connections are plain. Every request has the key in `api_key`; an empty one is none.
    """

    url: ServerUrl
    family: socket.AddressFamily
    sockaddr: tuple[Any, ...]
    tls: ssl.SSLContext | None = None
    api_key: str = field(default="", repr=False)

    def post(self, path: str, body: bytes) -> bytes:
        """Encode a whole POST of JSON."""
        return (
            f"POST {self.url.path}{path} HTTP/1.1\r\nHost: {self.url.netloc}\r\n{self._authorization}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def get(self, path: str) -> bytes:
        """Encode a whole GET."""
        return (f"GET {self.url.path}{path} HTTP/1.1\r\nHost: {self.url.netloc}\r\n{self._authorization}\r\n").encode()

    @property
    def _authorization(self) -> str:
        return f"Authorization: Bearer {self.api_key}\r\n" if self.api_key else ""


async def reach(url: ServerUrl, *, timeout_s: float, api_key: str = "") -> Address:
    """Connect once, to learn which address of the host answers; Unreachable when none does.

    For https:// the system's certificates, or those that SSL_CERT_FILE names, say whom to trust.
    """
    tls = ssl.create_default_context() if url.scheme == "https" else None
    try:
        stream = await TCPClient().connect(url.host, url.port, ssl_options=tls, timeout=timeout_s)
    except TornadoTimeoutError:
        raise Unreachable(f"No server at {url}: no answer within {timeout_s:g} s") from None
    except ssl.SSLCertVerificationError as problem:
        raise Unreachable(f"The certificate of {url} is not trusted: {problem.verify_message.rstrip('.')}") from None
    except (StreamClosedError, OSError) as problem:
        raise Unreachable(f"No server at {url}: {reason_of(problem, 'connection closed')}") from None
    address = Address(url, stream.socket.family, stream.socket.getpeername(), tls, api_key)
    stream.close()
    return address


def reason_of(problem: BaseException, otherwise: str) -> str:
    """Say in a few words why a connection failed; `otherwise` where it doesn't say."""
    cause = problem.real_error if isinstance(problem, StreamClosedError) else problem
    if isinstance(cause, ssl.SSLError):
        return f"TLS: {(cause.reason or cause.strerror or otherwise).replace('_', ' ').lower()}"
    return (getattr(cause, "strerror", None) or otherwise).lower()
