"""Reads the feed, and removes its oldest rows. Used on one thread, with the connection of this thread."""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from models.feed import FeedRead, FeedRow
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.connection.errors import storage_errors
from models.postgresql.feed import feed_statements
from models.postgresql.feed.feed_statements import MAX_CHANGES, MAX_ROWS
from models.postgresql.feed.length import FeedLength
from models.postgresql.transaction import array, one_row
from models.wire import decode_changes, decode_numbers

START_S = 2.0
"""After a feed begins, the first read waits for this number of seconds at most. It waits for the transactions that were
running then, because their servers do not record the changes. Transactions of other programs also count."""


class PostgresqlFeed:
    """Implements `models.feed.Feed`. `monotonic` returns seconds.

    The ids of rows can be committed out of order, or be missing because a transaction failed. So a read stops at a
    missing id until every transaction has ended that can have got it.
    """

    def __init__(
        self, database: RetryingPostgresqlDatabase, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._monotonic = monotonic
        self._place = _Place("", 0)
        self._start: _Start | None = None
        self._gap: _Gap | None = None
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
        epoch, start, ends_soon, oldest_xid, *_ = found[0]
        if ends_soon:
            self._execute(feed_statements.RENEW, epoch=epoch)
        rows = [FeedRow(row[4], decode_changes(row[5])) for row in found if row[4] is not None]
        return _Page(epoch, start, int(oldest_xid), rows)

    def _has_started(self, page: "_Page") -> bool:
        """Whether all servers record their changes since this epoch began, as far as this server knows."""
        if page.epoch == self._place.epoch:
            return True
        if self._start is None or self._start.epoch != page.epoch:
            # A transaction that gets its id after this one also knows that its changes must be recorded.
            self._start = _Start(page.epoch, self._new_xid(), self._monotonic())
            return False
        return page.oldest_xid >= self._start.xid or self._monotonic() - self._start.began_s >= START_S

    def _before_gap(self, page: "_Page", after: int) -> tuple[Sequence[FeedRow], int]:
        """The rows up to an id that a running transaction can have, and the id of the last one."""
        last = after
        for place, row in enumerate(page.rows):
            if row.id != last + 1 and not self._is_closed(page, last + 1):
                return page.rows[:place], last
            last = row.id
        return page.rows, last

    def _is_closed(self, page: "_Page", missing: int) -> bool:
        """Whether the transaction that got the id `missing` had ended before this page was read."""
        if self._gap is None or self._gap.id != missing or self._gap.epoch != page.epoch:
            # Each transaction has an id before it gets the id of its row. Higher ids of rows are already committed, so
            # the transaction in question has a lower id than a new one.
            self._gap = _Gap(page.epoch, missing, self._new_xid())
        return page.oldest_xid >= self._gap.xid

    def _new_xid(self) -> int:
        [xid] = one_row(self._database.psycopg_connection.execute(feed_statements.NEW_XACT_ID))
        return int(xid)

    def _execute(self, statement: str, **parameters: object) -> Sequence[tuple[Any, ...]]:
        cursor = self._database.psycopg_connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


class _Place(NamedTuple):
    """The epoch and the id of the last row that was read."""

    epoch: str
    last: int


class _Page(NamedTuple):
    """Rows that were read together. Every transaction with an id below `oldest_xid` had ended before that."""

    epoch: str
    start: int
    oldest_xid: int
    rows: Sequence[FeedRow]


class _Start(NamedTuple):
    """A new epoch: every transaction whose server possibly did not know of it has a lower id than `xid`."""

    epoch: str
    xid: int
    began_s: float


class _Gap(NamedTuple):
    """A missing id of the feed: the transaction that got it has a lower id than `xid`."""

    epoch: str
    id: int
    xid: int
