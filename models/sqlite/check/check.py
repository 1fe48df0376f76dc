"""Checks a database file, also while a server uses it. Runs on the main thread."""

import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from models.progress import Progress, Report
from models.sqlite.check import check_statements as statements
from models.sqlite.check.integrity import integrity_errors
from models.sqlite.files.reading import interruptible, snapshot
from models.sqlite.schema.migrations import SCHEMA_VERSION

MAX_LISTED = 20
"""How many wrong blocks, and how many invalid orders, are listed one by one."""


class Finding(NamedTuple):
    """One error in the file, as a line for a person. `is_repairable`: see `models/sqlite/check/repair.py`."""

    line: str
    is_repairable: bool


def check(path: Path, *, report: Report, progress: Progress) -> bool:
    """Reports each error in the database `path`, or that there is none. Returns whether there is none.

    Raises DatabaseRefusedError if the file can't be opened.
    """
    with snapshot(path) as source:
        found = find_errors(source.connection, progress=progress)
        report_findings(path, found, report)
    return not found


def report_findings(path: Path, found: list[Finding], report: Report) -> None:
    """Reports one line for each error, or one line if there is none."""
    for finding in found:
        report(f"{path}: {finding.line}")
    if not found:
        report(f"{path}: no errors found")


def find_errors(connection: sqlite3.Connection, *, progress: Progress) -> list[Finding]:
    """All errors in the database, which must be of this program."""
    found: list[Finding] = []
    for step, search in (
        ("Checking pages and indexes", _damage),
        ("Counting orders", _wrong_totals),
        ("Checking archived and erased orders", _wrong_fingerprints),
        ("Checking blocks", _wrong_blocks),
        ("Checking orders", _invalid_orders),
    ):
        progress(step)
        try:
            with interruptible(connection, partial(progress, step)):
                found += search(connection)
        except sqlite3.DatabaseError as error:
            found.append(Finding(f"{step.lower()} failed: {error}", is_repairable=True))
    return found


def _damage(connection: sqlite3.Connection) -> Iterator[Finding]:
    for line in integrity_errors(connection):
        yield Finding(f"integrity_check: {line}", is_repairable=True)


def _wrong_totals(connection: sqlite3.Connection) -> Iterator[Finding]:
    counted = connection.execute(statements.RECOUNT).fetchone()
    statement = statements.NOT_ARCHIVED_TOTALS if _is_current(connection) else statements.TOTALS
    rows = connection.execute(statement).fetchall()
    if len(rows) != 1:
        yield Finding(f"totals has {len(rows)} rows instead of one", is_repairable=True)
        return
    for name, stored, count in zip(statements.TOTALS_NAMES, rows[0], counted, strict=False):
        if stored != count:
            yield Finding(f"totals has {name} {stored}, counted {count}", is_repairable=True)


def _wrong_fingerprints(connection: sqlite3.Connection) -> Iterator[Finding]:
    if not _is_current(connection):
        return
    for stored, counted in connection.execute(statements.ARCHIVED):
        if stored != counted:
            yield Finding(f"totals has {stored} archived orders, counted {counted}", is_repairable=False)
    orders = [order_id for (order_id,) in connection.execute(statements.KEPT_FINGERPRINTS)]
    for order_id in orders[:MAX_LISTED]:
        yield Finding(f"order {order_id} is erased without a fingerprint, or has one without being erased", False)
    if len(orders) > MAX_LISTED:
        yield Finding(f"{len(orders) - MAX_LISTED:,} more orders have wrong fingerprints", is_repairable=False)


def _is_current(connection: sqlite3.Connection) -> bool:
    """Whether the file has the current schema."""
    [version] = connection.execute("PRAGMA user_version").fetchone()
    return bool(version == SCHEMA_VERSION)


def _wrong_blocks(connection: sqlite3.Connection) -> Iterator[Finding]:
    if not _is_current(connection):
        return  # the next start of the server computes the table
    blocks = [block for (block,) in connection.execute(statements.WRONG_BLOCKS)]
    for block in blocks[:MAX_LISTED]:
        yield Finding(f"the row of block {block} does not match the orders of the block", is_repairable=True)
    if len(blocks) > MAX_LISTED:
        yield Finding(f"{len(blocks) - MAX_LISTED:,} more rows of blocks do not match", is_repairable=True)


def _invalid_orders(connection: sqlite3.Connection) -> Iterator[Finding]:
    orders = [order_id for (order_id,) in connection.execute(statements.INVALID_ORDERS)]
    for order_id in orders[:MAX_LISTED]:
        yield Finding(f"order {order_id} has an invalid value", False)
    if len(orders) > MAX_LISTED:
        yield Finding(f"{len(orders) - MAX_LISTED:,} more orders have an invalid value", is_repairable=False)
