"""Reads the feed, and removes its oldest rows. Used on one thread, with the connection of this thread."""

import secrets
from collections.abc import Sequence, Set
from typing import Any, NamedTuple

from models.changes.feed import FeedRead, FeedRow
from models.errors import StorageUnavailableError
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.connection.errors import storage_errors
from models.postgresql.feed import feed_statements
from models.postgresql.feed.feed_statements import MAX_CHANGES, MAX_ROWS
from models.postgresql.feed.length import FeedLength
from models.postgresql.schema.steps import FEED_VERSION
from models.postgresql.transaction import array, one_row
from models.wire import decode_changes, decode_numbers


class PostgresqlFeed:
    """Implements `models.changes.feed.Feed`.

    The ids of rows can be committed out of order, or be missing because a transaction failed. So a read stops at a
    missing id until every transaction has ended that can have got it. Transactions of other programs do not count.
    """

    def __init__(self, database: RetryingPostgresqlDatabase) -> None:
        self._database = database
        self._place = _Place("", 0)
        self._start: _Start | None = None
        self._gap: _Gap | None = None
        self._lost: _Gap | None = None
        self._length = FeedLength()
        self._unneeded: int | None = None

    def read(self) -> FeedRead | None:
        with storage_errors():
            return self._database.retry(self._read)

    def ended(self, order_ids: Sequence[int]) -> list[int]:
        parameters = {"order_ids": array(order_ids)}
        with storage_errors():
            [found] = one_row(self._database.execute_sql(feed_statements.ENDED, parameters))
        return decode_numbers(found)

    def _read(self) -> FeedRead | None:
        # At the beginning, because an error repeats the call.
        if self._unneeded is not None:
            self._execute(feed_statements.TRIM, epoch=self._place.epoch, last=self._unneeded)
            self._unneeded = None
        self._close_gap()
        page = self._read_page()
        if page is None:
            self._execute(feed_statements.START, epoch=secrets.token_hex(8))
            page = self._read_page()
        if page is None or not self._has_started(page):
            return None
        is_restart = page.epoch != self._place.epoch or self._place.last < page.start
        after = page.start if is_restart else self._place.last
        rows, last = self._before_gap(page, after)
        has_more = len(rows) == len(page.rows) and (
            len(rows) == MAX_ROWS or sum(len(row.changes) for row in rows) >= MAX_CHANGES
        )
        self._place = _Place(page.epoch, last)
        if is_restart:
            self._length.restart()
        self._unneeded = self._length.add(rows)
        return FeedRead(page.epoch, after, last, rows, is_restart, has_more)

    def _read_page(self) -> "_Page | None":
        """The next rows. None if the feed has ended or never begun."""
        found = self._execute(feed_statements.READ, epoch=self._place.epoch, after=self._place.last)
        if not found:
            return None
        epoch, start, ends_soon, *_ = found[0]
        if ends_soon:
            self._execute(feed_statements.RENEW, epoch=epoch)
        return _Page(epoch, start, [FeedRow(row[3], decode_changes(row[4])) for row in found if row[3] is not None])

    def _has_started(self, page: "_Page") -> bool:
        """Whether all transactions that run record their changes, because they know that this epoch has begun.

        Raises StorageUnavailableError while there are servers that never record their changes.
        """
        if page.epoch == self._place.epoch:
            return True
        if older := self._execute(feed_statements.SERVERS_WITHOUT_FEED, version=FEED_VERSION):
            raise StorageUnavailableError(
                f"servers of an older version must be stopped first: {', '.join(name for [name] in older)}"
            )
        if self._start is None or self._start.epoch != page.epoch:
            # A transaction locks `nodes` before it finds out whether it must record its changes.
            self._start = _Start(page.epoch, self._writers("nodes"))
            return not self._start.writers
        return self._have_ended(self._start.writers, "nodes")

    def _before_gap(self, page: "_Page", after: int) -> tuple[Sequence[FeedRow], int]:
        """The rows up to an id that a running transaction can have, and the id of the last one."""
        last = after
        for place, row in enumerate(page.rows):
            if row.id != last + 1 and not _covers(self._lost, page, last + 1):
                if not _covers(self._gap, page, last + 1):
                    # Each transaction locks `feed` before it gets an id. All ids up to that of a row that this page has
                    # were given out before, so a transaction that can have one of them holds the lock, or has ended.
                    self._gap = _Gap(page.epoch, page.rows[-1].id, self._writers("feed"))
                return page.rows[:place], last
            last = row.id
        return page.rows, last

    def _close_gap(self) -> None:
        """If the transactions of the gap have ended, those of its ids that the next page does not have are lost."""
        if self._gap and self._have_ended(self._gap.writers, "feed"):
            self._lost, self._gap = self._gap, None

    def _have_ended(self, transactions: Set[str], table: str) -> bool:
        return not transactions or transactions.isdisjoint(self._writers(table))

    def _writers(self, table: str) -> frozenset[str]:
        """The running transactions that change a table."""
        [[found]] = self._execute(feed_statements.WRITERS, table=table)
        return frozenset(found)

    def _execute(self, statement: str, **parameters: object) -> Sequence[tuple[Any, ...]]:
        cursor = self._database.psycopg_connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


class _Place(NamedTuple):
    """The epoch and the id of the last row that was read."""

    epoch: str
    last: int


class _Page(NamedTuple):
    """Rows that were read together. `start` is the id after which the feed has all changes."""

    epoch: str
    start: int
    rows: Sequence[FeedRow]


class _Start(NamedTuple):
    """A new epoch, and the transactions that possibly do not know of it."""

    epoch: str
    writers: frozenset[str]


class _Gap(NamedTuple):
    """Ids below `before` are missing from the feed. The transactions that got them are `writers`, or have ended."""

    epoch: str
    before: int
    writers: frozenset[str]


def _covers(gap: _Gap | None, page: _Page, missing: int) -> bool:
    return gap is not None and gap.epoch == page.epoch and missing < gap.before
