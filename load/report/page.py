"""Renders the report's page from its template. Runs on the main thread, after the event loop.

The page is one file that opens from a disk without a network. Its Content-Security-Policy allows no request, and no
script or style but its own, even if other markup gets into the page.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tornado.template import Loader

from load.report.charts import charts_of, data_of
from load.report.figures import machine_of, settings_of, started, tables_of, tiles_of
from load.report.verdict import verdict_of

FOLDER = Path(__file__).parent
SCRIPTS = ("plot.js", "charts.js")
"""In the order in which the page runs them."""


def render(result: Mapping[str, Any]) -> bytes:
    """Render the page, as UTF-8, for the dictionary that `--json` writes."""
    scripts = [(FOLDER / name).read_bytes() for name in SCRIPTS]
    style = (FOLDER / "style.css").read_bytes()
    template = Loader(str(FOLDER), whitespace="single").load("page.html")
    return template.generate(
        result=result,
        policy=_policy(scripts=scripts, style=style),
        style=style,
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


def _policy(*, scripts: Sequence[bytes], style: bytes) -> str:
    """The page's Content-Security-Policy, which names each script and the style by its hash."""
    allowed = " ".join(map(_hash_source, scripts))
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash_source(style)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash_source(content: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"
