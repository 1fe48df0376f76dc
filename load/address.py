"""Owns where the server is: its URL, and the socket address that answered for it; on the event loop's thread."""

import socket
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from tornado.iostream import StreamClosedError
from tornado.tcpclient import TCPClient
from tornado.util import TimeoutError as TornadoTimeoutError


class BadUrl(ValueError):
    """The URL can't be that of a server to load."""


class Unreachable(Exception):
    """Nothing takes connections at the URL."""


@dataclass(frozen=True)
class ServerUrl:
    """An http:// URL in parts: `netloc` is what the Host header says, `path` has no slash at its end."""

    host: str
    port: int
    netloc: str
    path: str

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
        if parts.scheme != "http" or not parts.hostname:
            raise BadUrl(f"{text!r} is no URL like http://127.0.0.1:8080")
        if parts.query or parts.fragment or "@" in parts.netloc or " " in parts.path:
            raise BadUrl(f"{text!r} has more than a host, a port and a path")
        return cls(parts.hostname, 80 if port is None else port, parts.netloc, parts.path.rstrip("/"))

    def __str__(self) -> str:
        return f"http://{self.netloc}{self.path}"


@dataclass(frozen=True)
class Address:
    """A server that took a connection: where to connect to without asking the resolver again."""

    url: ServerUrl
    family: socket.AddressFamily
    sockaddr: tuple[Any, ...]

    def post(self, path: str, body: bytes) -> bytes:
        """Encode a whole POST of JSON."""
        return (
            f"POST {self.url.path}{path} HTTP/1.1\r\nHost: {self.url.netloc}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def get(self, path: str) -> bytes:
        """Encode a whole GET."""
        return f"GET {self.url.path}{path} HTTP/1.1\r\nHost: {self.url.netloc}\r\n\r\n".encode()


async def reach(url: ServerUrl, *, timeout_s: float) -> Address:
    """Connect once, to learn which address of the host answers; Unreachable when none does."""
    try:
        stream = await TCPClient().connect(url.host, url.port, timeout=timeout_s)
    except StreamClosedError as problem:
        reason = problem.real_error
        raise Unreachable(f"No server at {url}: {_strerror(reason)}") from None
    except TornadoTimeoutError:
        raise Unreachable(f"No server at {url}: no answer within {timeout_s:g} s") from None
    except OSError as problem:
        raise Unreachable(f"No server at {url}: {_strerror(problem)}") from None
    address = Address(url, stream.socket.family, stream.socket.getpeername())
    stream.close()
    return address


def _strerror(problem: BaseException | None) -> str:
    return (getattr(problem, "strerror", None) or "connection closed").lower()
