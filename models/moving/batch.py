"""The rows of a batch of orders, as the text that PostgreSQL's COPY reads and writes. Immutable values."""

from collections.abc import Iterator
from typing import NamedTuple

from models.order import Status

COLUMNS = {
    "orders": "sequence, order_id, user_id, total_amount, created_us, item_ids, metadata, trace_headers",
    "work": "sequence, created_us, node, claimed_us, due_us, attempts, claims, error",
    "ends": "sequence, processed_us, claimed_us, attempts, claims, status, error",
    "attempts": "sequence, claim, number, started_us, ended_us, ending, error",
}
"""The tables and columns of PostgreSQL that contain orders. The first two columns of each table identify a row."""


class Batch(NamedTuple):
    """The rows of the orders with sequences above `after` and up to `last`: the lines of each table, sorted."""

    after: int
    last: int
    orders: list[str]
    work: list[str]
    ends: list[str]
    attempts: list[str]

    def texts(self) -> Iterator[tuple[str, str]]:
        """The name of each table, and the text of its rows."""
        for table in COLUMNS:
            lines: list[str] = getattr(self, table)
            yield table, "".join(lines)


class Recount(NamedTuple):
    """The number of orders in each status, the sum of their amounts, and the number of stored attempts."""

    counts: dict[Status, int]
    total_amount: int
    attempts: int
