"""Serves files from the folder of an installed package. Runs on the event loop."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

from tornado.web import StaticFileHandler

from handlers.pages.static_content import HEADERS
from handlers.requests.base_handler import BaseHandler
from handlers.transport.in_flight import InFlightRequests
from models.errors import StartRefusedError


class AssetsMissingError(StartRefusedError):
    """A package whose files the server sends is not installed. The message says which."""


def package_folder(module: str, package: str) -> Path:
    """The folder of a package's module, which is not imported. Raises AssetsMissingError if it is not installed."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise AssetsMissingError(f'the package "{package}" is not installed: run pip install -r requirements.txt')
    return Path(found.origin).parent


class AssetHandler(BaseHandler, StaticFileHandler):
    """Responds with a file of `folder`; `types` maps file names to media types."""

    def _open(self, *, in_flight: InFlightRequests, folder: Path, types: Mapping[str, str]) -> None:
        self._count_in_flight(in_flight=in_flight)
        self._types = types
        StaticFileHandler.initialize(self, str(folder))

    initialize: Callable[..., None] = _open

    def prepare(self) -> None:
        # A server may ignore Range (RFC 9110 §14.2), and then need not reject an invalid one.
        self.request.headers.pop("Range", None)

    def compute_etag(self) -> str | None:
        return StaticFileHandler.compute_etag(self)

    def get_content_type(self) -> str:
        return self._types[Path(self.path).name]

    def set_extra_headers(self, path: str) -> None:
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.set_header("Accept-Ranges", "none")
        if self._in_flight.draining:
            self.set_header("Connection", "close")
