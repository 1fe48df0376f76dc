"""Renders the report's page from its template. Runs on the main thread, after the event loop.

The page is one file that opens from a disk without a network. Its Content-Security-Policy allows no requests, and only
the page's own scripts and style, even if other markup is injected into the page.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from tornado.template import Loader

from load.cli.errors import printable
from load.report import figures
from load.report.figures import OPEN_LOOP, counted, plural

NAMED = 100  # How many orders with the same kind of error the page lists; the JSON lists all.
KINDS = {
    "lost_ids": ("Lost", "LOST"),
    "different": ("Different", "DIFFERENT"),
    "unread": ("Not readable", "not readable"),
    "unprocessed": ("Not processed", "not processed"),
}
"""The kinds of errors, the worst kind first. Each kind has a title and a text for the verdict."""
FOLDER = Path(__file__).parent
FOR_TEMPLATE = (figures.Row, figures.cell_of, counted, figures.exact, figures.measured, figures.share)
"""The functions that the template calls, by their names."""
SCRIPTS = ("plot.js", "charts.js")  # In the order in which the page runs them.


class Tone(StrEnum):
    """Says whether the run passed. The values are classes in the style sheet."""

    GOOD = "good"
    BAD = "bad"
    UNSURE = "unsure"


class Finding(NamedTuple):
    """Lists orders with one kind of error. `lines` has lines for the first orders, `more` counts the other orders."""

    title: str
    lines: Sequence[str]
    more: str


class Verdict(NamedTuple):
    """Says at the top of the page whether the run passed: a heading, sentences below it, and the orders with errors."""

    tone: Tone
    title: str
    lines: Sequence[str]
    findings: Sequence[Finding]


def verdict_of(result: Mapping[str, Any]) -> Verdict:
    read_back = result["read_back"]
    # Orders with a wrong 202 are counted only in `read_back`.
    acknowledged = max(result["accepted"] + result["duplicates"], read_back["acknowledged"] if read_back else 0)
    counts = {words: len(read_back[kind]) for kind, (_, words) in KINDS.items()} if read_back else {}
    counts["with a wrong 202"] = result["wrong_202"]
    faults = ", ".join(f"{counted(count)} {words}" for words, count in counts.items() if count)
    if result["interrupted"]:
        unknown = "not all checked" if read_back else "not checked"
        tone, title = Tone.BAD if faults else Tone.UNSURE, f"Interrupted: {faults or unknown}"
    elif result["passed"]:
        tone, title = Tone.GOOD, "Passed: nothing lost"
    else:
        otherwise = "not all could be checked" if acknowledged else "nothing was accepted"
        tone, title = Tone.BAD, f"Failed: {faults or otherwise}"
    lines = ["No order was acknowledged, so there was nothing to read back."]
    if read_back and acknowledged:
        lines = [read_back["summary"]]
    elif acknowledged:
        lines = [
            f"It is not known whether one of {plural(acknowledged, 'acknowledged order')} was lost: none was read."
        ]
    kinds = {"refused": "refused", "errors": "without a valid answer", "not_sent": "not sent"}
    if others := [f"{counted(result[field])} {words}" for field, words in kinds.items() if result[field]]:
        lines.append(f"Not acknowledged, so nothing was promised: {', '.join(others)}.")
    return Verdict(tone, title, lines, _findings(result))


def _findings(result: Mapping[str, Any]) -> list[Finding]:
    findings = []
    if wrong := result["wrong_202_by_reason"]:
        lines = [f"{printable(reason)}: {plural(count, 'order')}" for reason, count in wrong.items()]
        findings.append(Finding(f"Wrong 202: {plural(result['wrong_202'], 'order')}", lines, ""))
    for kind, (title, _) in KINDS.items():
        orders = (result["read_back"] or {}).get(kind, ())
        reasons = orders if isinstance(orders, Mapping) else {}
        lines = [f"{one}: {printable(reasons[one])}" if one in reasons else str(one) for one in orders]
        more = f"and {counted(len(lines) - NAMED)} more, which --json names" if len(lines) > NAMED else ""
        if lines:
            findings.append(Finding(f"{title}: {plural(len(lines), 'order')}", lines[:NAMED], more))
    return findings


def render(result: Mapping[str, Any]) -> bytes:
    """Render the page as UTF-8 from the dictionary that `--json` writes."""
    scripts = [(FOLDER / name).read_bytes() for name in SCRIPTS]
    style = (FOLDER / "style.css").read_bytes()
    template = Loader(str(FOLDER), whitespace="single").load("page.html")
    return template.generate(
        result=result,
        policy=_policy(scripts=scripts, style=style),
        style=style,
        scripts=scripts,
        data=figures.data_of(result),
        verdict=verdict_of(result),
        is_open=result["mode"] == OPEN_LOOP,
        started=f"{datetime.fromisoformat(result['started']):%Y-%m-%d %H:%M:%S} UTC",
        rate_note=figures.rate_note(result),
        latency_table=figures.latency_table(result),
        chart_tables=figures.chart_tables(result),
        **{each.__name__: each for each in FOR_TEMPLATE},
    )


def _policy(*, scripts: Sequence[bytes], style: bytes) -> str:
    allowed = " ".join(map(_hash_source, scripts))
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash_source(style)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash_source(content: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"
