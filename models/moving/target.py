"""The PostgreSQL database to which orders are moved. Used on the main thread."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar, cast

import psycopg

from models.database.address import PostgresqlUrl
from models.errors import MoveError, StorageError
from models.moving import target_statements
from models.moving.batch import COLUMNS, Batch, Recount
from models.moving.source import Summary
from models.moving.source_statements import SUM_FINGERPRINTS
from models.order import Status
from models.postgresql import statements
from models.postgresql.connection.database import DEADLINE_S, RetryingPostgresqlDatabase
from models.postgresql.connection.errors import storage_errors
from models.postgresql.connection.session import check_server
from models.postgresql.schema.migration import change_schema, comment, lock_schema, version_of
from models.postgresql.schema.steps import MOVING, SCHEMA_VERSION

R = TypeVar("R")

Connection = psycopg.Connection[Any]

ANSWER_S = 60.0
"""How many seconds PostgreSQL has for each answer while a batch is copied or read."""
LONG_ANSWER_S = 3_600.0
"""How many seconds PostgreSQL has for an answer that needs all rows."""


class MoveState(NamedTuple):
    """The row of the table `move`."""

    id: str
    file: str
    state: int | None
    node: int
    ahead_us: int
    last_sequence: int
    copied: int
    is_finished: bool


class Target:
    """The database at `url`. Each method runs one transaction, and repeats it for `deadline_s` seconds if it fails.

    The methods raise MoveError if PostgreSQL reports an error or can't be reached.
    """

    def __init__(self, url: PostgresqlUrl, *, deadline_s: float = DEADLINE_S) -> None:
        self.name = str(url)
        self._database = RetryingPostgresqlDatabase(url, deadline_s=deadline_s, answer_s=ANSWER_S)

    def open(self) -> None:
        """Connects, and checks the settings of the server."""

        def check() -> None:
            check_server(self._database.psycopg_connection, self.name)

        with _move_errors(self.name):
            self._database.connect()
        self._run(check)

    def close(self) -> None:
        """Closes the connection. Can be called at any time."""
        self._database.close()

    def database_us(self) -> int:
        """The time of the database's clock."""
        return cast(int, self._run(lambda: self._value(statements.DATABASE_US)))

    def state(self) -> MoveState | None:
        """The move that fills or has filled the database; None if the database is empty.

        Raises MoveError or DatabaseRefusedError in all other cases.
        """

        def read(connection: Connection) -> MoveState | None:
            lock_schema(connection)
            if not version_of(connection, self.name):
                return None
            if comment(connection) == MOVING:
                change_schema(connection, self.name)  # an older version of this program has begun the move
            state = self._read_state(connection)
            if state is None:
                self._check_unused()
            return state

        return self._in_transaction(read)

    def begin(self, move: MoveState) -> MoveState:
        """Creates the tables and begins this move in the empty database. Returns the move with its `node`.

        Raises MoveError or DatabaseRefusedError if the database is not empty.
        """

        def create(connection: Connection) -> MoveState:
            lock_schema(connection)
            change_schema(connection, self.name)
            if state := self._read_state(connection):
                if state.id != move.id:
                    raise self._other_command()
                return state  # the answer to an earlier COMMIT was lost
            self._check_unused()
            connection.execute(target_statements.CREATE_MOVE)
            return self._begin(connection, move)

        return self._in_transaction(create)

    def begin_again(self, move: MoveState) -> MoveState:
        """Removes all rows of the unfinished move that fills the database, and begins this move."""

        def replace(connection: Connection) -> MoveState:
            lock_schema(connection)
            if comment(connection) != MOVING:
                raise MoveError(f"{self.name} is not being filled by a move any more")
            change_schema(connection, self.name)
            connection.execute(target_statements.DROP_ROWS)
            return self._begin(connection, move)

        return self._in_transaction(replace)

    def copy(self, move: MoveState, read: Callable[[int], Batch | None]) -> Batch | None:
        """Copies the batch that `read` returns for the last copied sequence. Returns None if no batch is left."""

        def copy(connection: Connection) -> Batch | None:
            connection.execute(target_statements.WAIT_FOR_FILE)
            batch = read(self._lock_progress(connection, move))
            if batch is None:
                return None
            for table, text in batch.texts():
                if text:
                    statement = target_statements.COPY_FROM.format(table=table, columns=COLUMNS[table])
                    with connection.cursor().copy(statement.encode()) as copy:
                        copy.write(text)
            bounds = {"after": batch.after, "last": batch.last, "id": move.id, "orders": len(batch.orders)}
            connection.execute(target_statements.ADD_BLOCKS, bounds)
            connection.execute(target_statements.SET_PROGRESS, bounds)
            return batch

        return self._in_transaction(copy)

    def copy_fingerprints(
        self, fingerprints: Callable[[], Iterable[tuple[int, int]]], archives: Iterable[tuple[int, int]]
    ) -> None:
        """Replaces the fingerprints of archived and erased orders, and the table `archives`."""

        def copy(connection: Connection) -> None:
            connection.execute(target_statements.WAIT_FOR_FILE)
            connection.execute(target_statements.REMOVE_FINGERPRINTS)
            for table, columns, rows in (
                ("fingerprints", "order_id, fingerprint", fingerprints()),
                ("archives", "id, member", archives),
            ):
                statement = target_statements.COPY_FROM.format(table=table, columns=columns)
                with connection.cursor().copy(statement.encode()) as copy:
                    for row in rows:
                        copy.write_row(row)

        self._in_transaction(copy, answer_s=LONG_ANSWER_S)

    def sum_of_fingerprints(self) -> tuple[int, ...]:
        """See `Source.sum_of_fingerprints`."""

        def read(connection: Connection) -> tuple[int, ...]:
            connection.execute(target_statements.USE_WHOLE_TABLES)
            return tuple(map(int, _row(connection.execute(SUM_FINGERPRINTS.encode()))))

        return self._in_transaction(read, answer_s=LONG_ANSWER_S)

    def analyze(self) -> None:
        """Updates PostgreSQL's statistics of the tables."""
        self._run(lambda: self._database.psycopg_connection.execute(target_statements.ANALYZE), answer_s=LONG_ANSWER_S)

    def recount(self) -> Recount:
        """Counts the rows of the tables. Raises MoveError if they contradict each other, or if a server has started."""

        def count(connection: Connection) -> Recount:
            connection.execute(target_statements.USE_WHOLE_TABLES)
            if self._value(target_statements.COUNT_SERVERS):
                raise MoveError(f"a server was started on {self.name} during the move: begin with an empty database")
            if wrong := self._value(target_statements.COUNT_WRONG_BLOCKS):
                raise MoveError(f"{self.name}: {wrong} rows of the table blocks are wrong")
            *counts, total_amount, attempts, orders = _row(connection.execute(target_statements.COUNT))
            if sum(counts) != orders:
                raise MoveError(f"{self.name}: {orders:,} orders, but {sum(counts):,} of them have a status")
            return Recount(dict(zip(Status, counts, strict=True)), int(total_amount), attempts)

        return self._in_transaction(count, answer_s=LONG_ANSWER_S)

    def text(self, table: str, *, after: int, last: int) -> bytes:
        """The rows of the orders with sequences above `after` and up to `last`, in the form of `Batch.texts`."""
        columns = COLUMNS[table]
        statement = target_statements.COPY_TO.format(
            table=table, columns=columns, first_two=", ".join(columns.split(", ")[:2]), after=after, last=last
        )

        def read() -> bytes:
            with self._database.psycopg_connection.cursor().copy(statement.encode()) as copy:
                return b"".join(copy)

        return self._run(read)

    def finish(self, move: MoveState, *, recount: Recount, summary: Summary, measurements: str) -> None:
        """Sets the totals and all other values that are not in the rows of an order, and lets servers start.

        `measurements` are those of `Source.measurements`.
        """

        def finish(connection: Connection) -> None:
            lock_schema(connection)
            self._lock_progress(connection, move)
            state = self._read_state(connection)
            if state and state.is_finished:
                return  # the answer to an earlier COMMIT was lost
            counts = {status.value.lower(): count for status, count in recount.counts.items()}
            archived = summary.archived._asdict()
            for name in ("completed", "cancelled"):
                counts[name] += archived[name]
            archived = {f"archived_{name}": value for name, value in archived.items()}
            totals = {**counts, **archived, "processing_us": summary.processing_us}
            connection.execute(target_statements.FINISH_TOTALS, totals)
            connection.execute(target_statements.FINISH_META, {"paused": summary.is_paused})
            connection.execute(statements.SAVE_MEASUREMENTS, {"measurements": measurements})
            if summary.last_sequence > 0:
                connection.execute(target_statements.FINISH_SEQUENCES, {"last": summary.last_sequence})
            if recount.counts[Status.PROCESSING]:
                connection.execute(target_statements.ADD_NODE, {"schema": SCHEMA_VERSION})
            connection.execute(target_statements.FINISH)

        self._in_transaction(finish)

    def _check_unused(self) -> None:
        if self._value(target_statements.IS_USED):
            raise MoveError(
                f"{self.name} contains the orders of a shop, or a server uses it: the database must be empty"
            )

    def _begin(self, connection: Connection, move: MoveState) -> MoveState:
        connection.execute(target_statements.BEGIN_MOVE, move._asdict())
        return cast(MoveState, self._read_state(connection))

    def _read_state(self, connection: Connection) -> MoveState | None:
        if not self._value(target_statements.HAS_MOVE):
            return None
        return MoveState(*_row(connection.execute(target_statements.READ_MOVE)))

    def _lock_progress(self, connection: Connection, move: MoveState) -> int:
        """The sequence of the last copied order. Raises MoveError if another move fills the database now."""
        found = connection.execute(target_statements.LOCK_PROGRESS, {"id": move.id}).fetchone()
        if found is None:
            raise self._other_command()
        return int(found[0])

    def _other_command(self) -> MoveError:
        return MoveError(f"{self.name}: another command has begun to fill the database")

    def _value(self, query: str) -> Any:
        return _row(self._database.psycopg_connection.execute(query.encode()))[0]

    def _in_transaction(self, work: Callable[[Connection], R], *, answer_s: float = ANSWER_S) -> R:
        def run() -> R:
            connection = self._database.psycopg_connection
            connection.execute("BEGIN")
            result = work(connection)
            connection.execute("COMMIT")
            return result

        return self._run(run, answer_s=answer_s)

    def _run(self, call: Callable[[], R], *, answer_s: float = ANSWER_S) -> R:
        with _move_errors(self.name):
            return self._database.retry(call, answer_s=answer_s)


@contextmanager
def _move_errors(name: str) -> Iterator[None]:
    try:
        with storage_errors():
            yield
    except StorageError as error:
        raise MoveError(f"{name}: {error} ({error.code}): run the same command again to go on") from error


def _row(cursor: psycopg.Cursor[Any]) -> tuple[Any, ...]:
    """The only row of a result."""
    return cast(tuple[Any, ...], cursor.fetchone())
