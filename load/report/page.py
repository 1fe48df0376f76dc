"""Renders the report's page from its template. Runs on the main thread, after the event loop.

The page is one file that opens from a disk without a network. Its Content-Security-Policy allows no request, and no
script or style but its own, even if other markup gets into the page.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tornado.template import Loader

from load.report.figures import OPEN_LOOP, chart_tables, data_of, tables_of, throughput_note
from load.report.tables import cell_of, exact
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
        is_open=result["mode"] == OPEN_LOOP,
        started=f"{datetime.fromisoformat(result['started']):%Y-%m-%d %H:%M:%S} UTC",
        throughput_note=throughput_note(result),
        tables=tables_of(result),
        chart_tables=chart_tables(result),
        cell_of=cell_of,
        exact=exact,
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
