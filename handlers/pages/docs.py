"""`GET /docs`: Swagger UI, which shows `/openapi.json` and can send its requests. Pure functions.

Its files come from the package flask-swagger-ui, which contains Swagger UI and little else. Neither the package nor
Flask is imported. The page has no inline script, so that its Content-Security-Policy can forbid those.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from handlers.pages.static_content import StaticContent, static_content
from models.errors import StartRefusedError

PAGE_TYPE = "text/html; charset=utf-8"
SCRIPT_TYPE = "text/javascript"
ASSETS: Mapping[str, str] = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": SCRIPT_TYPE,
    "favicon-32x32.png": "image/png",
}
"""The files of the package that the page loads, and their media types."""
FILES: Mapping[str, str] = {"initializer.js": SCRIPT_TYPE, **ASSETS}
"""All files that the page loads."""

PAGE = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Orders: the API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
</head>
<body>
<div id="page"></div>
<noscript>This page needs JavaScript; what it shows is in <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/initializer.js"></script>
</body>
</html>
"""
# URLs are relative, so that a proxy can serve the page under a path prefix. validatorUrl: null turns off requests to
# Swagger's public validator.
SCRIPT = b"""SwaggerUIBundle({
  url: "openapi.json",
  domNode: document.getElementById("page"),
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null
});
"""


class AssetsMissingError(StartRefusedError):
    """A package whose files the server sends is not installed. The message says which."""


class Docs(NamedTuple):
    """The page, and the files that it loads, by name."""

    page: StaticContent
    files: Mapping[str, StaticContent]


def read_docs() -> Docs:
    """Reads the files of Swagger UI. Raises AssetsMissingError if its package is not installed."""
    folder = assets_folder()
    files = {name: static_content((folder / name).read_bytes(), kind) for name, kind in ASSETS.items()}
    return Docs(static_content(PAGE, PAGE_TYPE), {"initializer.js": static_content(SCRIPT, SCRIPT_TYPE), **files})


def assets_folder() -> Path:
    """The folder of the package's files. Raises AssetsMissingError if the package is not installed."""
    return package_folder("flask_swagger_ui", "flask-swagger-ui") / "dist"


def package_folder(module: str, package: str) -> Path:
    """The folder of a package's module, which is not imported. Raises AssetsMissingError if it is not installed."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise AssetsMissingError(f'the package "{package}" is not installed: run pip install -r requirements.txt')
    return Path(found.origin).parent
