"""Owns what is looked at in a shop's file once its server has ended: what is there, and its sums; any thread."""

import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from load.chaos.ledger import Ledger
from load.chaos.outsider import connected

COMPLETED = "Completed"
STATUSES = ("Pending", "Processing", COMPLETED, "Failed", "Cancelled")
MICROSECONDS = 1_000_000
ROUNDED_S = 1e-6
"""What a mean in floating point may be beside the exact one."""


@dataclass(kw_only=True)
class FileFindings:
    """What is wrong with a file, order ids by finding; `statuses` counts the orders in it."""

    statuses: Counter[str] = field(default_factory=Counter)
    missing: list[int] = field(default_factory=list)
    stuck: dict[int, str] = field(default_factory=dict)
    strangers: list[int] = field(default_factory=list)
    undelivered: list[int] = field(default_factory=list)
    totals: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def audit_file(
    database: Path, ledger: Ledger, *, metrics: Mapping[str, Any], taken: set[int] | None = None
) -> FileFindings:
    """Look at every order in the file, and count anew what its totals and what GET /metrics said last.

    `taken` has what the webhook's receiver took; None where there is none.
    """
    findings = FileFindings()
    try:
        with connected(database, mode="ro") as connection:
            _audit(connection, ledger, metrics, taken, findings)
    except sqlite3.Error as problem:
        findings.faults.append(f"{database.name} can't be read: {problem}")
    return findings


def _audit(
    connection: sqlite3.Connection,
    ledger: Ledger,
    metrics: Mapping[str, Any],
    taken: set[int] | None,
    findings: FileFindings,
) -> None:
    lines = [line for (line,) in connection.execute("PRAGMA integrity_check")]
    findings.faults += [f"integrity_check: {line}" for line in lines if line != "ok"]
    stored: set[int] = set()
    processing_us = 0
    # Past the index, which may lack what the table has.
    rows = "SELECT order_id, status, processed_us - created_us FROM orders NOT INDEXED"
    for order_id, status, taken_us in connection.execute(rows):
        index = ledger.index_of(order_id)
        if index is None:
            findings.strangers.append(order_id)
        elif index in stored:
            findings.faults.append(f"order {order_id} is there twice")
        else:
            stored.add(index)
        findings.statuses[status] += 1
        if status != COMPLETED:
            findings.stuck[order_id] = status
            continue
        processing_us += taken_us or 0
        if taken is not None and order_id not in taken:
            findings.undelivered.append(order_id)
    missing = (index for index in ledger.acknowledged_indexes() if index not in stored)
    findings.missing = [ledger.orders.order_id(index) for index in missing]
    counted = {status.lower(): findings.statuses[status] for status in STATUSES} | {"processing_us": processing_us}
    findings.totals = _compare_totals(connection, counted) + _compare_metrics(metrics, counted)


def _compare_totals(connection: sqlite3.Connection, counted: Mapping[str, int]) -> list[str]:
    cursor = connection.execute("SELECT * FROM totals")
    names = [column[0] for column in cursor.description]
    rows = cursor.fetchall()
    if len(rows) != 1:
        return [f"totals has {len(rows)} rows"]
    said = dict(zip(names, rows[0], strict=True))
    return [f"totals say {name} {said.get(name)}, counted {n}" for name, n in counted.items() if said.get(name) != n]


def _compare_metrics(metrics: Mapping[str, Any], counted: Mapping[str, int]) -> list[str]:
    expected = {f"{status.lower()}_orders": counted[status.lower()] for status in STATUSES}
    expected["total_orders"] = sum(expected.values())
    wrong = [
        f"/metrics says {name} {metrics.get(name)}, counted {count}"
        for name, count in expected.items()
        if metrics.get(name) != count
    ]
    completed = counted[COMPLETED.lower()]
    mean_s = counted["processing_us"] / completed / MICROSECONDS if completed else 0.0
    said_s = float("nan")
    with suppress(TypeError, ValueError):
        said_s = float(metrics.get("avg_processing_time", said_s))
    if not abs(said_s - mean_s) <= ROUNDED_S:
        wrong.append(f"/metrics says avg_processing_time {said_s:.6f}, counted {mean_s:.6f}")
    return wrong
