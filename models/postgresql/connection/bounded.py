"""A connection that does not wait for PostgreSQL for ever. Used on the thread that opened it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg.abc import PQGen

R = TypeVar("R")

ANSWER_S = 3.0
"""How many seconds a connection waits for each answer by default. With the time to connect again, this must be shorter
than the lease of a server."""
_INTERVAL_S = 0.1


class Backend(NamedTuple):
    """The process of PostgreSQL that serves a connection, and when it started, because process ids are reused."""

    pid: int
    started: str


class SyncedCursor(psycopg.Cursor[Any]):
    """A cursor that ends a part of a pipeline with a Sync message when a result is needed, not with a Flush message.

    After a Sync, the transaction is idle for PostgreSQL, which ends it after `idle_in_transaction_session_timeout`.
    After a Flush, PostgreSQL would wait for the next statement for ever if this process is frozen.
    https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING
    """

    def fetchone(self) -> Any:
        connection = self.connection
        if self.pgresult is None and isinstance(connection, BoundedConnection) and connection.open_pipeline:
            connection.open_pipeline.sync()
        return super().fetchone()


class DeferredPipeline(psycopg.Pipeline):
    """A pipeline that sends its statements together, when a Sync message ends this part of the pipeline.

    The pipeline of psycopg sends each statement at once, so that PostgreSQL wakes up for each of them. Overrides
    private methods of psycopg, whose version is fixed: see PSYCOPG in `models/store.py`.
    """

    def __init__(self, connection: "BoundedConnection") -> None:
        super().__init__(connection)
        self._is_part_complete = False

    def _enqueue_sync(self) -> None:
        super()._enqueue_sync()
        self._is_part_complete = True

    def _communicate_gen(self) -> PQGen[None]:
        if self._is_part_complete:
            self._is_part_complete = False
            yield from super()._communicate_gen()

    def _exit_gen(self) -> PQGen[None]:
        # Without this condition, the end of a pipeline would take a round trip even after the last Sync message.
        if self.command_queue or self.result_queue:
            yield from super()._exit_gen()


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that closes itself if PostgreSQL has not answered for `answer_s` seconds.

    A stopped PostgreSQL and some networks leave a connection open, so the time-outs of TCP do not end it. In a
    pipeline, results must be read by `fetchone`. Such a part of a pipeline must be in a transaction.
    """

    answer_s = ANSWER_S
    backend: Backend | None = None
    open_pipeline: psycopg.Pipeline | None = None
    final_sequence = 0
    """See `models/postgresql/final_sequences.py`."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.cursor_factory = SyncedCursor

    @contextmanager
    def pipeline(self) -> Iterator[psycopg.Pipeline]:
        self._pipeline = DeferredPipeline(self)
        with super().pipeline() as self.open_pipeline:
            try:
                yield self.open_pipeline
            finally:
                self.open_pipeline = None

    def wait(self, gen: PQGen[R], interval: float = _INTERVAL_S, timeout: float | None = None) -> R:
        answer_s = self.answer_s if timeout is None else timeout
        until_s = time.monotonic() + answer_s
        try:
            return super().wait(gen, interval, answer_s)
        except psycopg.OperationalError as error:
            if error.sqlstate or self.closed or time.monotonic() < until_s:
                raise
            self.close()
            raise psycopg.OperationalError(f"PostgreSQL has not answered for {answer_s:g} s") from error

    def read_backend(self) -> None:
        """Sets `backend`. A pooler can give each connection another backend."""
        found = self.execute("SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()")
        for pid, started in found:
            self.backend = Backend(pid, started)

    def end_backend(self, backend: Backend) -> None:
        """Ends the transaction of a connection that broke, and waits for this, but not for long.

        If PostgreSQL has not noticed that the connection broke, its transaction would keep its locks.
        https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL
        """
        # Not an error: the role can have lost the right to end its own backends, which end by themselves after a while.
        with suppress(psycopg.errors.InsufficientPrivilege):
            self.execute(
                "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s",
                (round(self.answer_s * 1_000 / 3), backend.pid, backend.started),
            )
