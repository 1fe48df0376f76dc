"""Locks, checkpoints and checks a target server's database. Functions block; coroutines run on the event loop."""

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Event

from load.chaos.clients import RetryingClient
from load.chaos.report import DIFFERING, MISSING, STUCK, TOTALS, UNDELIVERED, UNKNOWN, WRONG, Findings
from load.chaos.target import TargetServer
from load.http.connections import Timeouts
from load.orders.comparison import BadJson, decode_json
from load.orders.generated import SentOrders
from load.readback import Backlog, BacklogState, OrderReader
from load.results.result import ReadBackResult

LOCK_TIMEOUT_S, CHECKPOINT_TIMEOUT_S = 10.0, 0.5
COMPLETED = "Completed"
STATUSES = ("Pending", "Processing", COMPLETED, "Failed", "Cancelled")
MICROSECONDS = 1_000_000
ROUNDING_S = 1e-6  # How much a mean in floating point may differ from the exact mean.
READERS = 16
WRONG_BLOCKS = """
SELECT number FROM (
    SELECT sequence >> 11 AS number, min(created_us) AS lowest, max(created_us) AS highest,
        sum(DISTINCT iif(status = 'Completed', 1 << (sequence >> 6 & 31), 0)) AS bits,
        sum(status = 'Processing') AS count,
        sum(DISTINCT iif(status = 'Processing', 1 << (sequence >> 6 & 31), 0)) AS processing_bits
    FROM orders GROUP BY number)
LEFT JOIN blocks ON block = number
WHERE (lowest, highest, bits, count, processing_bits)
    IS NOT (first_us, last_us, completed & bits, processing, processing_chunks & processing_bits)"""
"""Finds blocks of 2,048 orders whose row lacks a time or a bit of an order, or has a wrong count."""


@contextmanager
def open_existing(database: Path, *, mode: str, timeout_s: float = 0.0) -> Iterator[sqlite3.Connection]:
    """Open an existing database as "ro" or "rw", in autocommit mode."""
    uri = f"{database.absolute().as_uri()}?mode={mode}"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=timeout_s)) as connection:
        yield connection


def hold_lock(database: Path, *, length_s: float, ended: Event) -> bool:
    """Hold SQLite's write lock for `length_s`, or until `ended` is set; return False if the lock was not available."""
    with suppress(sqlite3.Error), open_existing(database, mode="rw", timeout_s=LOCK_TIMEOUT_S) as connection:
        connection.execute("BEGIN IMMEDIATE")
        ended.wait(length_s)
        # Closing the connection releases the lock.
        return True
    return False


def checkpoint(database: Path, modes: Sequence[str], *, reader_s: float, ended: Event) -> Counter[str]:
    """Run checkpoints, and count the results: "done", "busy", or the text of an error.

    If `reader_s` is not 0, a reader opens a snapshot before the first checkpoint. It closes the snapshot `reader_s`
    seconds after the last checkpoint.
    """
    results: Counter[str] = Counter()
    try:
        with open_existing(database, mode="rw") as reader:
            if reader_s:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM totals").fetchone()
            with open_existing(database, mode="rw", timeout_s=CHECKPOINT_TIMEOUT_S) as connection:
                for mode in modes:
                    results["busy" if _is_busy(connection, mode) else "done"] += 1
            ended.wait(reader_s)
    except sqlite3.Error as problem:
        results[str(problem)] += 1
    return results


def _is_busy(connection: sqlite3.Connection, mode: str) -> bool:
    try:
        return bool(connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0])
    except sqlite3.OperationalError as problem:
        if problem.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        return True


def copy_database(database: Path, folder: Path) -> Path:
    """Copy a database that a server is using into `folder`, and return the path of the copy. Raises sqlite3.Error."""
    copy = folder / database.name
    with open_existing(database, mode="ro", timeout_s=LOCK_TIMEOUT_S) as source, closing(sqlite3.connect(copy)) as to:
        source.backup(to)
    return copy


def index_pages(database: Path) -> tuple[int, list[int]]:
    """Return the size of a page in bytes, and the numbers of the root pages of the indexes that new orders change."""
    sql = "SELECT rootpage FROM sqlite_master WHERE type = 'index' AND tbl_name = 'orders' AND sql NOT LIKE '%WHERE%'"
    with open_existing(database, mode="rw") as connection:
        [page_bytes] = connection.execute("PRAGMA page_size").fetchone()
        return page_bytes, [page for (page,) in connection.execute(sql)]


def audit_database(
    database: Path, ledger: SentOrders, findings: Findings, *, metrics: object, delivered: set[int] | None
) -> None:
    """Compare the stored orders with `ledger`, with the table `totals`, and with `metrics`, the JSON of GET /metrics.

    `delivered` has the ids of delivered orders. Unless it is None, every stored order must be delivered. Adds findings.
    """
    try:
        with open_existing(database, mode="ro") as connection:
            for (line,) in connection.execute("PRAGMA integrity_check"):
                if line != "ok":
                    findings.add(WRONG, f"integrity_check: {line}")
            counts = _audit_orders(connection, ledger, findings, delivered)
            for text in chain(_compare_totals(connection, counts), _compare_metrics(metrics, counts)):
                findings.add(TOTALS, text)
            for block, *_ in connection.execute(WRONG_BLOCKS):
                findings.add(TOTALS, f"the row of block {block} does not agree with its orders")
    except sqlite3.Error as problem:
        findings.add(WRONG, f"{database.name} can't be read: {problem}")


