"""Loads the certificate and the key for HTTPS, at the start and after SIGHUP. Runs on the main thread."""

import ssl
from pathlib import Path
from typing import Any

from models.errors import StartRefusedError


class TlsRefusedError(StartRefusedError):
    """The certificate or its key can't be used. The message gives the reason in one line."""


class ServerContext(ssl.SSLContext):
    """A TLS context that reports a client's early disconnect as an end of file."""

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        try:
            return super().wrap_socket(*args, **options)
        except OSError as error:
            # The client has already disconnected. Tornado would log this error, but ignores an end of file.
            raise ssl.SSLError(ssl.SSL_ERROR_EOF, str(error)) from error


def load_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """Makes a context from PEM files with a certificate chain and its private key. Raises TlsRefusedError."""
    for path in (certificate, key):
        try:
            path.open("rb").close()
        except OSError as error:
            raise TlsRefusedError(f"{path} can't be read: {error.strerror}") from None
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without this password, OpenSSL would prompt on the terminal for the password of an encrypted key.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsRefusedError(f"the key in {key} does not match the certificate in {certificate}") from None
        raise TlsRefusedError(
            f"{certificate} and {key} are not a certificate and its private key (PEM, without a passphrase)"
        ) from None
    except OSError as error:
        raise TlsRefusedError(f"{certificate} and {key} can't be read: {error.strerror}") from None
    return context
