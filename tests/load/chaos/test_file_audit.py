"""The look at a shop's file: each thing that can be wrong with it is put there, and must be found."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from load.chaos.file_audit import FileFindings, audit_file
from load.chaos.ledger import Ledger
from models.sqlite.opening import open_database

ORDERS = 5
GOOD_METRICS = {
    "total_orders": ORDERS,
    "avg_processing_time": 0.25,
    "pending_orders": 0,
    "processing_orders": 0,
    "completed_orders": ORDERS,
    "failed_orders": 0,
    "cancelled_orders": 0,
}
INSERT = """
INSERT INTO orders
    (order_id, user_id, item_ids, total_amount, status, attempts, claims, created_us, processed_us)
VALUES (?, 1, '[1]', 5, 'Completed', 1, 1, 1000000, 1250000)"""


@pytest.fixture
def ledger() -> Ledger:
    """Five orders that were acknowledged, and one that was not sent as a whole."""
    ledger = Ledger(seed=1, name="record")
    ledger.note_acknowledged(ledger.take(ORDERS))
    ledger.take(1)
    return ledger


@pytest.fixture
def file(ledger: Ledger, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The server's schema with the five orders, all of them Completed after a quarter of a second."""
    path = tmp_path / "orders.db"
    open_database(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executemany(INSERT, [(ledger.orders.order_id(index),) for index in range(ORDERS)])
        connection.execute("UPDATE totals SET completed = 5, processing_us = 1250000")
        yield connection


Audit = Callable[..., FileFindings]


@pytest.fixture
def audit(file: sqlite3.Connection, ledger: Ledger, tmp_path: Path) -> Audit:
    def run(taken: set[int] | None = None, **metrics: Any) -> FileFindings:
        return audit_file(tmp_path / "orders.db", ledger, metrics=GOOD_METRICS | metrics, taken=taken)

    return run


def test_nothing_is_found_where_nothing_is_wrong(audit: Audit, ledger: Ledger) -> None:
    found = audit({ledger.orders.order_id(index) for index in range(ORDERS)})
    assert found.statuses == {"Completed": ORDERS}
    found.statuses.clear()
    assert found == FileFindings()


def test_an_acknowledged_order_that_is_not_there_is_missing(
    audit: Audit, file: sqlite3.Connection, ledger: Ledger
) -> None:
    order_id = ledger.orders.order_id(2)
    file.execute("DELETE FROM orders WHERE order_id = ?", (order_id,))
    assert audit().missing == [order_id]


@pytest.mark.parametrize("status", ["Pending", "Processing", "Failed", "Cancelled"])
def test_an_order_that_is_not_completed_is_stuck(
    audit: Audit, file: sqlite3.Connection, ledger: Ledger, status: str
) -> None:
    order_id = ledger.orders.order_id(2)
    file.execute("UPDATE orders SET status = ? WHERE order_id = ?", (status, order_id))
    assert audit().stuck == {order_id: status}


@pytest.mark.parametrize("index", [-1, ORDERS, ORDERS + 1])
def test_an_order_that_nobody_sent_as_a_whole_is_a_stranger(
    audit: Audit, file: sqlite3.Connection, ledger: Ledger, index: int
) -> None:
    file.execute(INSERT, (ledger.orders.order_id(index),))
    assert audit().strangers == [ledger.orders.order_id(index)]


def test_an_order_that_the_receiver_never_took_is_undelivered(audit: Audit, ledger: Ledger) -> None:
    [lacking, *others] = [ledger.orders.order_id(index) for index in range(ORDERS)]
    assert audit(set(others)).undelivered == [lacking]


def test_an_order_that_is_there_twice_is_found(audit: Audit, file: sqlite3.Connection, ledger: Ledger) -> None:
    file.execute("DROP INDEX orders_order_id")
    file.execute(INSERT, (ledger.orders.order_id(0),))
    assert audit().faults == [f"order {ledger.orders.order_id(0)} is there twice"]


@pytest.mark.parametrize("name", ["pending", "processing", "completed", "failed", "cancelled", "processing_us"])
def test_totals_that_are_off_by_one_are_found(audit: Audit, file: sqlite3.Connection, name: str) -> None:
    file.execute(f"UPDATE totals SET {name} = {name} + 1")
    counted = {"completed": ORDERS, "processing_us": 1250000}.get(name, 0)
    assert audit().totals == [f"totals say {name} {counted + 1}, counted {counted}"]


@pytest.mark.parametrize("name", [name for name in GOOD_METRICS if name != "avg_processing_time"])
def test_metrics_that_are_off_by_one_are_found(audit: Audit, name: str) -> None:
    count = GOOD_METRICS[name]
    assert audit(**{name: count + 1}).totals == [f"/metrics says {name} {count + 1}, counted {count}"]


@pytest.mark.parametrize("said", [0.250002, None, "soon"])
def test_a_mean_that_is_off_is_found(audit: Audit, said: object) -> None:
    [line] = audit(avg_processing_time=said).totals
    assert line.startswith("/metrics says avg_processing_time ")


def test_totals_of_no_row_are_found(audit: Audit, file: sqlite3.Connection) -> None:
    file.execute("DELETE FROM totals")
    assert audit().totals == ["totals has 0 rows"]


def test_a_file_that_is_not_there_is_a_fault_and_is_not_made(ledger: Ledger, tmp_path: Path) -> None:
    found = audit_file(tmp_path / "orders.db", ledger, metrics=GOOD_METRICS)
    assert found.faults == ["orders.db can't be read: unable to open database file"]
    assert list(tmp_path.iterdir()) == []


def test_a_broken_file_is_a_fault(audit: Audit, file: sqlite3.Connection, tmp_path: Path) -> None:
    file.execute("PRAGMA writable_schema = ON")
    file.execute("UPDATE sqlite_master SET sql = replace(sql, 'due_us', 'no_us') WHERE name = 'orders'")
    file.close()
    assert audit().faults
