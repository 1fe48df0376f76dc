"""Compares `POST /orders` as a stream with SQLite alone. Runs on the event loop.

First, a server stores and processes a stream of orders, and its statements are recorded. To measure SQLite alone, the
recorded statements that create tables and that store or process orders are executed on a new file, with their
parameters and in their transactions. So the schema and the syncs are equal. The server and SQLite are measured until
all orders are Completed. A measurement until the last response would favor a server that delays the processing.
"""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import count, islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Self

import msgspec

from load.bench.measurement import Measurement, expect
from load.bench.trial import PROCESSED_RATE, Row, Server, Trial, Value
from load.bench.workloads import STATEMENTS, body
from load.http.address import reach
from load.orders.comparison import check_many

ORDERS_A_SECOND = 50_000  # How many orders the stream has for each second of a measurement.
NDJSON = "application/x-ndjson"
POLL_S = 0.01  # Rare, because polls take CPU time from the server.
BLOCKS = "blocks"
THREE_INDEXES = (
    f"DROP TABLE IF EXISTS {BLOCKS}",
    "CREATE INDEX IF NOT EXISTS orders_created ON orders (sequence >> 11, created_us)",
    "CREATE INDEX IF NOT EXISTS orders_completed ON orders (sequence) WHERE status = 'Completed'",
    "CREATE INDEX IF NOT EXISTS orders_processing ON orders (sequence) WHERE status = 'Processing'",
)
"""Statements that replace the table `blocks` with the indexes that lists by time and by status used before this
table."""

Statement = tuple[str, Sequence[Any]]
_decode = msgspec.json.Decoder(tuple[int, str, list[Any]]).decode


class Recording(NamedTuple):
    """The transactions that store and process orders. `earlier` has the earlier statements: they create tables."""

    earlier: Sequence[Statement]
    transactions: Sequence[Sequence[Statement]]

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read the file that `load.bench.recorded_server` wrote while a server stored and processed all orders."""
        lines = [_decode(line) for line in file.read_bytes().splitlines()]
        writers = {number for number, sql, _ in lines if "CREATE TABLE" in sql or "INSERT INTO orders" in sql}
        statements = [(sql, parameters) for number, sql, parameters in lines if number in writers]
        texts = [sql for sql, _ in statements]
        stores = [place for place, sql in enumerate(texts) if "INSERT INTO orders" in sql or "UPDATE orders" in sql]
        begin = max(place for place in range(stores[0]) if texts[place].startswith("BEGIN"))
        ends = [place + 1 for place, sql in enumerate(texts) if sql == "COMMIT" and place > begin]
        # All transactions until the last one that changes orders.
        ends = ends[: 1 + sum(end <= stores[-1] for end in ends)]
        return cls(statements[:begin], [statements[first:end] for first, end in pairwise([begin, *ends])])

    def with_three_indexes(self) -> Self:
        """Return the recording as it would be with the indexes of THREE_INDEXES and without the table of blocks."""
        transactions = [[each for each in transaction if BLOCKS not in each[0]] for transaction in self.transactions]
        return self._replace(earlier=[*self.earlier, *((sql, ()) for sql in THREE_INDEXES)], transactions=transactions)


def replay(trial: Trial, recordings: Sequence[Recording], *, orders: int) -> list[Measurement]:
    """Execute the statements of each recording on a new file, and measure the transactions.

    The recordings take turns after each transaction, so that a slow phase of the machine affects all of them.
    """
    clock_ns, cpu_clock_ns = trial.meter.clock_ns, trial.meter.cpu_clock_ns
    used = [[0, 0] for _ in recordings]
    with TemporaryDirectory(dir=trial.folder) as folder, ExitStack() as stack:
        connections = [
            stack.enter_context(closing(sqlite3.connect(f"{folder}/{number}.db", isolation_level=None)))
            for number in range(len(recordings))
        ]
        for connection, recording in zip(connections, recordings, strict=True):
            _execute(connection, recording.earlier)
        for transactions in zip(*(recording.transactions for recording in recordings), strict=True):
            for connection, transaction, times_ns in zip(connections, transactions, used, strict=True):
                begun_ns, cpu_begun_ns = clock_ns(), cpu_clock_ns()
                _execute(connection, transaction)
                times_ns[0] += clock_ns() - begun_ns
                times_ns[1] += cpu_clock_ns() - cpu_begun_ns
        completed = [connection.execute("SELECT completed FROM totals").fetchone()[0] for connection in connections]
    return [
        Measurement(
            right=count,
            wrong=Counter() if count == orders else Counter({"statements that do not complete all orders": 1}),
            elapsed_s=elapsed_ns / 1e9,
            cpu_share=cpu_ns / elapsed_ns,
        )
        for count, (elapsed_ns, cpu_ns) in zip(completed, used, strict=True)
    ]


def _execute(connection: sqlite3.Connection, statements: Sequence[Statement]) -> None:
    for sql, parameters in statements:
        connection.execute(sql, parameters).fetchall()


async def stream(trial: Trial) -> list[Row]:
    """Compare the server with SQLite alone, and SQLite alone with SQLite that keeps three more indexes."""
    until = "POST /orders as a stream, until all orders are Completed: orders/s"
    ratio = Row(name=f"{until} against raw SQLite with the same statements, schema and syncs", at_least=0.8, aim=0.9)
    raw = Row(name="that raw SQLite against raw SQLite with three more indexes of all orders", at_least=1.3, aim=1.8)
    orders = int(ORDERS_A_SECOND * trial.seconds)
    ratio.wrong.update((await _send(trial, trial.ours, orders)).wrong)
    recording = Recording.read(trial.folder / STATEMENTS)
    recordings = [recording, recording.with_three_indexes()]
    for number in range(1, trial.runs + 1):
        # SQLite alone is measured before and after the server, so that a machine that becomes slower affects both
        # values. This blocks the event loop, on which nothing else runs.
        alone, indexed = replay(trial, recordings, orders=orders)
        with (
            TemporaryDirectory(dir=trial.folder) as folder,
            trial.start_server("--database", f"{folder}/orders.db") as process,
        ):
            ours = await _send(trial, trial.ours._replace(address=await reach(process.url), ids=count(1)), orders)
        for measured, again in zip((alone, indexed), replay(trial, recordings, orders=orders), strict=True):
            measured.add(again)
        for row, first, second in ((ratio, alone, ours), (raw, indexed, alone)):
            row.wrong.update(first.wrong + second.wrong)
        trial.add_run(ratio, number, PROCESSED_RATE, {"raw": alone, "ours": ours}, value=Value.SPEED)
        trial.add_run(raw, number, PROCESSED_RATE, {"three_indexes": indexed, "raw": alone}, value=Value.SPEED)
        trial.print_line(f"        accepted {ours.per_second:,.0f}/s, processed {ours.empty_after_s:.3f} s later")
    return [ratio, raw]


async def _send(trial: Trial, server: Server, orders: int) -> Measurement:
    """Send a stream of orders, and wait until they are processed."""
    address = server.address
    lines = b"\n".join(map(body, islice(server.ids, orders)))
    requests = iter([address.post("/orders", lines, content=NDJSON)])
    check = expect(202, partial(check_many, new=orders))
    measured = await trial.meter.throughput(address, requests, check, clients=1)
    measured.right *= orders
    measured.empty_after_s = await trial.wait_until_processed(address, poll_s=POLL_S)
    return measured
