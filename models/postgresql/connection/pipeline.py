"""Sends statements together, and waits once for all their results. Runs on the thread that opened the connection."""

import re
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from itertools import count
from typing import Any, NamedTuple, Self

import psycopg
from psycopg.abc import PQGen
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.waiting import Ready, Wait

from models.postgresql.connection.bounded import BoundedConnection


class Result:
    """The result of a statement in a pipeline."""

    def __init__(self, pipeline: "StatementPipeline") -> None:
        self._pipeline = pipeline
        self.received: PGresult | None = None

    def fetchone(self) -> Any:
        """The first row, or None. Sends all statements so far, and waits for their results, if this was not yet done.

        Raises a psycopg.Error if one of these statements failed.
        """
        if self.received is None:
            self._pipeline.sync()
        return self._pipeline.first_row(self.received)


class StatementPipeline:
    """A context in which a connection sends statements together. They must be in a transaction.

    Uses libpq's pipeline mode: https://www.postgresql.org/docs/current/libpq-pipeline-mode.html. The pipelines of
    psycopg send each statement at once, so PostgreSQL wakes up for each of them, and take this thread several times as
    long. A connection prepares each statement once. Parameters are sent as text, and PostgreSQL infers their types.

    Statements end with a Sync message, not with a Flush message. After a Sync, the transaction is idle for PostgreSQL,
    which ends it after `idle_in_transaction_session_timeout`. After a Flush, PostgreSQL would wait for the next
    statement for ever if this process is frozen.
    """

    def __init__(self, connection: BoundedConnection) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._prepared = connection.prepared
        self._transformer = Transformer(connection)
        self._sent: deque[Result | bytes] = deque()
        """What has no result yet: statements, and names of statements that are being prepared."""

    def __enter__(self) -> Self:
        self._pgconn.enter_pipeline_mode()
        return self

    def __exit__(self, *error: object) -> None:
        if self._sent and self._is_open():
            with suppress(psycopg.Error):
                self.sync()
        if self._is_open():
            self._pgconn.exit_pipeline_mode()

    def execute(self, statement: str, parameters: Mapping[str, object] | None = None) -> Result:
        """Executes a statement with the next `sync`. Its parameters are written as `%(name)s`."""
        numbered = _numbered(statement)
        if numbered.name not in self._prepared:
            self._pgconn.send_prepare(numbered.name, numbered.statement)
            self._sent.append(numbered.name)
            self._prepared.add(numbered.name)
        values = [_text(parameters[name]) for name in numbered.parameters] if parameters else None
        self._pgconn.send_query_prepared(numbered.name, values)
        result = Result(self)
        self._sent.append(result)
        return result

    def sync(self) -> None:
        """Waits for the results of all statements so far. Raises the psycopg.Error of the first that failed."""
        self._connection.wait(self._exchange())

    def first_row(self, result: PGresult | None) -> Any:
        """The first row of what libpq has received, as a tuple of Python values. None if there is no row."""
        if result is None or not result.ntuples:
            return None
        self._transformer.set_pgresult(result)
        return self._transformer.load_row(0, tuple)

    def _exchange(self) -> PQGen[None]:
        self._pgconn.pipeline_sync()
        while self._pgconn.flush():
            if (yield Wait.RW) & Ready.R:
                self._pgconn.consume_input()
        error: psycopg.Error | None = None
        try:
            while (result := (yield from self._next_result())).status != ExecStatus.PIPELINE_SYNC:
                failure = self._receive(result)
                error = error or failure
        except psycopg.OperationalError:
            # The connection broke. If a statement has failed before, its error says more.
            if error is None:
                raise
        if error:
            raise error

    def _next_result(self) -> PQGen[PGresult]:
        while True:
            while self._pgconn.is_busy():
                yield Wait.R
                self._pgconn.consume_input()
            if result := self._pgconn.get_result():
                return result
            # Between the results of two statements, libpq returns None.
            if not self._is_open():
                raise psycopg.OperationalError("the connection to PostgreSQL is lost")

    def _receive(self, result: PGresult) -> psycopg.Error | None:
        """Stores the next result. Returns an error if the statement failed."""
        expected = self._sent.popleft()
        # PIPELINE_ABORTED: an earlier statement has failed.
        if result.status in (ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED):
            if isinstance(expected, bytes):
                self._prepared.discard(expected)
            return error_from_result(result) if result.status == ExecStatus.FATAL_ERROR else None
        if isinstance(expected, Result):
            expected.received = result
        return None

    def _is_open(self) -> bool:
        return self._pgconn.status == ConnStatus.OK


def roll_back(connection: BoundedConnection) -> None:
    """Ends the transaction. Raises a psycopg.Error.

    After a ROLLBACK by `connection.execute`, psycopg would delete all prepared statements of the connection.
    """
    with StatementPipeline(connection) as pipeline:
        pipeline.execute("ROLLBACK")
        pipeline.sync()


class _Numbered(NamedTuple):
    """A statement with `$1` in place of its first parameter, and so on. `name` is its name when it is prepared."""

    name: bytes
    statement: bytes
    parameters: list[str]


_numbers = count(1)


@cache
def _numbered(statement: str) -> _Numbered:
    parameters: list[str] = []

    def number(found: re.Match[str]) -> str:
        if found[1] not in parameters:
            parameters.append(found[1])
        return f"${parameters.index(found[1]) + 1}"

    numbered = re.sub(r"%\((\w+)\)s", number, statement)
    return _Numbered(b"orders_%d" % next(_numbers), numbered.encode(), parameters)


def _text(value: object) -> bytes | None:
    """A parameter in PostgreSQL's text format."""
    return None if value is None else str(value).encode()
