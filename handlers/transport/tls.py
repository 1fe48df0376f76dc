"""Loads the certificate and key of HTTPS, on the main thread. The context is used on the event loop."""

import ssl
from pathlib import Path
from typing import Any

from models.errors import StartRefusedError


class TlsRefusedError(StartRefusedError):
    """The certificate or its key can't be used. The message gives the reason in one line."""


class ServerContext(ssl.SSLContext):
    """A context of a server, for TLS 1.2 and later."""

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        try:
            return super().wrap_socket(*args, **options)
        except OSError as error:
            # The client has already disconnected. Tornado logs an error unless it is an end of file.
            raise ssl.SSLError(ssl.SSL_ERROR_EOF, str(error)) from error


def load_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """The context for a certificate with its chain and its private key, both PEM files. Raises TlsRefusedError."""
    for path in (certificate, key):
        try:
            path.open("rb").close()
        except OSError as error:
            raise TlsRefusedError(f"{path} can't be read: {error.strerror}") from None
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password here, OpenSSL would ask on the terminal for the password of an encrypted key.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsRefusedError(f"the key in {key} is not that of the certificate in {certificate}") from None
        raise TlsRefusedError(
            f"{certificate} and {key} are not a certificate and its private key, both as PEM and without a passphrase"
        ) from None
    except OSError as error:
        raise TlsRefusedError(f"{certificate} and {key} can't be read: {error.strerror}") from None
    return context
