"""`GET /`: the dashboard, a page whose files are in `handlers/pages/static/`. Pure functions.

The page contains no data. Its scripts request the data that the page shows. If the server requires API keys, the
scripts send the key that the user has entered.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from handlers.pages.static_content import HEADERS, StaticContent, static_content
from models.errors import StartRefusedError

PAGE = "index.html"
DASHBOARD_HEADERS: Mapping[str, str] = {
    **HEADERS,
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; manifest-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}

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
    """A file of the dashboard is missing or invalid. The message names the file and the reason in one line."""


class Dashboard(NamedTuple):
    """The page, and the files that it loads, by name."""

    page: StaticContent
    files: Mapping[str, StaticContent]

    @property
    def types(self) -> Mapping[str, str]:
        """The media type of each file."""
        return {name: file.content_type for name, file in self.files.items()}


# Cached because reading and hashing the files takes some milliseconds, and the tests start many servers in one process.
@functools.cache
def read_dashboard(*, has_keys: bool, folder: Path = _FOLDER) -> Dashboard:
    """Reads the dashboard from disk. A `meta` element of the page says whether the server requires API keys.

    Files with other suffixes, such as an editor's backups, are ignored. Raises DashboardBrokenError.
    """
    files = {
        path.name: static_content(path.read_bytes(), _TYPES[path.suffix], DASHBOARD_HEADERS)
        for path in sorted(folder.iterdir())
        if path.suffix in _TYPES and not path.name.startswith(".")
    }
    if PAGE not in files:
        raise DashboardBrokenError(f"{folder} has no {PAGE}")
    page = files.pop(PAGE)
    body = page.plain.body
    if body.count(_WITHOUT_KEYS) != 1:
        raise DashboardBrokenError(f"{folder / PAGE} must contain {_WITHOUT_KEYS.decode()} exactly once")
    if has_keys:
        page = static_content(body.replace(_WITHOUT_KEYS, _WITH_KEYS), page.content_type, DASHBOARD_HEADERS)
    return Dashboard(page, files)
