"""Tests that the audit of a database finds each kind of error. Each test puts one error into the database."""

import gzip
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from load.chaos.databases.sqlite import SqliteDatabase
from load.chaos.inspection.audit import audit_database
from load.chaos.report import (
    CLAIM_SENT_TWICE,
    DIFFERING,
    MISSING,
    REPEATED,
    STUCK,
    TOTALS,
    UNDELIVERED,
    UNKNOWN,
    WRONG,
    Findings,
)
from load.chaos.target import orders_for
from load.orders.generated import SentOrders
from models.sqlite.files.opening import open_database

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
TIMES = {"created_time": "2025-03-01 12:00:00", "processed_time": "2025-03-01 12:00:00", "error": None}
INSERT = """
INSERT INTO orders
    (order_id, user_id, item_ids, total_amount, status, attempts, claims, created_us, processed_us)
VALUES (?, 1, '[1]', 5, 'Completed', 1, 1, 1000000, 1250000)"""


@pytest.fixture
def ledger() -> SentOrders:
    """Return a record of sent orders: five were acknowledged, and one was not sent completely."""
    ledger = SentOrders(orders_for(seed=1, name="record"))
    ledger.note_acknowledged(ledger.take(ORDERS))
    ledger.take(1)
    return ledger


@pytest.fixture
def file(ledger: SentOrders, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Create a database with the server's schema and five orders, each Completed after a quarter of a second."""
    path = tmp_path / "orders.db"
    open_database(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executemany(INSERT, [(ledger.orders.order_id(index),) for index in range(ORDERS)])
        connection.execute("UPDATE totals SET completed = 5, processing_us = 1250000")
        connection.execute("INSERT INTO blocks VALUES (0, 1000000, 1000000, 1, 0, 0)")
        yield connection


Audit = Callable[..., dict[str, list[tuple[str, int]]]]


@pytest.fixture
def audit(file: sqlite3.Connection, ledger: SentOrders, tmp_path: Path) -> Audit:
    """Return a function that runs the audit, and returns the problems by kind."""

    def run(delivered: dict[int, int] | None = None, **metrics: Any) -> dict[str, list[tuple[str, int]]]:
        return problems_of(tmp_path / "orders.db", ledger, GOOD_METRICS | metrics, delivered)

    return run


def problems_of(
    path: Path,
    ledger: SentOrders,
    metrics: dict[str, Any],
    delivered: dict[int, int] | None = None,
    *,
    answered: Mapping[int, int] = MappingProxyType({}),
) -> dict[str, list[tuple[str, int]]]:
    findings = Findings(target="record")
    audit_database(SqliteDatabase(path), ledger, findings, metrics=metrics, delivered=delivered, answered=answered)
    return {row: problems for row, problems in findings.problems.items() if problems}


def test_a_correct_database_has_no_problems(audit: Audit, ledger: SentOrders) -> None:
    assert audit({ledger.orders.order_id(index): 1 for index in range(ORDERS)}) == {}


def test_an_order_that_was_delivered_more_often_than_claimed_is_found(
    audit: Audit, file: sqlite3.Connection, ledger: SentOrders
) -> None:
    first, second, *others = [ledger.orders.order_id(index) for index in range(ORDERS)]
    file.execute("UPDATE orders SET claims = 2 WHERE order_id = ?", (first,))
    delivered = dict.fromkeys(others, 1) | {first: 2, second: 2}
    assert audit(delivered) == {REPEATED: [("delivered 2 times, claimed 1 times", second)]}


def test_an_order_whose_webhooks_got_more_responses_than_it_was_claimed_is_found(
    ledger: SentOrders, file: sqlite3.Connection, tmp_path: Path
) -> None:
    first, second, *_ = [ledger.orders.order_id(index) for index in range(ORDERS)]
    file.execute("UPDATE orders SET claims = 3 WHERE order_id = ?", (first,))
    problems = problems_of(tmp_path / "orders.db", ledger, GOOD_METRICS, answered={first: 3, second: 2})
    assert problems == {CLAIM_SENT_TWICE: [("sent 2 times, claimed 1 times", second)]}


def test_an_acknowledged_order_without_a_row_is_missing(
    audit: Audit, file: sqlite3.Connection, ledger: SentOrders
) -> None:
    order_id = ledger.orders.order_id(2)
    file.execute("DELETE FROM orders WHERE order_id = ?", (order_id,))
    assert audit()[MISSING] == [("", order_id)]


@pytest.mark.parametrize("status", ["Pending", "Processing", "Failed", "Cancelled"])
def test_an_order_that_is_not_completed_is_stuck(
    audit: Audit, file: sqlite3.Connection, ledger: SentOrders, status: str
) -> None:
    order_id = ledger.orders.order_id(2)
    file.execute("UPDATE orders SET status = ? WHERE order_id = ?", (status, order_id))
    assert audit()[STUCK] == [(status, order_id)]


@pytest.mark.parametrize("index", [-1, ORDERS, ORDERS + 1])
def test_an_order_that_was_not_sent_whole_is_unknown(
    audit: Audit, file: sqlite3.Connection, ledger: SentOrders, index: int
) -> None:
    file.execute(INSERT, (ledger.orders.order_id(index),))
    assert audit()[UNKNOWN] == [("", ledger.orders.order_id(index))]


def test_an_order_that_the_receiver_never_took_is_undelivered(audit: Audit, ledger: SentOrders) -> None:
    [lacking, *others] = [ledger.orders.order_id(index) for index in range(ORDERS)]
    assert audit(dict.fromkeys(others, 1)) == {UNDELIVERED: [("", lacking)]}


def test_an_order_that_is_stored_twice_is_found(audit: Audit, file: sqlite3.Connection, ledger: SentOrders) -> None:
    file.execute("DROP INDEX orders_order_id")
    file.execute(INSERT, (ledger.orders.order_id(0),))
    assert audit()[WRONG] == [("an order is stored twice", ledger.orders.order_id(0))]


@pytest.mark.parametrize("name", ["pending", "processing", "completed", "failed", "cancelled", "processing_us"])
def test_totals_that_are_off_by_one_are_found(audit: Audit, file: sqlite3.Connection, name: str) -> None:
    file.execute(f"UPDATE totals SET {name} = {name} + 1")
    counted = {"completed": ORDERS, "processing_us": 1250000}.get(name, 0)
    assert audit() == {TOTALS: [(f"totals has {name} {counted + 1}, counted {counted}", 0)]}


@pytest.mark.parametrize("name", [name for name in GOOD_METRICS if name != "avg_processing_time"])
def test_metrics_that_are_off_by_one_are_found(audit: Audit, name: str) -> None:
    count = GOOD_METRICS[name]
    assert audit(**{name: count + 1}) == {TOTALS: [(f"/metrics has {name} {count + 1}, counted {count}", 0)]}


@pytest.mark.parametrize("mean", [0.250002, None, "soon"])
def test_a_wrong_mean_is_found(audit: Audit, mean: object) -> None:
    [(text, _)] = audit(avg_processing_time=mean)[TOTALS]
    assert text.startswith("/metrics has avg_processing_time ")


def test_totals_without_a_row_are_found(audit: Audit, file: sqlite3.Connection) -> None:
    file.execute("DELETE FROM totals")
    assert audit() == {TOTALS: [("totals has 0 rows", 0)]}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE blocks SET first_us = 1000001",
        "UPDATE blocks SET last_us = 999999",
        "UPDATE blocks SET completed = 2",
        "UPDATE blocks SET processing = 1",
        "DELETE FROM blocks",
    ],
)
def test_a_block_that_does_not_agree_with_its_orders_is_found(
    audit: Audit, file: sqlite3.Connection, change: str
) -> None:
    file.execute(change)
    assert audit() == {TOTALS: [("the row of block 0 does not agree with its orders", 0)]}