def _audit_orders(
    connection: sqlite3.Connection, ledger: SentOrders, findings: Findings, delivered: set[int] | None
) -> Counter[str]:
    """Check all orders. Return their counts by status (in lower case), and their total processing time."""
    stored: set[int] = set()
    counts = Counter(dict.fromkeys([*map(str.lower, STATUSES), "processing_us"], 0))
    # NOT INDEXED reads the table itself, because an index can lack some of its rows.
    sql = "SELECT order_id, status, processed_us - created_us FROM orders NOT INDEXED"
    for order_id, status, took_us in connection.execute(sql):
        index = ledger.index_of(order_id)
        if index is None:
            findings.add(UNKNOWN, order_id=order_id)
        elif index in stored:
            findings.add(WRONG, "an order is stored twice", order_id)
        else:
            stored.add(index)
        counts[status.lower()] += 1
        if status != COMPLETED:
            findings.add(STUCK, status, order_id)
            continue
        counts["processing_us"] += took_us or 0
        if delivered is not None and order_id not in delivered:
            findings.add(UNDELIVERED, order_id=order_id)
    missing = (index for index in ledger.acknowledged_indexes() if index not in stored)
    findings.add_orders(MISSING, {ledger.orders.order_id(index): "" for index in missing})
    return counts


def _compare_totals(connection: sqlite3.Connection, counts: Mapping[str, int]) -> Iterator[str]:
    connection.row_factory = sqlite3.Row
    rows = connection.execute("SELECT * FROM totals").fetchall()
    if len(rows) != 1:
        yield f"totals has {len(rows)} rows"
        return
    totals = dict(rows[0])
    for name, count in counts.items():
        if totals.get(name) != count:
            yield f"totals has {name} {totals.get(name)}, counted {count}"


def _compare_metrics(given: object, counts: Mapping[str, int]) -> Iterator[str]:
    metrics = given if isinstance(given, dict) else {}
    expected = {f"{status.lower()}_orders": counts[status.lower()] for status in STATUSES}
    for name, count in (expected | {"total_orders": sum(expected.values())}).items():
        if metrics.get(name) != count:
            yield f"/metrics has {name} {metrics.get(name)}, counted {count}"
    completed = counts[COMPLETED.lower()]
    mean_s = counts["processing_us"] / completed / MICROSECONDS if completed else 0.0
    given_s = float("nan")
    with suppress(TypeError, ValueError):
        given_s = float(metrics.get("avg_processing_time", given_s))
    if not abs(given_s - mean_s) <= ROUNDING_S:
        yield f"/metrics has avg_processing_time {given_s:.6f}, counted {mean_s:.6f}"


async def wait_until_processed(target: TargetServer, *, timeouts: Timeouts) -> bool:
    """Wait until all orders are processed. Return False if progress stops or the metrics can't be read."""
    with closing(Backlog(target.address, timeouts=timeouts, clock_ns=time.monotonic_ns)) as backlog:
        # `wait` also returns when the orders of the first poll are processed, but later orders are left.
        while (state := await backlog.wait(before=0)) is BacklogState.PROCESSED and backlog.left:
            pass
        return state is BacklogState.PROCESSED


async def inspect(target: TargetServer, *, delivered: set[int] | None, timeouts: Timeouts) -> None:
    """Read every acknowledged order back, stop the server, and check its database. Adds findings."""
    findings = target.findings
    orders, indexes = target.ledger.orders, target.ledger.acknowledged_indexes()
    reader = OrderReader(address=target.address, source=orders, timeouts=timeouts, clock_ns=time.monotonic_ns)
    result = await reader.read(indexes, again=False, connections=READERS)
    metrics = None
    with closing(RetryingClient(target)) as client, suppress(TimeoutError, BadJson):
        async with asyncio.timeout(timeouts.answer_s):
            metrics = decode_json((await client.send(target.address.get("/metrics"))).answer.body)
    await target.terminate()
    audit = partial(audit_database, target.database, target.ledger, findings, metrics=metrics, delivered=delivered)
    await asyncio.to_thread(audit)
    add_read_back(findings, result)
    for order_id in delivered or ():
        if target.ledger.index_of(order_id) is None:
            findings.add(WRONG, "a webhook for an order that was never sent", order_id)
    findings.is_inspected = True


def add_read_back(findings: Findings, result: ReadBackResult) -> None:
    """Add the problems of orders that were read back, except those that `audit_database` has already added."""
    findings.acknowledged = result.acknowledged
    findings.add_orders(MISSING, dict.fromkeys(result.lost_ids, ""))
    findings.add_orders(DIFFERING, result.different)
    findings.add_orders(STUCK, result.unprocessed)
    for order_id, reason in result.unread.items():
        findings.add(WRONG, f"an order can't be read: {reason}", order_id)
