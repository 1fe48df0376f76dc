"""A Peewee database class that retries transactions and opens broken connections again. Runs on the caller's thread.

Each thread that uses the database has its own connection, and must call `connect()` first.
"""

import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import peewee
import psycopg
from psycopg.pq import TransactionStatus

from models.database.address import PostgresqlUrl
from models.postgresql.connection.bounded import ANSWER_S, Backend, BoundedConnection, NoAnswerError
from models.postgresql.connection.errors import is_temporary, original_of
from models.postgresql.connection.pipeline import roll_back
from models.postgresql.connection.session import configure, connection_parameters

R = TypeVar("R")

DEADLINE_S = 10.0
"""How many seconds a call is retried by default."""
PREPARE_AFTER = 2
"""After a connection has executed a statement this many times, it prepares the statement."""

_FIRST_DELAY_S = 0.02
_MAX_DELAY_S = 0.5
_SAME_OUTAGE_S = 3.0
"""A call that begins within this number of seconds after a failure shares the deadline of the call that failed."""
_LONG_TRY_S = 1.0
_PAUSE_S = 1.0
"""If PostgreSQL has not answered for `_LONG_TRY_S` seconds, and the deadline has passed, the calls of the next
`_PAUSE_S` seconds fail at once. Otherwise, each of the calls that have waited would wait again, for its own try. If
PostgreSQL has closed the connection during a call, the next call need not wait, however long that call has taken."""


class RetryingPostgresqlDatabase(peewee.PostgresqlDatabase):
    """A PostgresqlDatabase that retries with exponential backoff and jitter after temporary errors.

    Retries connecting, statements outside `retry`, and the calls of `retry`. Before each try, opens the connection
    again if it broke. A connection also counts as broken if PostgreSQL has not answered for `answer_s` seconds. After a
    thread has retried for `deadline_s` seconds, raises the last error. After that, calls of this thread are not retried
    until a call succeeds. `clock` returns monotonic seconds; `jitter` returns a number from 0 to 1.
    """

    def __init__(
        self,
        url: PostgresqlUrl,
        *,
        deadline_s: float = DEADLINE_S,
        answer_s: float = ANSWER_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._deadline_s = deadline_s
        self._answer_s = answer_s
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._thread_state = _ThreadState()
        # For `close_in_child`, which runs on one thread: Peewee's own references are thread-local.
        self._connections: set[BoundedConnection] = set()
        # Peewee passes a name that begins with this scheme to libpq as a URL.
        super().__init__(
            f"postgresql://{url.url.partition('://')[2]}",
            autoconnect=False,
            prefer_psycopg3=True,
            prepare_threshold=PREPARE_AFTER,
            **connection_parameters(url),
        )

    @property
    def psycopg_connection(self) -> BoundedConnection:
        """The calling thread's connection, in autocommit mode."""
        return cast(BoundedConnection, cast(Any, self).connection())

    def retry(self, call: Callable[[], R], *, answer_s: float | None = None) -> R:
        """Returns the result of `call`, and calls it again after temporary errors. Rolls back if `call` raises.

        `call` must run a whole transaction. Each answer must arrive within `answer_s` seconds; None stands for the
        default of the database. The calling thread must have called `connect`.
        """
        state = self._thread_state
        if state.retrying:
            return call()
        state.retrying = True
        try:
            return self._retry_until_deadline(call, self._answer_s if answer_s is None else answer_s)
        finally:
            state.retrying = False

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        parent: Any = super()
        return self.retry(lambda: parent.execute_sql(sql, params))

    def connect(self, reuse_if_open: bool = False) -> Any:
        self._thread_state.is_used = True
        return self.retry(lambda: None)

    def close(self) -> Any:
        self._thread_state.is_used = False
        return self._close_connection()

    def close_in_child(self) -> None:
        """Closes the sockets of all connections, without a message to PostgreSQL. For a forked child."""
        for connection in self._connections:
            with suppress(OSError, psycopg.Error):
                os.close(connection.fileno())

    def _connect(self) -> BoundedConnection:
        connection = BoundedConnection.connect(self.database, autocommit=True, **cast(Any, self).connect_params)
        try:
            connection.answer_s = self._answer_s
            configure(connection)
            connection.read_backend()
            broken = self._thread_state.broken
            while broken:
                connection.end_backend(broken[-1])
                broken.pop()
        except BaseException:
            connection.close()
            raise
        self._connections.add(connection)
        return connection

    def _retry_until_deadline(self, call: Callable[[], R], answer_s: float) -> R:
        state, began_s = self._thread_state, self._clock()
        delay_s = _FIRST_DELAY_S
        if state.last_error and began_s - state.last_failure_s < _PAUSE_S:
            raise state.last_error.with_traceback(None)
        state.last_error = None
        while True:
            try_began_s, was_open = self._clock(), False
            try:
                self._open_connection(answer_s)
                was_open = True
                result = call()
            except (peewee.PeeweeException, psycopg.Error) as error:
                self._roll_back()
                if not is_temporary(error):
                    raise
                left_s = state.note_failure(began_s, self._clock()) + self._deadline_s - self._clock()
                if left_s <= 0:
                    has_no_answer = not was_open or isinstance(original_of(error), NoAnswerError)
                    if has_no_answer and self._clock() - try_began_s >= _LONG_TRY_S:
                        state.last_error = error
                    raise
                self._sleep(min(delay_s * (0.5 + self._jitter()), left_s))
                delay_s = min(delay_s * 2, _MAX_DELAY_S)
            except BaseException:
                self._roll_back()
                raise
            else:
                state.failing_since_s = None
                return result

    def _open_connection(self, answer_s: float) -> None:
        """Opens the thread's connection if it is not open and the thread uses the database."""
        if not self.is_closed() and self.psycopg_connection.closed:
            self._close_broken_connection()
        if self.is_closed() and self._thread_state.is_used:
            cast(Any, super()).connect()
        if not self.is_closed():
            self.psycopg_connection.answer_s = answer_s

    def _close_broken_connection(self) -> None:
        """Closes the connection. The next connection of this thread will end its transaction."""
        if backend := self.psycopg_connection.backend:
            self._thread_state.broken.append(backend)
        self._close_connection()

    def _close_connection(self) -> Any:
        if not self.is_closed():
            self._connections.discard(self.psycopg_connection)
        return super().close()

    def _roll_back(self) -> None:
        """Ends the transaction that the thread's connection has open. Closes the connection if this fails."""
        if self.is_closed():
            return
        connection = self.psycopg_connection
        if connection.info.transaction_status == TransactionStatus.IDLE:
            return
        try:
            roll_back(connection)
        except psycopg.Error:
            self._close_broken_connection()


class _ThreadState(threading.local):
    """For each thread, when its calls began to fail, in monotonic seconds, and the backends of broken connections.

    `last_error` is the error of a long try. Calls within `_PAUSE_S` after it raise the same error.
    """

    is_used = False
    retrying = False
    failing_since_s: float | None = None
    last_failure_s = 0.0
    last_error: Exception | None = None

    def __init__(self) -> None:
        self.broken: list[Backend] = []

    def note_failure(self, began_s: float, now_s: float) -> float:
        """Records a failure of a call that began at `began_s`. Returns when the first call of this outage began.

        If a call begins within `_SAME_OUTAGE_S` of a failure, it is assumed to fail for the same reason.
        """
        if self.failing_since_s is None or began_s - self.last_failure_s > _SAME_OUTAGE_S:
            self.failing_since_s = began_s
        self.last_failure_s = now_s
        return self.failing_since_s
