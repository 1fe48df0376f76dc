"""Owns the report's page: the template, and what stands in it beside numbers; on the main thread, after the loop.

All of it is in one file, plotly.js included, so that it opens from a disk without a network. Its policy lets it ask
for nothing, and runs no script but the two that are its own, whatever else might get into the page.
"""

import base64
import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tornado.template import Loader

from load.report.courses import charts_of, data_of
from load.report.figures import tables_of, tiles_of
from load.report.origin import machine_of, settings_of, started
from load.report.verdict import verdict_of

FOLDER = Path(__file__).parent
PLOTLY_FILE = "plotly.min.js"


def render(result: Mapping[str, Any]) -> bytes:
    """Give the page for the dictionary that `--json` writes: UTF-8, some 5 MB, most of it plotly.js.

    ModuleNotFoundError where the package plotly is not installed.
    """
    scripts = [(assets_folder() / PLOTLY_FILE).read_bytes(), (FOLDER / "charts.js").read_bytes()]
    template = Loader(str(FOLDER), whitespace="single").load("page.html")
    return template.generate(
        result=result,
        policy=_policy(scripts),
        style=(FOLDER / "style.css").read_bytes(),
        scripts=scripts,
        data=data_of(result),
        verdict=verdict_of(result),
        notices=result["notes"],
        tiles=tiles_of(result),
        tables=tables_of(result),
        charts=charts_of(result),
        settings=settings_of(result),
        machine=machine_of(result),
        started=started(result),
    )


def assets_folder() -> Path:
    """Where plotly.js is: in the package plotly, which is not imported. Raises ModuleNotFoundError without it."""
    found = importlib.util.find_spec("plotly")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("plotly is not installed", name="plotly")
    return Path(found.origin).parent / "package_data"


def _policy(scripts: list[bytes]) -> str:
    """Give the page's content security policy; plotly.js adds style rules of its own, scripts are known by hash."""
    hashes = (base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{each}'" for each in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