def test_a_missing_database_is_wrong_and_is_not_created(ledger: SentOrders, tmp_path: Path) -> None:
    problems = problems_of(tmp_path / "orders.db", ledger, GOOD_METRICS)
    assert problems == {WRONG: [("the database can't be read: unable to open database file", 0)]}
    assert list(tmp_path.iterdir()) == []


def test_a_broken_database_is_wrong(audit: Audit, file: sqlite3.Connection, tmp_path: Path) -> None:
    file.execute("PRAGMA writable_schema = ON")
    file.execute("UPDATE sqlite_master SET sql = replace(sql, 'due_us', 'no_us') WHERE name = 'orders'")
    file.close()
    assert audit()[WRONG]


class Archived:
    """The first two orders of the ledger have left the database."""

    def __init__(self, file: sqlite3.Connection, ledger: SentOrders, folder: Path) -> None:
        self.file, self.ledger, self.folder = file, ledger, folder
        self.ids = [ledger.orders.order_id(index) for index in range(2)]
        self.lines: list[dict[str, Any]] = [
            {**ledger.orders.order(index), "status": "Completed", "processing_time": 0.25, **TIMES}
            for index in range(2)
        ]
        for order_id in self.ids:
            file.execute("DELETE FROM orders WHERE order_id = ?", (order_id,))
            file.execute("INSERT INTO fingerprints VALUES (?, 1)", (order_id,))
        file.execute("UPDATE totals SET archived_completed = 2, archived_processing_us = 500000")

    def problems(self, *, gone: set[int] | None = None) -> dict[str, list[tuple[str, int]]]:
        with gzip.open(self.folder / "orders-2025-03-01.ndjson.gz", "wt") as file:
            file.writelines(json.dumps(line, default=float) + "\n" for line in self.lines)
        findings = Findings(target="record")
        audit_database(
            SqliteDatabase(self.folder / "orders.db"),
            self.ledger,
            findings,
            metrics=GOOD_METRICS,
            delivered=None,
            archives=[self.folder],
            gone=gone or set(),
        )
        assert findings.archived == len({line["order_id"] for line in self.lines})
        return {row: problems for row, problems in findings.problems.items() if problems}


