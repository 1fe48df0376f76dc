"""What this program does with a target server's database: locks, checkpoints, the final audit. All of it blocks."""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Event

from load.chaos.report import MISSING, STUCK, TOTALS, UNDELIVERED, UNKNOWN, WRONG, Findings
from load.orders.sent_orders import SentOrders

LOCK_TIMEOUT_S, CHECKPOINT_TIMEOUT_S = 10.0, 0.5
COMPLETED = "Completed"
STATUSES = ("Pending", "Processing", COMPLETED, "Failed", "Cancelled")
MICROSECONDS = 1_000_000
ROUNDING_S = 1e-6
"""How much a mean in floating point may differ from the exact mean."""


@contextmanager
def _connect(database: Path, *, mode: str, timeout_s: float = 0.0) -> Iterator[sqlite3.Connection]:
    """Open an existing database as "ro" or "rw", in autocommit mode."""
    uri = f"{database.absolute().as_uri()}?mode={mode}"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=timeout_s)) as connection:
        yield connection


def hold_lock(database: Path, *, length_s: float, ended: Event) -> bool:
    """Hold SQLite's write lock for `length_s`, or until `ended` is set; return False if it could not be taken."""
    with suppress(sqlite3.Error), _connect(database, mode="rw", timeout_s=LOCK_TIMEOUT_S) as connection:
        connection.execute("BEGIN IMMEDIATE")
        ended.wait(length_s)
        # Closing the connection releases the lock.
        return True
    return False


def checkpoint(database: Path, modes: Sequence[str], *, reader_s: float, ended: Event) -> Counter[str]:
    """Run a checkpoint of each mode, and count the results: "done", "busy", or an error.

    If `reader_s` is not 0, a reader keeps a snapshot open meanwhile, and for `reader_s` afterwards.
    """
    results: Counter[str] = Counter()
    try:
        with _connect(database, mode="rw") as reader:
            if reader_s:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM totals").fetchone()
            with _connect(database, mode="rw", timeout_s=CHECKPOINT_TIMEOUT_S) as connection:
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


def last_due_us(database: Path) -> int:
    """Return when the last retry is due, in microseconds since 1970; 0 if no order waits for a retry."""
    sql = "SELECT max(due_us) FROM orders WHERE status = 'Pending' AND due_us IS NOT NULL"
    with suppress(sqlite3.Error), _connect(database, mode="ro", timeout_s=LOCK_TIMEOUT_S) as connection:
        return connection.execute(sql).fetchone()[0] or 0
    return 0


def audit_database(
    database: Path, ledger: SentOrders, findings: Findings, *, metrics: object, delivered: set[int] | None
) -> None:
    """Check all orders, and totals and the last GET /metrics against a recount; add what is wrong to `findings`.

    `delivered` has the ids that the webhook receiver took; None if there is none.
    """
    try:
        with _connect(database, mode="ro") as connection:
            for (line,) in connection.execute("PRAGMA integrity_check"):
                if line != "ok":
                    findings.add(WRONG, f"integrity_check: {line}")
            counts = _audit_orders(connection, ledger, findings, delivered)
            for text in (*_compare_totals(connection, counts), *_compare_metrics(metrics, counts)):
                findings.add(TOTALS, text)
    except sqlite3.Error as problem:
        findings.add(WRONG, f"{database.name} can't be read: {problem}")


def _audit_orders(
    connection: sqlite3.Connection, ledger: SentOrders, findings: Findings, delivered: set[int] | None
) -> Counter[str]:
    """Check the orders; return how many have each status, and the `processing_us` of the completed ones."""
    stored: set[int] = set()
    counts = Counter(dict.fromkeys([*map(str.lower, STATUSES), "processing_us"], 0))
    # The index is bypassed: it may lack rows that the table has.
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
    cursor = connection.execute("SELECT * FROM totals")
    rows = cursor.fetchall()
    if len(rows) != 1:
        yield f"totals has {len(rows)} rows"
        return
    totals = dict(zip((column[0] for column in cursor.description), rows[0], strict=True))
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
