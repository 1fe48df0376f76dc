"""Files out of installed packages, which are not imported, sent as they are read. Runs on the event loop."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

from tornado.web import StaticFileHandler

from handlers.pages.static_content import HEADERS
from handlers.transport.base_handler import BaseHandler
from handlers.transport.in_flight import InFlightRequests


def package_folder(module: str, package: str) -> Path:
    """Where a module is that consists of a folder. Raises ModuleNotFoundError where its package is not installed."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed", name=module)
    return Path(found.origin).parent


class AssetHandler(BaseHandler, StaticFileHandler):
    """Answers with a file of `folder`. `types` has the media types by name, `headers` what else is said of each."""

    def _open(
        self,
        *,
        in_flight: InFlightRequests,
        folder: Path,
        types: Mapping[str, str],
        headers: Mapping[str, str] = HEADERS,
    ) -> None:
        self._join(in_flight=in_flight)
        self._types = types
        self._said = headers
        StaticFileHandler.initialize(self, str(folder))

    initialize: Callable[..., None] = _open

    def prepare(self) -> None:
        # A server may ignore it (RFC 9110 §14.2), and so never has a range to refuse.
        self.request.headers.pop("Range", None)

    def compute_etag(self) -> str | None:
        return StaticFileHandler.compute_etag(self)

    def get_content_type(self) -> str:
        return self._types[Path(self.path).name]

    def set_extra_headers(self, path: str) -> None:
        for name, value in self._said.items():
            self.set_header(name, value)
        self.set_header("Accept-Ranges", "none")
        if self._in_flight.draining:
            self.set_header("Connection", "close")
