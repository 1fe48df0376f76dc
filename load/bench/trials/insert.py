"""Compares the statement with which the server stores a batch in PostgreSQL with COPY. Blocks the event loop.

`load.bench.recorded_server` has recorded the statement and its parameters.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from load.bench.measurement import Measurement
from load.bench.trial import RATE, Row, Trial, Value
from load.bench.workloads import STATEMENTS, post_orders

BATCH = 2_000
WARM_UP_BATCHES = 5  # PostgreSQL keeps the plan of a statement after the fifth execution.
TABLES = ("orders", "work")
KEYS = ("sequence", "order_id")
SHIFT = 1 << 40  # Added to the keys of rows, so that the same rows can be stored again.

_decode = msgspec.json.Decoder(tuple[int, str, dict[str, Any] | list[Any]]).decode


class Insert(NamedTuple):
    """The statement that stores a batch, its parameters, and the settings of the connection."""

    settings: Sequence[str]
    sql: str
    parameters: Mapping[str, Any]

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read the file that `load.bench.recorded_server` wrote while a server stored orders."""
        statements = [(sql, parameters) for _, sql, parameters in map(_decode, file.read_bytes().splitlines())]
        settings = [sql for sql, _ in statements if sql.lstrip().startswith("SET ") and "LOCAL" not in sql]
        # The first statements only test whether the server can store orders.
        [*_, (sql, parameters)] = (each for each in statements if "INSERT INTO orders" in each[0])
        return cls(settings, sql, dict(parameters))

    def for_orders(self, ids: Sequence[int]) -> Mapping[str, Any]:
        """Return the parameters for orders with these ids and the values of the recorded order."""
        [[_, *values], *_] = msgspec.json.decode(self.parameters["orders"])
        orders = msgspec.json.encode([[order_id, *values] for order_id in ids]).decode()
        return {**self.parameters, "orders": orders}


class CopyTrial:
    """Stores the same batches with the statement and with COPY. `connection` is in autocommit mode."""

    def __init__(self, connection: Any, insert: Insert, *, clock_ns: Callable[[], int]) -> None:
        self._connection = connection
        self._insert = insert
        self._clock_ns = clock_ns
        for setting in insert.settings:
            connection.execute(setting)
        self._columns = {
            table: [column.name for column in connection.execute(f"TABLE {table} LIMIT 0").description]
            for table in TABLES
        }

    def store(self, ids: Sequence[int]) -> tuple[float, float]:
        """Store these orders with the statement, and their rows again with COPY. Return both durations in seconds."""
        parameters = self._insert.for_orders(ids)
        inserting = partial(self._connection.execute, self._insert.sql, parameters, prepare=True)
        insert_s = self._transaction_s(inserting)
        rows = {table: self._rows(table, ids) for table in TABLES}
        return insert_s, self._transaction_s(partial(self._copy, rows))

    def _transaction_s(self, work: Callable[[], object]) -> float:
        begun_ns = self._clock_ns()
        with self._connection.transaction():
            work()
        return (self._clock_ns() - begun_ns) / 1e9

    def _rows(self, table: str, ids: Sequence[int]) -> bytes:
        columns = ", ".join(f"{name} + {SHIFT}" if name in KEYS else name for name in self._columns[table])
        stored = f"(SELECT sequence FROM orders WHERE order_id BETWEEN {ids[0]} AND {ids[-1]})"  # noqa: S608 - numbers
        rows = f"SELECT {columns} FROM {table} WHERE sequence IN {stored}"  # noqa: S608 - names of columns
        with self._connection.cursor() as cursor, cursor.copy(f"COPY ({rows}) TO STDOUT") as copy:
            return b"".join(copy)

    def _copy(self, rows: Mapping[str, bytes]) -> None:
        with self._connection.cursor() as cursor:
            for table, data in rows.items():
                with cursor.copy(f"COPY {table} ({', '.join(self._columns[table])}) FROM STDIN") as copy:
                    copy.write(data)


async def insert_against_copy(trial: Trial) -> list[Row]:
    """Compare the server's statement for 2,000 orders with COPY of the same rows into the same tables."""
    import psycopg  # Imported only here, because it is not needed for SQLite.

    name = f"the server's INSERT of {BATCH:,} orders, with COMMIT, against COPY into the same tables"
    row = Row(name=name, at_least=0.5, aim=0.7)
    row.wrong.update((await post_orders(trial, trial.ours)).wrong)
    await trial.wait_until_processed(trial.ours.address)
    insert = Insert.read(trial.folder / STATEMENTS)
    with closing(psycopg.connect(trial.database, autocommit=True)) as connection:
        measuring = CopyTrial(connection, insert, clock_ns=trial.meter.clock_ns)
        for _ in range(WARM_UP_BATCHES):
            measuring.store([*islice(trial.ours.ids, BATCH)])
        for number in range(1, trial.runs + 1):
            measured = {"copy": Measurement(), "insert": Measurement()}
            while measured["insert"].elapsed_s < trial.seconds:
                insert_s, copy_s = measuring.store([*islice(trial.ours.ids, BATCH)])
                measured["insert"].add(Measurement(right=BATCH, elapsed_s=insert_s))
                measured["copy"].add(Measurement(right=BATCH, elapsed_s=copy_s))
            trial.add_run(row, number, RATE, measured, value=Value.SPEED)
    return [row]
