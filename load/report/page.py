"""Formats a result, and renders the report's page from its template. Runs on the main thread, after the event loop.

The page is one file that opens from a disk without a network. Its Content-Security-Policy allows no requests, and only
the page's own scripts and style, even if other markup is injected into the page. charts.js rounds the numbers of its
labels as `measured` does.
"""

import base64
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from tornado.template import Loader, Template

UNKNOWN = "\N{EN DASH}"
LEAST_DIGITS = 3
MOST_DECIMALS = 6
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
"""Percentiles by name. In the names of the result's fields, the point is replaced by an underscore."""
OPEN_LOOP = "open loop"
KINDS = {"lost_ids": "LOST", "different": "DIFFERENT", "unread": "not readable", "unprocessed": "not processed"}
"""The kinds of errors in `read_back`, the worst kind first, and a text for the verdict."""
FOLDER = Path(__file__).parent
SCRIPTS = ("plot.js", "charts.js")  # In the order in which the page runs them.


class Cell(NamedTuple):
    """A number as text. `field` is its path in the JSON. `exact` is the number with all digits, or None if unknown."""

    field: str
    text: str
    unit: str = ""
    exact: str | None = None


class Row(NamedTuple):
    """A named row of a table. If `is_part`, its numbers are parts of the number in the row above."""

    name: str
    cells: Sequence[Cell]
    is_part: bool = False


def counted(count: int) -> str:
    return f"{count:,}"


def measured(value: float) -> str:
    """Format a measured number with three significant digits. From 1,000 on, keep all digits of the whole part."""
    if value == 0:
        return "0"
    decimals = LEAST_DIGITS - 1 - math.floor(math.log10(abs(value)))
    return f"{value:,.{min(max(decimals, 0), MOST_DECIMALS)}f}"


def exact(value: float) -> str:
    """Format a number that was not measured, such as the start of an interval, without floating-point errors."""
    return f"{value:,.10g}" if abs(value) < 1e9 else f"{value:,.0f}"


def share(value: float) -> str:
    return f"{measured(value * 100)} %"


def cell_of(result: Mapping[str, Any], *path: str | int, text: Callable[[Any], str] = measured, unit: str = "") -> Cell:
    """Return a cell with the number at `path` in the result, or with UNKNOWN if a value on the path is None."""
    value: Any = result
    for step in path:
        value = None if value is None else value[step]
    field = ".".join(map(str, path))
    return Cell(field, UNKNOWN) if value is None else Cell(field, text(value), unit, exact=repr(value))


def drawn_charts(result: Mapping[str, Any]) -> dict[str, bool]:
    """Return for each chart, by its name, whether the result has numbers to draw."""
    return {
        "throughput": any(result["timeline"]["orders_per_second"]),
        "latency": any(result["timeline"]["latency_p99_ms"]),
        "percentiles": bool(result["percentiles"]["percentile"]),
        "backlog": bool(result["backlog"]["time_s"]),
    }


def data_of(result: Mapping[str, Any]) -> bytes:
    """Return the data for charts.js as JSON without `<`, so that the data can't end the script element."""
    latencies = {rank: result[f"sending_latency_{name.replace('.', '_')}_ms"] for name, rank in PERCENTILES.items()}
    data = {
        "timeline": result["timeline"],
        "backlog": result["backlog"],
        "percentiles": result["percentiles"],
        "sending": [each for each in latencies.items() if result["mode"] == OPEN_LOOP and each[1] is not None],
        "due_per_second": result["rate_per_second"],
    }
    return msgspec.json.encode(data).replace(b"<", b"\\u003c")


class Tone(StrEnum):
    """Says whether the run passed. The values are classes in the style sheet."""

    GOOD = "good"
    BAD = "bad"
    UNSURE = "unsure"


class Verdict(NamedTuple):
    """Says at the top of the page whether the run passed: a heading, and sentences below it."""

    tone: Tone
    title: str
    lines: Sequence[str]


def verdict_of(result: Mapping[str, Any]) -> Verdict:
    read_back = result["read_back"]
    # Orders with a wrong 202 are counted only in `read_back`.
    acknowledged = max(result["accepted"] + result["duplicates"], read_back["acknowledged"] if read_back else 0)
    counts = {words: len(read_back[kind]) for kind, words in KINDS.items()} if read_back else {}
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
        orders = f"{counted(acknowledged)} acknowledged order{'' if acknowledged == 1 else 's'}"
        lines = [f"It is not known whether one of {orders} was lost: none was read."]
    kinds = {"refused": "refused", "errors": "without a valid answer", "not_sent": "not sent"}
    if others := [f"{counted(result[field])} {words}" for field, words in kinds.items() if result[field]]:
        lines.append(f"Not acknowledged, so nothing was promised: {', '.join(others)}.")
    return Verdict(tone, title, lines)


FOR_TEMPLATE = (Row, cell_of, counted, exact, measured, share)
"""The functions that the template calls, by their names."""


@cache
def _template() -> Template:
    return Loader(str(FOLDER), whitespace="single").load("page.html")


def render(result: Mapping[str, Any]) -> bytes:
    """Render the page as UTF-8 from the dictionary that `--json` writes."""
    scripts = [(FOLDER / name).read_bytes() for name in SCRIPTS]
    style = (FOLDER / "style.css").read_bytes()
    return _template().generate(
        result=result,
        policy=_policy(scripts=scripts, style=style),
        style=style,
        scripts=scripts,
        data=data_of(result),
        verdict=verdict_of(result),
        is_open=result["mode"] == OPEN_LOOP,
        started=f"{datetime.fromisoformat(result['started']):%Y-%m-%d %H:%M:%S} UTC",
        percentiles=[(name, f"{name.replace('.', '_')}_ms") for name in PERCENTILES],
        drawn_charts=drawn_charts(result),
        **{each.__name__: each for each in FOR_TEMPLATE},
    )


def _policy(*, scripts: Sequence[bytes], style: bytes) -> str:
    hashes = (base64.b64encode(hashlib.sha256(content).digest()).decode() for content in (style, *scripts))
    allowed_style, *allowed_scripts = (f"'sha256-{each}'" for each in hashes)
    allowed = f"script-src {' '.join(allowed_scripts)}; style-src {allowed_style}"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
