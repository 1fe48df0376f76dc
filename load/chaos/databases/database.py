"""Defines what a run needs of a target's database. Methods block; coroutines run on the event loop."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from threading import Event
from typing import Any, ClassVar

LOCK_TIMEOUT_S, CHECKPOINT_TIMEOUT_S = 10.0, 0.5


class Database(ABC):
    """A database of one kind. `addresses` has the value of the flag --database for each server.

    `begin_lock` begins a transaction that makes all writers wait, `begin_snapshot` one for a reader. `orders` reads the
    id, status, processing time (µs) and number of claims of each order, `totals` the row with the totals. `error` is
    the base class of the errors of connections.
    """

    begin_lock: ClassVar[str]
    begin_snapshot: ClassVar[str]
    orders: ClassVar[str]
    totals: ClassVar[str]
    error: ClassVar[type[Exception]]

    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses = addresses

    @abstractmethod
    async def open(self) -> None:
        """Start what the database needs before a server uses it. Raises CommandError."""

    @abstractmethod
    def close(self) -> None:
        """End what `open` has started; can be called twice."""

    @abstractmethod
    def connect(self, *, is_read_only: bool = False, timeout_s: float = 0.0) -> AbstractContextManager[Any]:
        """Connect to the existing database in autocommit mode. Statements wait up to `timeout_s` for locks."""

    @abstractmethod
    def is_busy(self, connection: Any, statement: str) -> bool:
        """Execute a checkpoint or another statement of maintenance. Return whether it could not be completed."""

    @abstractmethod
    def damage(self, connection: Any) -> Iterator[tuple[str, str]]:
        """Check the files and tables. Yield the row of the findings and a text for each problem."""

    def hold_lock(self, *, length_s: float, ended: Event) -> bool:
        """Lock writers out for `length_s`, or until `ended` is set; return False if the lock was not available."""
        with suppress(self.error), self.connect(timeout_s=LOCK_TIMEOUT_S) as connection:
            connection.execute(self.begin_lock)
            ended.wait(length_s)
            # Closing the connection releases the lock.
            return True
        return False

    def checkpoint(self, statements: Sequence[str], *, reader_s: float, ended: Event) -> Counter[str]:
        """Run checkpoints, and count the results: "done", "busy", or the text of an error.

        If `reader_s` is not 0, a reader opens a snapshot before the first checkpoint. It closes the snapshot `reader_s`
        seconds after the last checkpoint.
        """
        results: Counter[str] = Counter()
        try:
            with self.connect() as reader:
                if reader_s:
                    reader.execute(self.begin_snapshot)
                    reader.execute("SELECT count(*) FROM totals").fetchone()
                with self.connect(timeout_s=CHECKPOINT_TIMEOUT_S) as connection:
                    for statement in statements:
                        results["busy" if self.is_busy(connection, statement) else "done"] += 1
                ended.wait(reader_s)
        except self.error as problem:
            results[str(problem).partition("\n")[0]] += 1
        return results
