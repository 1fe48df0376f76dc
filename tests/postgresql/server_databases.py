"""Databases for whole servers, in place of the SQLite files of tests that do not depend on the kind of database."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.models.postgresql.tables import FILL_BLOCKS, check_tables
from tests.postgresql.databases import connect, drop_database, execute, new_database

_urls: dict[Path, str] = {}


def url_for(path: Path) -> str:
    """The URL of the database that stands for this SQLite file. The first call creates it.

    Deletes the databases that stand for files in deleted folders, because pytest deletes the folder of a test that has
    passed.
    """
    for other in [each for each in _urls if not each.parent.exists()]:
        drop_database(_urls.pop(other))
    if path not in _urls:
        _urls[path] = new_database()
    return _urls[path]


_VIEWS = """
CREATE SCHEMA IF NOT EXISTS observer;
CREATE OR REPLACE VIEW observer.orders AS SELECT sequence, order_id, orders.created_us, processed_us, due_us,
    CASE WHEN work.node IS NOT NULL THEN 'Processing' WHEN work.sequence IS NOT NULL THEN 'Pending'
        WHEN status = 'c' THEN 'Completed' WHEN status = 'f' THEN 'Failed' ELSE 'Cancelled' END AS status,
    coalesce(work.attempts, ends.attempts) AS attempts, coalesce(work.error, ends.error) AS error
FROM public.orders LEFT JOIN public.work USING (sequence) LEFT JOIN public.ends USING (sequence);
CREATE OR REPLACE VIEW observer.totals AS SELECT sum(pending)::bigint AS pending, sum(processing)::bigint AS processing,
    sum(completed)::bigint AS completed, sum(failed)::bigint AS failed, sum(cancelled)::bigint AS cancelled,
    sum(processing_us)::bigint AS processing_us
FROM public.totals;
SET search_path = observer"""


@contextmanager
def connected_to(path: Path) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the database that stands for this file, with tables like in SQLite, for queries only."""
    with connect(url_for(path)) as connection:
        execute(connection, _VIEWS)
        yield connection
        check_tables(connection)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """While the block runs, another program locks a table that each write changes. Reads do not wait."""
    with connect(url_for(path)) as other, other.transaction():
        execute(other, "LOCK TABLE nodes IN SHARE MODE")
        yield


@contextmanager
def full_disk(path: Path, *, room: int) -> Iterator[None]:
    """While the block runs, `room` more orders can be stored. Later ones fail as on a full disk."""
    with connect(url_for(path)) as other:
        [[last]] = execute(other, "SELECT coalesce(max(sequence), 0) FROM orders")
        raise_error = "$$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = 'disk_full'; END $$"
        execute(other, f"CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS {raise_error}")
        condition = f"NEW.sequence > {last + room}"
        execute(
            other,
            f"CREATE TRIGGER failing BEFORE INSERT ON orders FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION fail()",
        )
        try:
            yield
        finally:
            execute(other, "DROP FUNCTION fail CASCADE")


_ADD_ORDERS = """
WITH new AS (
    INSERT INTO orders (sequence, order_id, user_id, total_amount, created_us, item_ids)
    SELECT nextval('order_sequences'), %s + each, 1, 10000, %s + each, '[1]' FROM generate_series(0, %s - 1) AS each
    RETURNING sequence, created_us)
INSERT INTO work (sequence, created_us, due_us, attempts, claims)
SELECT sequence, created_us, created_us + 3600000000, 1, 1 FROM new"""


def add_waiting_retries(path: Path, *, first_id: int, count: int, now_us: int) -> None:
    """Stores orders whose retries are due in an hour, in a database without orders that no server uses."""
    with connect(url_for(path)) as connection, connection.transaction():
        execute(connection, _ADD_ORDERS, first_id, now_us, count)
        execute(connection, FILL_BLOCKS)
        execute(connection, "UPDATE totals SET pending = pending + %s WHERE node = 0", count)
