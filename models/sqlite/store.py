"""The orders on disk. Every method is one transaction over a batch and runs on the caller's thread.

A batch travels as one JSON parameter and comes back as one JSON value: `sqlite3` lets the GIL go and takes it back at
each step of a statement, so that a row a step would wait for the event loop at every row.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar, cast

import peewee

from models.errors import StorageBusyError, StorageUnavailableError
from models.listing import Listing, Page
from models.order import Attempt, NewOrder, Order, Totals
from models.sqlite import statements
from models.sqlite.database import RetryingSqliteDatabase, is_busy
from models.sqlite.listing import list_orders
from models.sqlite.schema import SCHEMA_VERSION
from models.sqlite.transaction import Transaction, find_orders
from models.writes import (
    Cancel,
    Claimed,
    Inserted,
    NewOrders,
    Outcome,
    Retry,
    RetryFailed,
    Turn,
    Write,
    Written,
)

R = TypeVar("R")
T = TypeVar("T")


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except peewee.DatabaseError as error:
        if is_busy(error):
            raise StorageBusyError("the database is locked by another program") from error
        raise StorageUnavailableError(f"the database can't be used: {error}") from error


class OrderStore:
    """Orders and their totals in one database. Errors: StorageBusyError and StorageUnavailableError, all or nothing.

    `clock` returns microseconds since 1970, UTC.
    """

    def __init__(self, database: RetryingSqliteDatabase, *, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock
        self.is_writable = True
        """Whether the last write to disk worked. Set by whoever writes; may be read on any thread."""
        self.pending = 0
        """How many orders are Pending as of the last commit, once `recover` has run; may be read on any thread."""

    def connect(self) -> None:
        """Opens the calling thread's connection, which every other method needs."""
        with _storage_errors():
            self._database.connect()

    def disconnect(self) -> None:
        """Closes the calling thread's connection; the last one to close moves the log into the database."""
        self._database.close()

    def write(self, batch: Sequence[Write]) -> list[Written]:
        """Changes orders, all in one transaction that is synced to disk; one result for each wish, in order.

        They take effect in this order, whatever their places in the batch:

        - Turns record how attempts ended: an outcome of an attempt that is not running any more changes nothing.
        - Cancel, Retry: Moved; WrongStatusError where the order's status forbids it, None where there is none.
          RetryFailed: Retried.
        - New orders are stored, unless their id is taken; the first of two with one id wins, within a batch too.
          Insertion, or OrderConflictError; a list of them for NewOrders.
        - Turns get Claimed: up to `limit` Pending orders that are due, oldest first, as Processing.
        """
        return self._write(lambda transaction: self._apply(transaction, batch))

    def find(self, order_ids: Sequence[int]) -> list[Order | None]:
        """The stored order for each id, None where there is none."""
        with _storage_errors():
            found = find_orders(self._database, order_ids)
        return [found.get(order_id) for order_id in order_ids]

    def list_orders(self, listing: Listing) -> Page:
        """A page of the orders that `listing` wants, newest first."""
        with _storage_errors():
            return list_orders(self._database, listing)

    def recover(self, judge: Callable[[Attempt], Outcome]) -> int:
        """Ends every attempt that is Processing as `judge` says, and returns how many; only for when nothing runs."""

        def end(transaction: Transaction) -> int:
            interrupted = transaction.interrupted()
            transaction.finish([judge(attempt) for attempt in interrupted])
            return len(interrupted)

        count = self._write(end)
        self.pending = self.totals().pending
        return count

    def totals(self) -> Totals:
        """The totals as of the last commit; the time does not depend on how many orders there are."""
        with _storage_errors():
            return Totals(*self._database.execute_sql(statements.TOTALS).fetchone())

    def probe(self) -> None:
        """Writes a page to disk and so raises the storage error that an order would meet now."""
        # An UPDATE that changes nothing would not write: SQLite compares the cells.
        self._write(lambda _: self._database.execute_sql(f"PRAGMA user_version = {SCHEMA_VERSION}"))
        self.is_writable = True

    def _write(self, work: Callable[[Transaction], R]) -> R:
        def run() -> tuple[R, Transaction]:
            transaction = Transaction(self._database, now_us=self._clock())
            result = work(transaction)
            transaction.add_to_totals()
            return result, transaction

        try:
            with _storage_errors():
                result, transaction = self._database.run(run)
        except (StorageBusyError, StorageUnavailableError):
            self.is_writable = False
            raise
        # A batch that holds nothing new may reach no disk, and then says nothing about it.
        self.is_writable = self.is_writable or transaction.inserted > 0
        self.pending += transaction.pending
        return result

    def _apply(self, transaction: Transaction, wishes: Sequence[Write]) -> list[Written]:
        batch = _Batch(wishes)
        turns = batch.among(Turn)
        if outcomes := [outcome for turn in turns for outcome in turn.outcomes]:
            transaction.finish(outcomes)
        if cancels := batch.among(Cancel):
            batch.answer(Cancel, transaction.cancel(cancels))
        if retries := batch.among(Retry):
            batch.answer(Retry, transaction.retry(retries))
        if searches := batch.among(RetryFailed):
            batch.answer(RetryFailed, transaction.retry_failed(searches))
        claimed: Claimed | None = None
        if orders := batch.new_orders():
            insertions, claimed = transaction.insert(orders, turns[0].limit if turns else 0)
            batch.answer_new_orders(insertions)
        claims = []
        for turn in turns:
            claims.append(claimed or (transaction.claim(turn.limit) if turn.limit else Claimed([])))
            claimed = None
        batch.answer(Turn, claims)
        return batch.results


class _Batch:
    """Wishes by their kind, and the results in the places of the wishes."""

    def __init__(self, wishes: Sequence[Write]) -> None:
        self._wishes = wishes
        self._places: defaultdict[type, list[int]] = defaultdict(list)
        for place, wish in enumerate(wishes):
            self._places[type(wish)].append(place)
        self.results: list[Written] = [None] * len(wishes)

    def among(self, kind: type[T]) -> list[T]:
        return cast(list[T], [self._wishes[place] for place in self._places[kind]])

    def answer(self, kind: type, answers: Iterable[Written]) -> None:
        for place, each in zip(self._places[kind], answers, strict=True):
            self.results[place] = each

    def new_orders(self) -> list[NewOrder]:
        """All of them, as they came, whether alone or with others."""
        if NewOrders not in self._places:
            return self.among(NewOrder)
        orders: list[NewOrder] = []
        for wish in self._wishes:
            if isinstance(wish, NewOrder):
                orders.append(wish)
            elif isinstance(wish, NewOrders):
                orders += wish.orders
        return orders

    def answer_new_orders(self, answers: Sequence[Inserted]) -> None:
        if NewOrders not in self._places:
            self.answer(NewOrder, answers)
            return
        first = 0
        for place, wish in enumerate(self._wishes):
            if isinstance(wish, NewOrder):
                self.results[place] = answers[first]
                first += 1
            elif isinstance(wish, NewOrders):
                self.results[place] = list(answers[first : first + len(wish.orders)])
                first += len(wish.orders)
