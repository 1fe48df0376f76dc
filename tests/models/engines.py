"""The interface through which the tests of every kind of store use a database."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import ClassVar, NamedTuple, Protocol

from models.clock import Clock
from models.order import Status, Totals
from models.store import Store


class StoredOrder(NamedTuple):
    """The values of an order that listings use. The id of the order equals its sequence."""

    sequence: int
    user_id: int
    status: Status
    created_us: int
    due_us: int | None = None


class Engine(Protocol):
    """An empty database of one kind, which only the current test uses."""

    has_gaps: ClassVar[bool]
    """Whether a new order that is not stored, for example a replay, can use up a sequence."""
    rejects: ClassVar[bool]
    """Whether `ClaimedOrders.rejected` lists the attempts whose outcomes were not recorded."""
    has_clock: ClassVar[bool]
    """Whether due times are stored as times of the database's clock, which steps of the wall clock do not change."""

    def open(self, clock: Clock, *, max_made_ready: int | None = None) -> Store:
        """The store of a new process, connected on this thread. A store that was opened before is no longer used.

        Each claim begins by making at most `max_made_ready` due retries ready.
        """

    def put(self, orders: Sequence[StoredOrder]) -> None:
        """Replaces all stored orders, without the store."""

    def recount(self) -> Totals:
        """The totals, computed from all stored orders, without `oldest_pending_us`."""

    def last_sequence(self) -> int:
        """The highest sequence that has been used up."""

    def check(self) -> None:
        """Checks what is true of the tables after every commit."""

    def refuse_new_orders(self) -> AbstractContextManager[None]:
        """While the block runs, a transaction that inserts orders fails with an error whose text contains `refused`."""

    def close(self) -> None:
        """Closes all connections."""


def check_first_sequences(engine: Engine, sequences: Sequence[int]) -> None:
    """Checks that the first orders of the database have these sequences, in the order of acceptance."""
    if engine.has_gaps:
        assert list(sequences) == sorted({sequence for sequence in sequences if sequence > 0})
    else:
        assert list(sequences) == list(range(1, len(sequences) + 1))
