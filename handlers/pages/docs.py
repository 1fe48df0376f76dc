"""`GET /docs`: Swagger UI, which shows and tries what `/openapi.json` says. Runs on the event loop.

Its files come out of the package swagger-ui-py, which is not imported: it would bring handlers of its own, and their
templates. The page has no script within itself, so that its policy can forbid those.
"""

from collections.abc import Mapping
from pathlib import Path

from handlers.pages.assets import package_folder

PAGE_TYPE = "text/html; charset=utf-8"
SCRIPT_TYPE = "text/javascript"
ASSETS: Mapping[str, str] = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": SCRIPT_TYPE,
    "favicon-32x32.png": "image/png",
}
"""The package's files that the page needs, and their media types."""
FILES: Mapping[str, str] = {"initializer.js": SCRIPT_TYPE, **ASSETS}
"""All that the page needs."""

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
# Relative to the page, as are the links above, so that a proxy may serve it below a path of its own. Without the
# validator, which is a server of Swagger's.
SCRIPT = b"""SwaggerUIBundle({
  url: "openapi.json",
  domNode: document.getElementById("page"),
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null
});
"""


def assets_folder() -> Path:
    """Where the package's files are. Raises ModuleNotFoundError where it is not installed."""
    return package_folder("swagger_ui", "swagger-ui-py") / "static"
