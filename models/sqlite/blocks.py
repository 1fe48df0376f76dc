"""Updates the table `blocks`, with which listings and the recovery skip orders.

Runs on the thread that opened the transaction.

2,048 orders with consecutive sequences form a block, and 64 orders with consecutive sequences form a chunk. The row of
a block has the lowest and the highest `created_us` of its orders. `completed` has a bit for each chunk, which is 1 if
the chunk can contain a Completed order. A bit is never set back to 0, because Completed is final. `processing` is the
exact number of Processing orders, and `processing_chunks` has a bit for each chunk that can contain a Processing order.
When the number becomes 0, all these bits become 0.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

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
        self._processing: defaultdict[int, int] = defaultdict(int)
        self._claimed: dict[int, int] = {}

    def add_orders(self, first: int, count: int, created_us: int) -> None:
        """Adds new orders with consecutive sequences. All orders of a transaction have the same `created_us`."""
        for block in range(first >> BLOCK_BITS, (first + count - 1 >> BLOCK_BITS) + 1):
            self._created[block] = created_us

    def claim(self, sequences: Sequence[int]) -> None:
        """Adds orders that become Processing. A `range` takes less time than other sequences."""
        self._count(sequences, 1)
        _set_bits(self._claimed, sequences)

    def end(self, sequences: Sequence[int]) -> None:
        """Adds orders that were Processing and get another status. A `range` takes less time than other sequences."""
        self._count(sequences, -1)

    def complete(self, sequences: Sequence[int]) -> None:
        """Adds orders that were Processing and become Completed. A `range` takes less time than other sequences."""
        self.end(sequences)
        _set_bits(self._completed, sequences)

    def write(self, database: RetryingSqliteDatabase) -> None:
        """Writes the collected changes to the table, and removes them from this object."""
        rows = [
            (
                block,
                self._created.get(block, HIGHEST),
                self._created.get(block, LOWEST),
                self._completed.get(block, 0),
                self._processing.get(block, 0),
                self._claimed.get(block, 0),
            )
            for block in self._created.keys() | self._processing.keys()
        ]
        if not rows:
            return
        database.execute_sql(statements.CHANGE_BLOCKS, (msgspec.json.encode(rows).decode(),))
        self._created.clear()
        self._completed.clear()
        self._processing.clear()
        self._claimed.clear()

    def _count(self, sequences: Sequence[int], change: int) -> None:
        if isinstance(sequences, range):
            for block in _numbers(sequences, BLOCK_BITS):
                orders = range(max(sequences.start, block << BLOCK_BITS), min(sequences.stop, block + 1 << BLOCK_BITS))
                self._processing[block] += change * len(orders)
        else:
            for sequence in sequences:
                self._processing[sequence >> BLOCK_BITS] += change


def sequences_of_chunks(block: int, mask: int) -> list[int]:
    """The sequences that belong to those chunks of a block whose bits in `mask` are 1."""
    first = block << BLOCK_BITS - CHUNK_BITS
    chunks = (first + number for number in range(CHUNKS) if mask >> number & 1)
    return [sequence for chunk in chunks for sequence in range(chunk << CHUNK_BITS, chunk + 1 << CHUNK_BITS)]


def _set_bits(masks: dict[int, int], sequences: Sequence[int]) -> None:
    """Sets the bits of the chunks of these orders. `masks` has a bit for each chunk of a block."""
    for chunk in _numbers(sequences, CHUNK_BITS):
        block = chunk // CHUNKS
        masks[block] = masks.get(block, 0) | 1 << chunk % CHUNKS


def _numbers(sequences: Sequence[int], bits: int) -> Iterable[int]:
    """The numbers of the blocks or chunks of these orders. `bits` is BLOCK_BITS or CHUNK_BITS."""
    if isinstance(sequences, range):
        return range(sequences.start >> bits, (sequences.stop - 1 >> bits) + 1) if sequences else ()
    return {sequence >> bits for sequence in sequences}
