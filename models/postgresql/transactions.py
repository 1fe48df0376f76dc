"""Runs the write transactions of a store, on the thread that writes."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, Generic, TypeVar

import peewee
import psycopg

from models.clock import Clock
from models.errors import CommitUnknownError, StorageBusyError, StorageError
from models.listing import HIGHEST
from models.order import Order, Status
from models.postgresql import statements
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.connection.errors import StillRunningError, storage_errors
from models.postgresql.connection.pipeline import StatementPipeline, roll_back
from models.postgresql.database_time import DatabaseTime
from models.postgresql.nodes import node_statements
from models.postgresql.nodes.lease import Lease
from models.postgresql.nodes.takeover import leave
from models.postgresql.transaction import Connection, Transaction, one_row
from models.writes.attempts import Outcome

R = TypeVar("R")

MAX_MADE_READY = 1_000
"""How many due retries one claim makes ready by default: a limit on the duration of a commit."""

_clock_log = logging.getLogger("orders.clock")
_log = logging.getLogger("orders.storage")


class Transactions:
    """Runs write transactions on one thread. Each transaction renews the lease of this server, and fails if the lease
    was lost.

    Also records each step of the wall clock, which means that somebody has set the clock: see `models/clock.py`.
    """

    def __init__(
        self,
        database: RetryingPostgresqlDatabase,
        *,
        clock: Clock,
        database_time: DatabaseTime,
        lease: Lease,
        max_made_ready: int,
        read_database_us: Callable[[], int] | None = None,
    ) -> None:
        self.database = database
        self.lease = lease
        self._clock = clock
        self._database_time = database_time
        self._max_made_ready = max_made_ready
        self._read_database_us = read_database_us
        self._noted_step_us = 0
        self.floor = 0
        """The lowest sequence that can be ready. Can be read on any thread."""
        self.lost_claims: list[Outcome] = []
        """Make the orders Pending again that a commit with an unknown result has possibly claimed."""
        self.pending = 0
        """How many orders were Pending after the latest transaction or renewal."""
        self.is_paused = False
        """Whether processing was paused after the latest transaction or renewal."""
        self.inserted = 0
        """How many new orders the transactions have stored."""
        self.is_archiving_announced = False
        """Whether orders can have been archived, as far as the latest transaction with new orders knew."""
        self.are_claims_lost = False
        """Whether another server has already taken over the orders that the latest transaction claimed."""

    def run(self, work: Callable[[Transaction], R], *, max_pending: int | None = None) -> R:
        """Runs `work` in one transaction, and adds its changes to the totals. Raises a StorageError.

        A new order is not stored if it would make more than `max_pending` orders Pending. None means no limit. Calls
        `work` again if the transaction must be repeated.
        """
        commit: _Commit[R] = _Commit()
        try:
            with storage_errors():
                self.database.retry(lambda: self._run_once(work, max_pending, commit))
        except StorageError as error:
            if isinstance(error, StorageBusyError) and self.lease.is_registered:
                self._forget_lease_if_locked()
            if not commit.unknown_xid:
                raise
            self.lost_claims += [Outcome(each.sequence, each.claims, Status.PENDING) for each in commit.claimed]
            raise CommitUnknownError(f"the result of a commit is not known: {error}", code=error.code) from error
        return commit.result

    def renew(self) -> None:
        """Renews the lease of this server. Raises a StorageError.

        Also finds out whether another server has paused or resumed processing.
        """
        with storage_errors():
            renewed = self.database.retry(self._renew_once) if self.lease.is_registered else None
        if renewed:
            self.lease.note_renewal()
            self.pending, self.is_paused = renewed
        else:
            self.run(lambda _: None)

    def leave(self) -> None:
        """Gives up the lease of this server, if it has one. Raises a StorageError."""
        if not self.lease.is_registered:
            return
        with storage_errors():
            self.database.retry(lambda: leave(self.database.psycopg_connection, self.lease.node))
        self.lease.forget()

    def _run_once(self, work: Callable[[Transaction], R], max_pending: int | None, commit: "_Commit[R]") -> None:
        connection = self.database.psycopg_connection
        if commit.unknown_xid:
            if _was_committed(connection, commit):
                self._note(commit)
                return
            commit.unknown_xid = None
        self._record_step(connection)
        if not self.lease.is_registered:
            self._register(connection)
        try:
            self._commit(work, max_pending, commit)
        except _LeaseLostError:
            _log.warning("another server has taken over the orders of this one, because its lease had expired")
            roll_back(connection)
            self.lease.forget()
            self.floor = 0
            self._run_once(work, max_pending, commit)
        except psycopg.Error as error:
            if error.diag.severity_nonlocalized == "ERROR":
                # PostgreSQL has rolled back. With the severity FATAL, it ends the connection, and can have committed
                # before: https://www.postgresql.org/docs/current/protocol-error-fields.html
                commit.unknown_xid = None
            raise
        else:
            self._note(commit)

    def _commit(self, work: Callable[[Transaction], R], max_pending: int | None, commit: "_Commit[R]") -> None:
        """Runs `work` in one transaction. Raises _LeaseLostError if another server has taken its orders over."""
        with StatementPipeline(self.database.psycopg_connection) as pipeline:
            transaction = Transaction(
                pipeline,
                clock=self._clock,
                database_time=self._database_time,
                node=self.lease.node,
                floor=self.floor,
                max_added=HIGHEST if max_pending is None else max_pending - self.pending,
                max_made_ready=self._max_made_ready,
                is_archiving_announced=self.is_archiving_announced,
            )
            pipeline.execute("BEGIN")
            beat = transaction.execute(node_statements.BEAT, node=transaction.node)
            commit.result = work(transaction)
            renewed = beat.fetchone()
            if renewed is None:
                raise _LeaseLostError
            commit.transaction = transaction
            xid, commit.beat, commit.pending_before, commit.was_paused, is_feed_read = renewed
            changes = transaction.read_changes() if is_feed_read else []
            # All results are known, so if the answer to COMMIT does not arrive, only one question is left.
            commit.unknown_xid = xid
            transaction.write_totals()
            transaction.add_to_feed(changes)
            pipeline.execute("COMMIT")
            pipeline.sync()
        commit.unknown_xid = None

    def _note(self, commit: "_Commit[R]") -> None:
        """Remembers what a committed transaction has changed."""
        transaction = commit.transaction
        self.lease.note_renewal()
        self.floor = transaction.floor
        self.pending = commit.pending_before + transaction.change.pending
        self.is_paused = commit.was_paused if transaction.is_paused is None else transaction.is_paused
        self.inserted += transaction.inserted
        self.is_archiving_announced = transaction.is_archiving_announced
        self.are_claims_lost = commit.is_taken_over
        change_s = (self._clock.step_us - self._noted_step_us) / 1_000_000
        if change_s:
            self._noted_step_us = self._clock.step_us
            where = "forward" if change_s > 0 else "back"
            _clock_log.warning(
                "the wall clock was set %s by %.1f s: retries are still made when due", where, abs(change_s)
            )

    def _forget_lease_if_locked(self) -> None:
        """Forgets the number of this server if another transaction locks its row. The server then gets a new number.

        The row is locked, for example, by a transaction of a broken connection that PostgreSQL can't end. After the end
        of this transaction, servers take over the orders of the old number.
        """
        with suppress(psycopg.Error, peewee.PeeweeException):
            parameters = {"node": self.lease.node}
            if not self.database.psycopg_connection.execute(node_statements.LOCK_OWN, parameters).fetchone():
                self.lease.forget()

    def _register(self, connection: Connection) -> None:
        def read_us() -> int:
            [database_us] = one_row(connection.execute(statements.DATABASE_US))
            return int(database_us)

        if not self._database_time.is_measured:
            self._database_time.measure(self._read_database_us or read_us)
        self.lease.register(connection)

    def _renew_once(self) -> tuple[int, bool] | None:
        """The number of Pending orders, and whether processing is paused. None if the lease was lost."""
        with StatementPipeline(self.database.psycopg_connection) as pipeline:
            pipeline.execute("BEGIN")
            pipeline.execute(node_statements.RENEW_LATER)
            beat = pipeline.execute(node_statements.BEAT, {"node": self.lease.node})
            pipeline.execute("COMMIT")
            pipeline.sync()
            renewed: tuple[Any, ...] | None = beat.fetchone()
        return (renewed[2], renewed[3]) if renewed else None

    def _record_step(self, connection: Connection) -> None:
        """Records a step of the wall clock, with the last order that was stored before the step."""
        step_us = self._clock.read_step()
        if step_us == self._clock.step_us:
            return
        [last_sequence] = one_row(connection.execute(statements.LAST_SEQUENCE))
        self._clock.record_step(step_us, last_sequence=last_sequence)


class _LeaseLostError(Exception):
    """Another server has taken over the orders of this server, and removed its row from `nodes`."""


class _Commit(Generic[R]):
    """A transaction that is being committed. `unknown_xid` is the transaction's id while its result is not known.

    `beat` is the time that the transaction writes to this server's row in `nodes`. `is_taken_over` is whether the
    transaction was committed, but another server has taken over the orders of this one before this was known.
    """

    result: R
    transaction: Transaction
    beat: Decimal
    pending_before = 0
    was_paused = False
    unknown_xid: str | None = None
    is_taken_over = False

    @property
    def claimed(self) -> Sequence[Order]:
        """The orders that the transaction claimed."""
        return self.transaction.claimed


def _was_committed(connection: Connection, commit: "_Commit[R]") -> bool:
    """Whether a transaction was committed whose connection broke before PostgreSQL answered.

    Raises StillRunningError if PostgreSQL has not ended the transaction yet.
    https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT

    The status "committed" alone proves nothing: a crash can lose a transaction, and PostgreSQL then gives its id to
    another transaction. So the time that the transaction has written to the row of this server must be there, too, or
    in the row of `lost_nodes` to which another server has copied it. A server of a version before schema version 6
    copies nothing: then the transaction is repeated.
    """
    try:
        [status] = one_row(connection.execute(node_statements.XACT_STATUS, {"xid": commit.unknown_xid}))
    except psycopg.errors.InvalidParameterValue:
        return False  # the id is in the future: a standby has become the primary and never got the transaction
    if status == "in progress":
        raise StillRunningError("PostgreSQL has not ended the transaction of a broken connection yet")
    if status != "committed":
        return False
    parameters = {"beat": commit.beat, "node": commit.transaction.node}
    is_last, commit.is_taken_over = one_row(connection.execute(node_statements.IS_LAST_BEAT, parameters))
    if not is_last and not commit.is_taken_over:
        return False
    # The commit possibly did not wait for a synchronous standby. The commit of this statement waits, and so covers all
    # earlier commits.
    connection.execute(node_statements.WRITE_TO_DISK)
    return True
