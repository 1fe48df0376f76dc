"""Reads orders from a CSV file, as a spreadsheet writes it. Runs on the main thread, before the event loop.

Each row becomes a JSON object, as if it were a line of NDJSON. Values are not checked here but by the server: text
that is a JSON number is sent as that number, digit for digit, and any other text as a string.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import msgspec

from load.cli.text import cut
from load.orders.comparison import BadJson, decode_json

ITEMS, METADATA = "item_ids", "metadata"
REQUIRED = ("order_id", "user_id", ITEMS, "total_amount")
KNOWN = (*REQUIRED, METADATA)
SHOWN = 60
"""Characters of a text that a message shows."""
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
SEPARATOR_ROW = ["sep=", ""]
BLANKS = " \t\r\n"
BETWEEN_ITEMS = re.compile(rf"[{BLANKS}]*[;|][{BLANKS}]*|[{BLANKS}]+")
SURROGATE = re.compile("[\ud800-\udfff]")


class BadCsv(Exception):
    """The text is no CSV of orders; `line`, counted from 1, is the first line of the bad row."""

    def __init__(self, line: int, fault: str) -> None:
        super().__init__(fault)
        self.line = line


def read_csv(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield every row after the header as JSON without line breaks, with the line of the file in which it begins.

    Skips empty rows, columns whose name is empty too, and Excel's first line `sep=,`. BadCsv for a bad row; OSError if
    the file can't be read.
    """
    # Bytes that are no UTF-8 become lone surrogates, so that a message can name their line.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = _rows(file)
        header = next(rows, None)
        if header and header[1] == SEPARATOR_ROW:
            header = next(rows, None)
        names = _column_names(*header) if header else []
        for line, row in rows:
            if len(row) != len(names):
                raise BadCsv(line, f"{len(row)} fields, where the header names {len(names)} columns")
            yield line, _encode(names, row, line)


def _rows(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Yield every row that is not blank, with the line in which it begins: a quoted field may span lines."""
    # Spaces after a comma are not part of a value, and a quote after them begins a quoted field.
    reader = csv.reader(_lines(file), strict=True, skipinitialspace=True)
    line = 1
    try:
        for row in reader:
            if any(field.strip() for field in row):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as problem:
        raise BadCsv(line, f"no CSV: {problem} (is a quote left open, or one within quotes not doubled?)") from None


def _lines(file: TextIO) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        if SURROGATE.search(line):
            raise BadCsv(number, "no UTF-8 (a spreadsheet asks for the encoding, or offers CSV UTF-8, when it saves)")
        yield line


def _column_names(line: int, row: Sequence[str]) -> list[str]:
    names = [name.strip() for name in row]
    columns = f"the header must name {', '.join(REQUIRED)}, and may name {METADATA}, with commas between"
    for place, name in enumerate(names):
        if name and name not in KNOWN:
            raise BadCsv(line, f"unknown column {cut(name, SHOWN)!r}: {columns}")
        if name and name in names[:place]:
            raise BadCsv(line, f"the column {name} comes twice")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise BadCsv(line, f"the column {missing[0]} is missing: {columns}")
    return names


def _encode(names: Sequence[str], row: Sequence[str], line: int) -> bytes:
    for name, text in zip(names, row, strict=True):
        if not name and text.strip():
            raise BadCsv(line, f"{cut(text, SHOWN)!r} is in a column that has no name")
    fields = (
        f'"{name}": {_items(text) if name == ITEMS else _json(text, dict) if name == METADATA else _value(text)}'
        for name, text in zip(names, row, strict=True)
        if name and (name != METADATA or text.strip(BLANKS))
    )
    return f"{{{', '.join(fields)}}}".encode()


def _value(text: str) -> str:
    """Return a JSON number unchanged, and any other text as a JSON string."""
    number = text.strip(BLANKS)
    return number if NUMBER.fullmatch(number) else msgspec.json.encode(text).decode()


def _items(text: str) -> str:
    items = text.strip(BLANKS)
    if items.startswith("["):
        return _json(text, list)
    return f"[{', '.join(map(_value, BETWEEN_ITEMS.split(items)))}]" if items else "[]"


def _json(text: str, kind: type) -> str:
    """Return JSON of that kind unchanged, and any other text as `_value` does."""
    with suppress(BadJson):
        if isinstance(decode_json(text.encode()), kind):
            # In valid JSON a line break is never inside a string.
            return text.replace("\n", " ").replace("\r", " ")
    return _value(text)
