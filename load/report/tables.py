"""Owns the page's tables before they are HTML: numbers out of the result, each with its place there; any thread."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

UNKNOWN = "\N{EN DASH}"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A number as text. `field` is the way to it in the result, `exact` all its digits; None is what is not known.

    `padding` is as wide as the decimals that others of the column have more, so that their points are below each other.
    """

    field: str
    text: str
    unit: str = ""
    exact: str | None = None
    padding: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A named line of cells; one that `is_part` belongs to the row above."""

    name: str
    cells: Sequence[Cell]
    is_part: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows below headings; without headings there is one column of numbers, which need none."""

    title: str
    rows: Sequence[Row]
    headings: Sequence[str] = ()
    note: str = ""


def cell_of(result: Mapping[str, Any], *path: str | int, text: Callable[[Any], str], unit: str = "") -> Cell:
    """Give the number at `path` of the result; where that is null, or within null, it is not known."""
    value: Any = result
    for step in path:
        value = None if value is None else value[step]
    field = ".".join(map(str, path))
    if value is None:
        return Cell(field=field, text=UNKNOWN)
    return Cell(field=field, text=text(value), unit=unit, exact=repr(value))


def aligned(rows: Sequence[Row]) -> list[Row]:
    """Pad each column's numbers to the same number of decimals; all rows have as many cells."""
    widths = [max(map(_decimals, column)) for column in zip(*(row.cells for row in rows), strict=True)]
    return [
        replace(row, cells=[_padded(cell, width) for cell, width in zip(row.cells, widths, strict=True)])
        for row in rows
    ]


def _decimals(cell: Cell) -> int:
    """Count the characters from the point on."""
    return len(cell.text) - cell.text.find(".") if "." in cell.text else 0


def _padded(cell: Cell, width: int) -> Cell:
    missing = width - _decimals(cell)
    if cell.exact is None or not missing:
        return cell
    point = "" if "." in cell.text else "."
    return replace(cell, padding=point + "0" * (missing - len(point)))
