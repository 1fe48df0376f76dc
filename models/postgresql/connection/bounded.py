"""A connection that does not wait for PostgreSQL for ever. Used on the thread that opened it."""

import time
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg.abc import PQGen

R = TypeVar("R")

ANSWER_S = 3.0
"""How many seconds a connection waits for each answer by default. With the time to connect again, this must be shorter
than the lease of a server."""
_INTERVAL_S = 0.1


class NoAnswerError(psycopg.OperationalError):
    """PostgreSQL has not answered in time, so the connection was closed."""


class Backend(NamedTuple):
    """The process of PostgreSQL that serves a connection, and when it started, because process ids are reused."""

    pid: int
    started: str


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that closes itself if PostgreSQL has not answered for `answer_s` seconds.

    A stopped PostgreSQL and some networks leave a connection open, so the time-outs of TCP do not end it.
    """

    answer_s = ANSWER_S
    backend: Backend | None = None
    final_sequence = 0
    """See `models/postgresql/final_sequences.py`."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.prepared: set[bytes] = set()
        """The names of the statements that a `StatementPipeline` has prepared."""

    def wait(self, gen: PQGen[R], interval: float = _INTERVAL_S, timeout: float | None = None) -> R:
        answer_s = self.answer_s if timeout is None else timeout
        until_s = time.monotonic() + answer_s
        try:
            return super().wait(gen, interval, answer_s)
        except psycopg.OperationalError as error:
            if error.sqlstate or self.closed or time.monotonic() < until_s:
                raise
            self.close()
            raise NoAnswerError(f"PostgreSQL has not answered for {answer_s:g} s") from error

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
