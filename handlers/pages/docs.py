"""`GET /docs`: Swagger UI, which shows `/openapi.json` and can send the requests that it describes. Pure functions.

Swagger UI is part of the package flask-swagger-ui. Neither this package nor Flask is imported. `OWN_FILES` and the page
are in `handlers/pages/swagger/`. The page has no inline scripts, so that its Content-Security-Policy can forbid them.
"""

import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from handlers.pages.static_content import StaticContent, static_content
from models.errors import StartRefusedError

ASSETS: Mapping[str, str] = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
"""The files of flask-swagger-ui that the page loads, and their media types."""
OWN_FILES: Mapping[str, str] = {"initializer.js": "text/javascript", "page.css": "text/css"}
"""The files in `handlers/pages/swagger/` that the page loads."""
FILES: Mapping[str, str] = {**OWN_FILES, **ASSETS}
"""All files that the page loads."""
FOLDER = Path(__file__).parent / "swagger"


class AssetsMissingError(StartRefusedError):
    """A package that contains files of the page is not installed. The message names the package."""


class Docs(NamedTuple):
    """The page, and the files that it loads, by name."""

    page: StaticContent
    files: Mapping[str, StaticContent]


# Cached because reading and hashing the files takes some milliseconds, and the tests start many servers in one process.
@functools.cache
def read_docs() -> Docs:
    """Reads the page and its files. Raises AssetsMissingError if flask-swagger-ui is not installed."""
    folders = dict.fromkeys(OWN_FILES, FOLDER) | dict.fromkeys(ASSETS, assets_folder())
    files = {name: static_content((folders[name] / name).read_bytes(), kind) for name, kind in FILES.items()}
    return Docs(static_content((FOLDER / "index.html").read_bytes(), "text/html; charset=utf-8"), files)


def assets_folder() -> Path:
    """The folder of Swagger UI's files. Raises AssetsMissingError if flask-swagger-ui is not installed."""
    return package_folder("flask_swagger_ui", "flask-swagger-ui") / "dist"


def package_folder(module: str, package: str) -> Path:
    """The folder of `module`, which is not imported. Raises AssetsMissingError if its `package` is not installed."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise AssetsMissingError(f'the package "{package}" is not installed: run pip install -r requirements.txt')
    return Path(found.origin).parent
