"""The changes that all servers on one database make, in the same order on every server.

Values are immutable, and usable on any thread.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from models.changes.order_changes import OrderChange

KEPT_CHANGES = 50_000
"""At least this number of the newest changes stays in the feed, for clients that reconnect."""


class FeedRow(NamedTuple):
    """The changes of one transaction. The ids of the rows increase. An order's changes are in the order of the ids."""

    id: int
    changes: Sequence[OrderChange]


class FeedRead(NamedTuple):
    """A part of the feed. The parts of successive reads follow each other without a gap, except after a restart.

    `epoch` (hexadecimal digits) distinguishes the ids from the ids of an earlier feed: after a crash of the database,
    the feed is empty, and the same ids can come again. `is_restart` means that changes before this part are missing.
    `is_restart` is true for the first part. `after` is the id of the last row before this part, and `last` the id of
    the last row of this part. `has_more` means that the feed probably has further rows.
    """

    epoch: str
    after: int
    last: int
    rows: Sequence[FeedRow]
    is_restart: bool
    has_more: bool


class Feed(Protocol):
    """The changes of all servers on one database. Servers record their changes only while some server reads them."""

    def read(self) -> FeedRead | None:
        """The next part of the feed. Must be called at least once a second while the feed is needed.

        The result is None as long as servers are possibly not yet recording their changes. If no call comes for longer,
        the next part still follows without a gap, or it is a restart. Blocks the thread of its caller, which must be
        connected to the store. Raises a StorageError.
        """

    def ended(self, order_ids: Sequence[int]) -> list[int]:
        """The ids of those orders that are Completed, Failed or Cancelled. Blocks, and raises errors, like `read`.

        Other servers can have ended them. Takes less time than reading the orders.
        """
