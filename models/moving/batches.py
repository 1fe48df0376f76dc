"""Reads the rows of the file in batches, and converts them to rows of PostgreSQL. Used on the main thread."""

from collections.abc import Iterator

from models.listing import HIGHEST, LOWEST
from models.moving.batch import Batch
from models.moving.conversion import Conversion
from models.moving.source import Source


class Batches:
    """All batches of the file, in the order of the sequences. A batch has at most about `max_rows` rows."""

    def __init__(self, source: Source, conversion: Conversion, *, max_rows: int) -> None:
        self._source = source
        self._conversion = conversion
        self._max_rows = max_rows

    def after(self, sequence: int) -> Batch | None:
        """The batch of the orders that follow the order with this sequence; None if there are none."""
        return self._source.batch_after(sequence, self._conversion, max_rows=self._max_rows)

    def __iter__(self) -> Iterator[Batch]:
        """Yields all batches, and then an empty batch of all higher sequences."""
        last = LOWEST
        while batch := self.after(last):
            yield batch
            last = batch.last
        yield Batch(last, HIGHEST, [], [], [], [])
