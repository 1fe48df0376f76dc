"""Parses the server's URL and resolves it to a socket address. Runs on the event loop."""

import asyncio
import os
import re
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from tornado.iostream import StreamClosedError
from tornado.tcpclient import TCPClient
from tornado.util import TimeoutError as TornadoTimeoutError

from load.cli.errors import CommandError, reason_of_os_error

PORTS = {"http": 80, "https": 443}
REACH_S = 5.0
CERTIFICATES = "SSL_CERT_FILE"  # The environment variable that OpenSSL reads; OpenSSL ignores a missing file.


class BadUrl(ValueError):
    """The text is not the URL of an HTTP server."""


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
        """Parse a URL. Raises BadUrl with the reason if the URL is not valid."""
        shown = _without_secrets(text)
        if "@" in text:
            raise BadUrl(f"{shown} has a user name or a password: pass an API key with --api-key")
        try:
            parts = urlsplit(text)
        except ValueError:
            raise BadUrl(f"{shown} is not a URL: its host can't be read") from None
        try:
            port = PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
        except ValueError:
            if parts.netloc.rpartition(":")[2].isdecimal():
                raise BadUrl(f"{shown} is not a URL: Port out of range 0-65535") from None
            # The URL is not shown, because what follows the colon can be a password, as in http://me:secret.
            raise BadUrl("the port of the URL is not a number") from None
        if not text.isascii():
            raise BadUrl(f"{shown} is not a URL: it has a character that is not ASCII")
        if parts.scheme not in PORTS or not parts.hostname:
            raise BadUrl(f"{shown} is not a URL like http://127.0.0.1:8080")
        if parts.query or parts.fragment or " " in parts.path:
            raise BadUrl(f"{shown} has more than a host, a port and a path")
        return cls(parts.hostname, port, parts.netloc, parts.path.rstrip("/"), parts.scheme)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}"


def _without_secrets(text: str) -> str:
    """Return a URL in quotation marks, without its user information and its query: these can contain keys."""
    before, at, after = text.rpartition("@")
    kept = f"{before.partition('//')[0]}//...@{after}" if at and "//" in before else f"...@{after}" if at else text
    return repr(re.sub(r"([?#]).*", r"\1...", kept, flags=re.DOTALL))


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
    tls = _trusting_context() if url.scheme == "https" else None
    try:
        stream = await TCPClient().connect(url.host, url.port, ssl_options=tls, timeout=timeout_s)
    except ssl.SSLCertVerificationError as problem:
        raise Unreachable(f"The certificate of {url} is not trusted: {problem.verify_message.rstrip('.')}") from None
    except (TornadoTimeoutError, StreamClosedError, OSError) as problem:
        timed_out = isinstance(problem, TornadoTimeoutError)
        fault = f"no answer within {timeout_s:g} s" if timed_out else reason_of(problem, "connection closed")
        if url.scheme == "https" and await _speaks_http(url, timeout_s=timeout_s):
            fault = f"The server at {url} does not speak TLS: is it http://{url.netloc}{url.path}?"
            raise Unreachable(fault) from None
        raise Unreachable(f"No server at {url}: {fault}") from None
    address = Address(url, stream.socket.family, stream.socket.getpeername(), tls, api_key)
    stream.close()
    return address


async def raise_if_tls(url: ServerUrl, *, timeout_s: float) -> None:
    """Raise Unreachable if the URL is http:// but the server speaks TLS. Called after a request got no response."""
    if url.scheme == "http":
        # The certificate is not checked, since nothing is sent.
        unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unchecked.check_hostname = False
        unchecked.verify_mode = ssl.CERT_NONE
        with suppress(TornadoTimeoutError, StreamClosedError, OSError):
            stream = await TCPClient().connect(url.host, url.port, ssl_options=unchecked, timeout=timeout_s)
            stream.close()
            raise Unreachable(f"The server at {url} speaks TLS: is it https://{url.netloc}{url.path}?")


def _trusting_context() -> ssl.SSLContext:
    context, file = ssl.create_default_context(), os.environ.get(CERTIFICATES)
    try:
        if file:
            context.load_verify_locations(cafile=file)
    except ssl.SSLError:
        raise Unreachable(f"{CERTIFICATES}: {file} has no certificate (PEM) in it") from None
    except OSError as problem:
        raise Unreachable(f"{CERTIFICATES}: {file} can't be read: {reason_of_os_error(problem)}") from None
    return context


async def _speaks_http(url: ServerUrl, *, timeout_s: float) -> bool:
    """Return whether an unencrypted request gets an HTTP response."""
    try:
        async with asyncio.timeout(timeout_s):
            stream = await TCPClient().connect(url.host, url.port)
            try:
                await stream.write(f"GET / HTTP/1.1\r\nHost: {url.host}\r\nConnection: close\r\n\r\n".encode())
                return await stream.read_bytes(5) == b"HTTP/"
            finally:
                stream.close()
    except (StreamClosedError, OSError):
        return False


def reason_of(problem: BaseException, otherwise: str) -> str:
    """Return in a few words why a connection failed, or `otherwise` if the error gives no reason."""
    cause = problem.real_error if isinstance(problem, StreamClosedError) else problem
    if isinstance(cause, ssl.SSLError):
        return f"TLS: {(cause.reason or cause.strerror or otherwise).replace('_', ' ').lower()}"
    return (getattr(cause, "strerror", None) or otherwise).lower()
