"""Reads files again while the server runs, for example the API keys. Runs on the event loop."""

import contextlib
import logging
import ssl
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from handlers.security.api_keys import read_keys
from handlers.security.request_guard import RequestGuard
from handlers.transport.tls import load_tls
from models.errors import StartRefusedError

_log = logging.getLogger("orders")


class Reloadable(Protocol):
    """Content that the server has read from files, and can read again."""

    @property
    def paths(self) -> Sequence[Path]:
        """The files."""

    def reload(self) -> str:
        """Reads the files again, and uses the new content. Returns a description of the content for the log.

        Raises StartRefusedError if the new content can't be used; the old content stays in use.
        """


class TlsServer(Protocol):
    """A server with HTTPS. `handlers.api.HttpApi` implements this Protocol."""

    def replace_tls(self, tls: ssl.SSLContext, /) -> None:
        """Uses this context for new connections."""


def reload_all(reloadables: Sequence[Reloadable]) -> None:
    """Calls `reload` of each object, and logs the results."""
    if not reloadables:
        _log.info("nothing to reload: no API keys, certificate or webhook secrets have been read from files")
    for each in reloadables:
        try:
            for path in each.paths:
                _check_is_no_pipe(path)
            description = each.reload()
        except StartRefusedError as error:
            _log.error("not reloaded: %s", error)
        else:
            _log.info("reloaded: %s", description)


class KeyFile:
    """The file of `--api-keys`. A reload does not reset the rate limit of a key that keeps its name."""

    def __init__(self, path: Path, *, guard: RequestGuard) -> None:
        self.paths = (path,)
        self._guard = guard

    def reload(self) -> str:
        [path] = self.paths
        keys = read_keys(path)
        self._guard.replace_keys(keys)
        return f"{len(keys)} API keys from {path}"


class CertificateFiles:
    """The files of `--tls-cert` and `--tls-key`. After a reload, open connections keep the old certificate."""

    def __init__(self, certificate: Path, key: Path, *, server: TlsServer) -> None:
        self.paths = (certificate, key)
        self._server = server

    def reload(self) -> str:
        certificate, key = self.paths
        self._server.replace_tls(load_tls(certificate, key))
        return f"the certificate from {certificate}"


def _check_is_no_pipe(path: Path) -> None:
    """Raises StartRefusedError if the path is not a regular file.

    A pipe, for example, can be read only once. Opening it again could block the event loop.
    """
    with contextlib.suppress(OSError):  # `reload` then fails with the same error, which is reported
        if not stat.S_ISREG(path.stat().st_mode):
            raise StartRefusedError(f"{path} is not a regular file")
