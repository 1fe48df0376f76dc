"""The page's tables before they are HTML: numbers of the result as text, with their path in it.

Pure functions, any thread. charts.js writes its labels by the same rule as `measured`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

UNKNOWN = "\N{EN DASH}"
LEAST_DIGITS = 3
MOST_DECIMALS = 6


class Cell(NamedTuple):
    """A number as text. `field` is its path in the result, `exact` has all its digits, None for an unknown value.

    `padding` is as wide as the decimals that it lacks, so that the points of a column are aligned.
    """

    field: str
    text: str
    unit: str = ""
    exact: str | None = None
    padding: str = ""


class Row(NamedTuple):
    """A named row of cells; one that `is_part` belongs to the row above."""

    name: str
    cells: Sequence[Cell]
    is_part: bool = False


class Table(NamedTuple):
    """Rows below headings; a table without headings has one column of numbers."""

    title: str
    rows: Sequence[Row]
    headings: Sequence[str] = ()
    note: str = ""


def counted(count: int) -> str:
    """Return a whole number with thousands separators."""
    return f"{count:,}"


def measured(value: float) -> str:
    """Return a measured number with three significant digits, but all of those before the point."""
    if value == 0:
        return "0"
    decimals = LEAST_DIGITS - 1 - math.floor(math.log10(abs(value)))
    return f"{value:,.{min(max(decimals, 0), MOST_DECIMALS)}f}"


def exact(value: float) -> str:
    """Return a chosen number, such as a percentile or the start of an interval, without a float's rounding error."""
    return f"{value:,.10g}" if abs(value) < 1e9 else f"{value:,.0f}"


def share(value: float) -> str:
    """Return a fraction in per cent."""
    return f"{measured(value * 100)} %"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{counted(count)} {noun}" if count == 1 else f"{counted(count)} {noun}s"


def cell_of(result: Mapping[str, Any], *path: str | int, text: Callable[[Any], str] = measured, unit: str = "") -> Cell:
    """Return the number at `path` of the result; unknown if that, or something above it, is None."""
    value: Any = result
    for step in path:
        value = None if value is None else value[step]
    field = ".".join(map(str, path))
    return Cell(field, UNKNOWN) if value is None else Cell(field, text(value), unit, exact=repr(value))


def aligned(rows: Sequence[Row]) -> list[Row]:
    """Pad the numbers of each column to the same number of decimals; all rows have the same number of cells."""
    widths = [max(map(_decimals, column)) for column in zip(*(row.cells for row in rows), strict=True)]
    return [row._replace(cells=list(map(_padded, row.cells, widths))) for row in rows]


def _decimals(cell: Cell) -> int:
    """Count the characters from the point on."""
    return len(cell.text) - cell.text.find(".") if "." in cell.text else 0


def _padded(cell: Cell, width: int) -> Cell:
    missing = width - _decimals(cell)
    if cell.exact is None or not missing:
        return cell
    point = "" if "." in cell.text else "."
    return cell._replace(padding=point + "0" * (missing - len(point)))