@pytest.fixture
def archived(file: sqlite3.Connection, ledger: SentOrders, tmp_path: Path) -> Archived:
    return Archived(file, ledger, tmp_path)


def test_archived_orders_have_no_problems(archived: Archived) -> None:
    assert archived.problems(gone={*archived.ids}) == {}


def test_an_archived_order_that_differs_is_found(archived: Archived) -> None:
    archived.lines[0]["user_id"] += 1
    [(text, order_id)] = archived.problems()[DIFFERING]
    assert (text.partition(":")[0], order_id) == ("in the archive", archived.ids[0])


def test_an_order_that_is_archived_twice_is_found(archived: Archived) -> None:
    archived.lines.append(archived.lines[0])
    assert archived.problems()[WRONG] == [("an order is archived twice, or still stored", archived.ids[0])]


def test_an_order_that_is_archived_and_stored_is_found(archived: Archived) -> None:
    archived.file.execute(INSERT, (archived.ids[1],))
    assert archived.problems()[WRONG] == [("an order is archived twice, or still stored", archived.ids[1])]


def test_an_order_that_is_missing_in_the_archive_is_found(archived: Archived) -> None:
    del archived.lines[1]
    found = archived.problems(gone={archived.ids[1]})
    assert found[MISSING] == [("", archived.ids[1])]
    assert found[WRONG] == [
        ("an order with a fingerprint is in no archive", archived.ids[1]),
        ("a server responded with 410, but the order is in no archive", archived.ids[1]),
    ]


def test_an_archived_order_without_a_fingerprint_is_found(archived: Archived) -> None:
    archived.file.execute("DELETE FROM fingerprints WHERE order_id = ?", (archived.ids[0],))
    assert archived.problems()[WRONG] == [("an order in an archive has no fingerprint", archived.ids[0])]


def test_an_unknown_order_in_the_archive_is_found(archived: Archived) -> None:
    archived.lines[0]["order_id"] = 1
    assert archived.problems()[UNKNOWN] == [("", 1)]
