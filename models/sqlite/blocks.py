"""Updates the table `blocks`, with which listings skip orders. Runs on the thread that opened the transaction.

2,048 orders with consecutive sequences form a block, and 64 orders with consecutive sequences form a chunk. The row of
a block has the lowest and the highest `created_us` of its orders. It also has a bit for each chunk, which is 1 if the
chunk can contain a Completed order. A bit is never set back to 0, because Completed is final.
"""

from collections.abc import Iterable

import msgspec

from models.listing import HIGHEST, LOWEST
from models.sqlite import statements
from models.sqlite.database import RetryingSqliteDatabase

BLOCK_BITS = 11
"""Orders whose sequences differ only in this number of lowest bits form a block. The schema has an index that uses this
number."""
CHUNK_BITS = 6
"""Orders whose sequences differ only in this number of lowest bits form a chunk."""
CHUNKS = 1 << (BLOCK_BITS - CHUNK_BITS)
"""The number of chunks of a block."""


class BlockChanges:
    """Collects the changes that a transaction makes in the table, so that one statement writes all of them."""

    def __init__(self) -> None:
        self._created: dict[int, int] = {}
        self._completed: dict[int, int] = {}

    def add_orders(self, first: int, count: int, created_us: int) -> None:
        """Adds new orders with consecutive sequences. All orders of a transaction have the same `created_us`."""
        for block in range(first >> BLOCK_BITS, (first + count - 1 >> BLOCK_BITS) + 1):
            self._created[block] = created_us

    def complete(self, first: int, last: int) -> None:
        """Adds the orders with the sequences from `first` to `last`, which become Completed."""
        self._complete_chunks(range(first >> CHUNK_BITS, (last >> CHUNK_BITS) + 1))

    def complete_each(self, sequences: Iterable[int]) -> None:
        """Adds the orders with these sequences, which become Completed."""
        self._complete_chunks({sequence >> CHUNK_BITS for sequence in sequences})

    def write(self, database: RetryingSqliteDatabase) -> None:
        """Writes the collected changes to the table, and removes them from this object."""
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
