"""Keeps the table `blocks`, by which listings skip orders. Runs on the thread that opened the transaction.

2,048 orders with consecutive sequences form a block, and 64 of them a chunk. The row of a block has the lowest and the
highest `created_us` of its orders, and a bit for each chunk that can contain a Completed order. A bit is never cleared,
because Completed is final.
"""

from collections.abc import Iterable

import msgspec

from models.listing import HIGHEST, LOWEST
from models.sqlite import statements
from models.sqlite.database import RetryingSqliteDatabase

BLOCK_BITS = 11
"""Orders whose sequences differ only in this many lowest bits form a block. An index of the schema uses this number."""
CHUNK_BITS = 6
"""Orders whose sequences differ only in this many lowest bits form a chunk."""
CHUNKS = 1 << (BLOCK_BITS - CHUNK_BITS)
"""The number of chunks of a block."""


class BlockChanges:
    """Collects what a transaction changes in the table, so that one statement writes all of it."""

    def __init__(self) -> None:
        self._created: dict[int, int] = {}
        self._completed: dict[int, int] = {}

    def add_orders(self, first: int, count: int, created_us: int) -> None:
        """Adds new orders with consecutive sequences. `created_us` is the same for all orders of the transaction."""
        for block in range(first >> BLOCK_BITS, (first + count - 1 >> BLOCK_BITS) + 1):
            self._created[block] = created_us

    def complete(self, first: int, last: int) -> None:
        """Adds orders from `first` to `last` that become Completed."""
        self._complete_chunks(range(first >> CHUNK_BITS, (last >> CHUNK_BITS) + 1))

    def complete_each(self, sequences: Iterable[int]) -> None:
        """Adds orders that become Completed."""
        self._complete_chunks({sequence >> CHUNK_BITS for sequence in sequences})

    def write(self, database: RetryingSqliteDatabase) -> None:
        """Writes the changes, and forgets them."""
        if not self._created and not self._completed:
            return
        rows = [
            (block, self._created.get(block, HIGHEST), self._created.get(block, LOWEST), self._completed.get(block, 0))
            for block in self._created.keys() | self._completed.keys()
        ]
        database.execute_sql(statements.CHANGE_BLOCKS, (msgspec.json.encode(rows).decode(),))
        self._created.clear()
        self._completed.clear()

    def _complete_chunks(self, chunks: Iterable[int]) -> None:
        for chunk in chunks:
            block = chunk // CHUNKS
            self._completed[block] = self._completed.get(block, 0) | 1 << chunk % CHUNKS
