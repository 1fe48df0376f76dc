"""Decides which rows of the feed are not needed any more. Used on the thread that reads the feed."""

from collections import deque
from collections.abc import Iterable

from models.changes.feed import KEPT_CHANGES, FeedRow

STEP = 1_000
"""Rows are removed in steps of about this number of changes, so that no step takes long."""


class FeedLength:
    """Counts the changes that have been read, from the beginning of the feed."""

    def __init__(self) -> None:
        self._count = 0
        self._last = 0
        self._marks: deque[tuple[int, int]] = deque()
        """Ids of rows, about `STEP` changes apart, and the number of changes up to each of them."""

    def restart(self) -> None:
        """Begins to count again, with the next row."""
        self._count = self._last = 0
        self._marks.clear()

    def add(self, rows: Iterable[FeedRow]) -> int | None:
        """Counts these rows. Returns the id of the last row that is no longer needed; None if the id is unchanged."""
        for row in rows:
            self._count += len(row.changes)
            if self._count - self._last >= STEP:
                self._last = self._count
                self._marks.append((row.id, self._count))
        last: int | None = None
        while self._marks and self._count - self._marks[0][1] >= KEPT_CHANGES:
            last, _ = self._marks.popleft()
        return last
