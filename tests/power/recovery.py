"""Opens the files that remain after a power loss, as a restart does, and looks for all acknowledged orders in them."""

import contextlib
import json
import re
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from models.errors import DatabaseRefusedError
from models.sqlite.files.opening import open_database
from tests.models.blocks import check_blocks
from tests.power.disk import Files

DATABASE = "orders.db"
_SHOWN = 5


class Row(NamedTuple):
    """A stored order. `total_amount` is in ten-thousandths."""

    order_id: int
    user_id: int
    item_ids: str
    total_amount: int
    metadata: str | None


def row_of(order: Mapping[str, Any]) -> Row:
    """Returns the row that the server must store for an order."""
    metadata = order.get("metadata")
    return Row(
        order["order_id"],
        order["user_id"],
        json.dumps(order["item_ids"], separators=(",", ":")),
        round(order["total_amount"] * 10_000),
        None if metadata is None else json.dumps(metadata),
    )


@dataclass
class Acknowledgements:
    """Collects acknowledged orders in `stored`. `completed` has the ids of the orders that a response calls Completed.

    `sent` has the orders of each request, by request id. Responses to requests that are not in `sent` are ignored.
    """

    sent: Mapping[str, frozenset[Row]]
    requests: set[str] = field(default_factory=set)
    stored: set[Row] = field(default_factory=set)
    completed: set[int] = field(default_factory=set)

    def read(self, answer: bytes) -> None:
        """Reads responses, or parts of responses, that the server begins to send."""
        for head in re.findall(rb"HTTP/1\.1 20[02] .*?\r\n\r\n", answer, re.DOTALL):
            request = re.search(rb"\r\nX-Request-Id: (\S+)", head)
            if request is None or (name := request[1].decode()) not in self.sent:
                continue
            self.requests.add(name)
            self.stored |= self.sent[name]
            if head.startswith(b"HTTP/1.1 200"):
                self.completed |= {row.order_id for row in self.sent[name]}


class Finding(NamedTuple):
    """Says how many acknowledged orders are missing, and what else is wrong."""

    missing: int
    faults: list[str]


def write_files(files: Files, folder: Path) -> None:
    """Replaces the content of the folder by these files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def check_recovery(folder: Path, acknowledged: Acknowledgements, possible: frozenset[Row]) -> Finding:
    """Opens the database in the folder as a restart does, and checks it. `possible` has all orders that were sent."""
    try:
        open_database(folder / DATABASE)
        # Syncs are turned off, because this folder need not survive a real power loss.
        with contextlib.closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as database:
            database.execute("PRAGMA synchronous=OFF")
            return _check(database, acknowledged, possible)
    except (sqlite3.DatabaseError, DatabaseRefusedError) as error:
        return Finding(len(acknowledged.stored), [f"the database can't be opened: {error}"])


def _check(database: sqlite3.Connection, acknowledged: Acknowledgements, possible: frozenset[Row]) -> Finding:
    faults = []
    verdict = database.execute("PRAGMA integrity_check").fetchall()
    if verdict != [("ok",)]:
        faults.append(f"integrity_check says: {verdict[:_SHOWN]}")
    if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        # Power was lost before the tables were created, so no order can be acknowledged.
        return Finding(len(acknowledged.stored), faults)
    stored: set[tuple[Any, ...]] = set(database.execute(f"SELECT {', '.join(Row._fields)} FROM orders"))
    if foreign := stored - possible:
        faults.append(f"stored but never sent: {sorted(foreign)[:_SHOWN]}")
    completed = {row[0] for row in database.execute("SELECT order_id FROM orders WHERE status = 'Completed'")}
    if undone := acknowledged.completed - completed:
        faults.append(f"no longer Completed: {sorted(undone)[:_SHOWN]}")
    return Finding(len(acknowledged.stored - stored), [*faults, *_wrong_totals(database), *_wrong_blocks(database)])


def _wrong_blocks(database: sqlite3.Connection) -> Iterable[str]:
    try:
        check_blocks(database)
    except AssertionError as error:
        yield f"the blocks are wrong: {error}"


def _wrong_totals(database: sqlite3.Connection) -> Iterable[str]:
    names = ("Pending", "Processing", "Completed", "Failed", "Cancelled")
    found = dict(database.execute("SELECT status, count(*) FROM orders GROUP BY status"))
    [recounted_us] = database.execute(
        "SELECT ifnull(sum(processed_us - created_us), 0) FROM orders WHERE status = 'Completed'"
    ).fetchone()
    recounted = (*(found.get(name, 0) for name in names), recounted_us)
    totals = database.execute("SELECT pending, processing, completed, failed, cancelled, processing_us FROM totals")
    if (rows := totals.fetchall()) != [recounted]:
        yield f"the totals are {rows}, recounted {recounted}"
