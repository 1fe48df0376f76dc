"""`GET /`: the dashboard, whose files are in `handlers/pages/static/`. Pure functions.

The page holds no data: it asks for all that it shows, with the key of whoever looks at it where keys are needed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from handlers.pages.assets import package_folder
from handlers.pages.static_content import HEADERS, StaticContent, with_etag
from models.errors import StartRefusedError

PAGE = "index.html"
ASSETS = {"plotly.min.js": "text/javascript"}
"""The package's files that the page needs, and their media types."""
DASHBOARD_HEADERS: Mapping[str, str] = {
    **HEADERS,
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; manifest-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
"""Styles may stand in the page, since Plotly puts its own there."""

_FOLDER = Path(__file__).parent / "static"
_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
_WITHOUT_KEYS = b'<meta name="orders-keys" content="no">'
_WITH_KEYS = b'<meta name="orders-keys" content="yes">'


class DashboardBrokenError(StartRefusedError):
    """A file of the dashboard is not what it must be; the text says which and why in one line."""


class Dashboard(NamedTuple):
    """The page, and by name what it is made of, without the package's files."""

    page: StaticContent
    files: Mapping[str, StaticContent]

    @property
    def types(self) -> Mapping[str, str]:
        """The media type of each file, the package's too."""
        return {name: file.content_type for name, file in self.files.items()} | ASSETS


def read_dashboard(*, has_keys: bool, folder: Path = _FOLDER) -> Dashboard:
    """Reads it from disk; the page is told whether the server asks for keys. Raises DashboardBrokenError.

    Files whose type is none of the page's, such as an editor leaves behind, are left out.
    """
    files = {
        path.name: with_etag(path.read_bytes(), _TYPES[path.suffix], DASHBOARD_HEADERS)
        for path in sorted(folder.iterdir())
        if path.suffix in _TYPES and not path.name.startswith(".")
    }
    if PAGE not in files:
        raise DashboardBrokenError(f"{folder} has no {PAGE}")
    page = files.pop(PAGE)
    if page.body.count(_WITHOUT_KEYS) != 1:
        raise DashboardBrokenError(f"{folder / PAGE} has not got {_WITHOUT_KEYS.decode()} once")
    if has_keys:
        page = with_etag(page.body.replace(_WITHOUT_KEYS, _WITH_KEYS), page.content_type, page.headers)
    return Dashboard(page, files)


def assets_folder() -> Path:
    """Where the package's files are. Raises ModuleNotFoundError where it is not installed."""
    return package_folder("plotly", "plotly") / "package_data"
