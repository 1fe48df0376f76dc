"""Which certificates to trust over TLS, and whether a port speaks TLS at all. Runs on the event loop."""

import asyncio
import ssl

from tornado.iostream import StreamClosedError
from tornado.tcpclient import TCPClient

from load.cli.errors import reason_of_os_error

CERTIFICATES = "SSL_CERT_FILE"
"""The environment variable that OpenSSL reads; it ignores a file that does not exist."""


class NoCertificates(Exception):
    """The file of trusted certificates has none, or can't be read; the text names it and says why."""


def context_that_trusts(certificates: str | None) -> ssl.SSLContext:
    """Return a client context that trusts the certificates in this PEM file, or the system's; NoCertificates."""
    context = ssl.create_default_context()
    if certificates:
        try:
            context.load_verify_locations(cafile=certificates)
        except ssl.SSLError:
            raise NoCertificates(f"{CERTIFICATES}: {certificates} has no certificate (PEM) in it") from None
        except OSError as problem:
            reason = reason_of_os_error(problem)
            raise NoCertificates(f"{CERTIFICATES}: {certificates} can't be read: {reason}") from None
    return context


async def speaks_http(host: str, port: int, *, timeout_s: float) -> bool:
    """Return whether an unencrypted request gets a response there."""
    try:
        async with asyncio.timeout(timeout_s):
            stream = await TCPClient().connect(host, port)
            try:
                await stream.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                return await stream.read_bytes(5) == b"HTTP/"
            finally:
                stream.close()
    except (StreamClosedError, OSError):
        return False


async def speaks_tls(host: str, port: int, *, timeout_s: float) -> bool:
    """Return whether a TLS handshake succeeds there; the certificate is not checked, since nothing is sent."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(timeout_s):
            (await TCPClient().connect(host, port, ssl_options=anybody)).close()
    except (StreamClosedError, OSError):
        return False
    return True
