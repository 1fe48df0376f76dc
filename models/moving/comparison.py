"""Compares the moved rows with the file, field by field. Runs on the main thread."""

from models.errors import MoveError
from models.moving.batch import COLUMNS, Batch
from models.moving.target import Target


def compare(batch: Batch, target: Target) -> None:
    """Compares the rows of the batch, which were read from the file again, with the rows of the database.

    Raises MoveError at the first difference.
    """
    for table, expected in batch.texts():
        found = target.text(table, after=batch.after, last=batch.last)
        if found != expected.encode():
            raise MoveError(f"{target.name} differs from the file: {_difference(table, expected, found.decode())}")


def _difference(table: str, expected: str, found: str) -> str:
    """Names the first difference, without the values, which can be personal data."""
    for row, other in zip(_rows(expected), _rows(found), strict=False):
        if row[:2] != other[:2]:
            first = min(int(row[0]), int(other[0]))
            return f"the table {table} has a row of the order with the sequence {first} only on one side"
        if row != other:
            columns = zip(COLUMNS[table].split(", "), row, other, strict=True)
            names = ", ".join(name for name, value, moved in columns if value != moved)
            return f"in the table {table}, {names} of the order with the sequence {row[0]}"
    return f"the table {table} has {len(_rows(found)):,} instead of {len(_rows(expected)):,} rows in a part"


def _rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.split("\n")[:-1]]
