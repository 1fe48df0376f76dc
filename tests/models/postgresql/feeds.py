"""Reads the feed of a server in tests.

A read has no result while a feed begins, and stops at the id of a transaction that has not ended.
"""

from collections.abc import Sequence

from models.changes.feed import FeedRead
from models.changes.order_changes import OrderChange
from models.order import Status
from tests.models.shorthand_store import ShorthandStore
from tests.process import wait_until


def next_part(server: ShorthandStore) -> FeedRead:
    """The next part of the server's feed, which begins if nobody has read it."""
    parts: list[FeedRead] = []

    def has_read() -> bool:
        assert server.feed
        if part := server.feed.read():
            parts.append(part)
        return bool(parts)

    wait_until(has_read)
    return parts[0]


def changes_of(*parts: FeedRead) -> list[OrderChange]:
    return [change for part in parts for row in part.rows for change in row.changes]


def statuses(changes: Sequence[OrderChange]) -> list[tuple[int, Status]]:
    return [(change.order_id, change.status) for change in changes]


def read_changes(server: ShorthandStore, count: int) -> list[OrderChange]:
    """Waits until the server's feed has this number of changes, and returns them. Fails if there are more changes."""
    changes: list[OrderChange] = []

    def are_enough() -> bool:
        changes.extend(changes_of(next_part(server)))
        return len(changes) >= count

    wait_until(are_enough)
    assert len(changes) == count
    return changes


def read_statuses(server: ShorthandStore, count: int) -> list[tuple[int, Status]]:
    """Like `read_changes`, without the other fields."""
    return statuses(read_changes(server, count))


def has_no_changes(server: ShorthandStore) -> bool:
    """Whether the next part of the server's feed is empty."""
    return next_part(server).rows == []
