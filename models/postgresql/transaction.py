"""The state that the steps of a write transaction share. Runs on the thread that opened the transaction.

The steps are the functions of `insertion.py`, `attempts.py`, `commands.py` and `nodes/takeover.py`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import psycopg
from msgspec import structs

from models.changes.order_changes import OrderChange, changes_in
from models.clock import Clock
from models.errors import OrderArchivedError
from models.order import Order
from models.postgresql import archiving_statements, statements
from models.postgresql.connection.pipeline import Result, StatementPipeline
from models.postgresql.database_time import DatabaseTime
from models.postgresql.feed import feed_statements
from models.transactions.totals_change import TotalsChange
from models.wire import decode_changes, decode_orders, decode_pairs, encode_changes
from models.writes.attempts import AttemptKey
from models.writes.write import AnyWrite

Connection = psycopg.Connection[Any]
R = TypeVar("R")


class Transaction:
    """The state that the steps of a transaction share.

    Many statements share one round trip, see `StatementPipeline`. All steps use the same current time: `now_us` is
    steady time (`models/clock.py`), `wall_us` is wall clock time, and `database_us` is time of the database's clock.
    `node` is the number of this server. The transaction can increase the number of Pending orders by at most
    `max_added`. Any further new order is rejected. Each claim begins by making at most `max_made_ready` due retries
    ready. `floor` is the lowest sequence that can be ready. `is_archiving_announced` is whether an earlier transaction
    has read that orders can be archived.
    """

    def __init__(
        self,
        pipeline: StatementPipeline,
        *,
        clock: Clock,
        database_time: DatabaseTime,
        node: int,
        floor: int,
        max_added: int,
        max_made_ready: int,
        is_archiving_announced: bool = False,
    ) -> None:
        self._pipeline = pipeline
        self.database_time = database_time
        self.now_us = clock()
        self.wall_us = self.now_us + clock.step_us
        self.database_us = database_time.of(self.now_us)
        self.node = node
        self.floor = floor
        self.max_made_ready = max_made_ready
        self._max_added = max_added
        self.is_archiving_announced = is_archiving_announced
        self.is_paused: bool | None = None
        """Whether processing is paused. None if the steps so far have neither read nor changed this."""
        self.change = TotalsChange()
        """The changes of the totals by the steps so far. Each step adds its own changes."""
        self.claimed: list[Order] = []
        """The orders that this transaction has claimed so far."""
        self.inserted = 0
        """How many new orders this transaction has stored so far."""
        self._batches: list[tuple[Sequence[AnyWrite], Sequence[object]]] = []
        self._changed: list[int] = []
        self._recorded_before: set[AttemptKey] = set()
        firsts, steps = zip(*clock.steps_by_sequence(), strict=True)
        self.own_time = {"now_us": self.now_us, "bounds": array(firsts), "steps": array(steps)}
        """The parameters from which statements compute the time to record for each order."""

    @property
    def room(self) -> int:
        """How many more new orders can be stored in this transaction."""
        return max(0, self._max_added - self.change.pending)

    def execute(self, statement: str, **parameters: object) -> Result:
        """Executes the statement when the result of this or of a later statement is fetched."""
        return self._pipeline.execute(statement, parameters)

    def find(self, order_ids: Iterable[int]) -> dict[int, Order]:
        """Maps these ids to the stored orders, with the changes of all steps so far. Omits ids that are not stored."""
        found = find_orders(self._pipeline, order_ids)
        return {order.order_id: self.database_time.with_steady_due_time(order) for order in found}

    def find_fingerprints(self, order_ids: Iterable[int]) -> Callable[[], dict[int, int]]:
        """Returns a function that must be called when the result is needed.

        This function maps the ids of archived and erased orders to their fingerprints. It omits all other ids.
        """
        result = self.execute(archiving_statements.FIND_FINGERPRINTS, order_ids=array(order_ids))
        return lambda: dict(decode_pairs(one_row(result)[0]))

    def with_archived(self, order_ids: Sequence[int], results: Sequence[R]) -> list[R | OrderArchivedError]:
        """The results for these ids, with an OrderArchivedError instead of None if an order was archived."""
        missing = [order_id for order_id, result in zip(order_ids, results, strict=True) if result is None]
        archived = self.find_fingerprints(missing)() if missing else {}
        return [
            OrderArchivedError(order_id) if order_id in archived and result is None else result
            for order_id, result in zip(order_ids, results, strict=True)
        ]

    def note_ready(self, sequences: Iterable[int]) -> None:
        """Must be called for orders that this transaction makes ready, because they can be below the floor."""
        self.floor = min((self.floor, *sequences))

    def note_batch(self, writes: Sequence[AnyWrite], results: Sequence[object]) -> None:
        """Must be called for the writes of a batch, with their results, so that their changes get into the feed."""
        self._batches.append((writes, results))

    def note_changed(self, sequences: Iterable[int]) -> None:
        """Must be called for orders that this transaction changes although no write names them."""
        self._changed += sequences

    def note_recorded_before(self, attempts: Iterable[AttemptKey]) -> None:
        """Must be called for attempts whose outcomes an earlier transaction has recorded, and added to the feed."""
        self._recorded_before.update(attempts)

    def read_changes(self) -> list[OrderChange]:
        """The changes of statuses that the steps so far have made."""
        changes: list[OrderChange] = []
        if self._changed:
            [found] = one_row(self.execute(feed_statements.CHANGES_OF, sequences=array(self._changed)))
            changes += decode_changes(found)
        for writes, results in self._batches:
            changes += changes_in(writes, results, recorded_before=self._recorded_before)
        return changes

    def is_due(self, database_us: int | None) -> bool:
        """Whether a time of the database's clock is now or in the past; false for None."""
        return database_us is not None and database_us <= self.database_us

    def next_claim_us(self, database_us: int | None) -> int | None:
        """The value of `ClaimedOrders.next_due_us` if the next retry is due at this time of the database's clock."""
        return None if database_us is None else self.database_time.steady(database_us)

    def add_to_feed(self, changes: Sequence[OrderChange]) -> None:
        """The last step: adds changes to the feed."""
        if changes:
            self.execute(feed_statements.ADD, count=len(changes), changes=encode_changes(changes))

    def write_totals(self) -> None:
        """Adds the changes of all steps to the totals. Only `add_to_feed` can follow."""
        if self.change != TotalsChange():
            self.execute(statements.ADD_TO_TOTALS, node=self.node, **structs.asdict(self.change))


def find_orders(connection: Connection | StatementPipeline, order_ids: Iterable[int]) -> list[Order]:
    """The stored orders with these ids. Their due times are times of the database's clock."""
    [found] = one_row(connection.execute(statements.FIND, {"order_ids": array(order_ids)}))
    return decode_orders(found)


def array(numbers: Iterable[int]) -> str:
    """The numbers as a PostgreSQL array: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-INPUT"""
    return f"{{{','.join(map(str, numbers))}}}"


def one_row(cursor: psycopg.Cursor[Any] | Result) -> Sequence[Any]:
    """The only row of the result."""
    return cast(Sequence[Any], cursor.fetchone())
