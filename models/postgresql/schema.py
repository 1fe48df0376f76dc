"""The tables and indexes, and the steps that create or change them. Runs on the main thread.

To change the schema, add a step. Never change an existing step.

Three tables contain the orders, because most updates would otherwise change indexed columns of the largest table:
`orders` has what never changes, `work` has a small row for each Pending and Processing order, and `ends` has a row for
each order that is Completed, Failed or Cancelled. So an order is in `orders` and in one of the other two tables.
"""

import logging
from typing import Any, cast

import psycopg

from models.errors import DatabaseRefusedError
from models.postgresql.connection.database import RetryingPostgresqlDatabase

_log = logging.getLogger("orders.schema")

OWNER = "orders"
"""The comment on the table `meta`, which identifies the tables of this program."""
MOVING = "orders that are being moved"
"""This comment instead of OWNER prevents that a server starts, also one of a version that does not know of moves."""
_MIGRATION_LOCK = 0x4F524452
"""The key of the advisory lock that a server holds while it changes the schema ("ORDR"):
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS"""

# `created_us`, `processed_us`, `claimed_us` and the times in `attempts` are microseconds since 1970, UTC. `due_us` too,
# but it is a time of the database's clock: see `models/postgresql/database_time.py`. Statuses in `ends`: c is
# Completed, f is Failed, x is Cancelled.
_CREATE = """
CREATE TABLE meta (
    schema integer NOT NULL,
    paused boolean NOT NULL DEFAULT false,
    PRIMARY KEY (schema));
COMMENT ON TABLE meta IS 'orders';
INSERT INTO meta (schema) VALUES (1);

CREATE SEQUENCE order_sequences;
CREATE TABLE orders (
    sequence bigint PRIMARY KEY,
    order_id bigint NOT NULL,
    user_id bigint NOT NULL,
    total_amount bigint NOT NULL,
    created_us bigint NOT NULL,
    item_ids text NOT NULL,
    metadata text,
    trace_headers text);
CREATE UNIQUE INDEX orders_order_id ON orders (order_id);
CREATE INDEX orders_user ON orders (user_id, sequence);

-- For listings by time: between which times the orders of a block were created, by the server that stored them. A block
-- is 2,048 consecutive sequences.
CREATE TABLE blocks (
    block bigint NOT NULL,
    node bigint NOT NULL,
    first_us bigint NOT NULL,
    last_us bigint NOT NULL,
    PRIMARY KEY (block, node))
    WITH (fillfactor = 50);

-- Its rows change often, so autovacuum must remove their old versions soon.
CREATE TABLE work (
    sequence bigint PRIMARY KEY,
    created_us bigint NOT NULL,
    node bigint,
    claimed_us bigint,
    due_us bigint,
    attempts integer NOT NULL,
    claims integer NOT NULL,
    error text,
    CHECK (node IS NULL OR due_us IS NULL))
    WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX work_ready ON work (sequence) WHERE node IS NULL AND due_us IS NULL;
CREATE INDEX work_due ON work (due_us, sequence) WHERE due_us IS NOT NULL;
CREATE INDEX work_waiting ON work (sequence) WHERE due_us IS NOT NULL;
CREATE INDEX work_processing ON work (sequence) WHERE node IS NOT NULL;

CREATE TABLE ends (
    sequence bigint PRIMARY KEY,
    processed_us bigint,
    claimed_us bigint,
    attempts integer NOT NULL,
    claims integer NOT NULL,
    status "char" NOT NULL,
    error text);
CREATE INDEX ends_failed ON ends (sequence) WHERE status = 'f';
CREATE INDEX ends_cancelled ON ends (sequence) WHERE status = 'x';

-- The ended attempts that did not complete their order.
CREATE TABLE attempts (
    sequence bigint NOT NULL,
    claim integer NOT NULL,
    number integer NOT NULL,
    started_us bigint,
    ended_us bigint NOT NULL,
    ending text NOT NULL,
    error text,
    PRIMARY KEY (sequence, claim));

-- One row for each running server. Most of a page is free, so that an update finds room beside the old version.
CREATE SEQUENCE node_ids;
CREATE TABLE nodes (
    node bigint PRIMARY KEY,
    beat timestamptz NOT NULL,
    started timestamptz NOT NULL,
    name text NOT NULL,
    schema integer NOT NULL)
    WITH (fillfactor = 10);

-- What each server has added to the totals, so that servers do not wait for each other. The row of node 0 has what
-- servers have added that do not run any more.
CREATE TABLE totals (
    node bigint PRIMARY KEY,
    pending bigint NOT NULL DEFAULT 0,
    processing bigint NOT NULL DEFAULT 0,
    completed bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    cancelled bigint NOT NULL DEFAULT 0,
    processing_us numeric NOT NULL DEFAULT 0)
    WITH (fillfactor = 10);
INSERT INTO totals (node) VALUES (0);
"""

_STEPS = (_CREATE,)
"""Step n changes the schema from version n to version n + 1."""
SCHEMA_VERSION = len(_STEPS)

_TABLES_OF_OTHERS = """
SELECT count(*) FROM pg_catalog.pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"""
_COMMENT = "SELECT obj_description(to_regclass(quote_ident(current_schema()) || '.meta'), 'pg_class')"


def migrate(database: RetryingPostgresqlDatabase, name: str) -> None:
    """Creates the tables, or changes them to the current version. `name` is the database in errors.

    Raises DatabaseRefusedError if the schema (the namespace) contains tables of another program or of a newer version.
    In this case, it changes nothing.
    """
    database.retry(lambda: _migrate(database.psycopg_connection, name))


def _migrate(connection: psycopg.Connection[Any], name: str) -> None:
    connection.execute("BEGIN")
    lock_schema(connection)
    if comment(connection) == MOVING:
        raise DatabaseRefusedError(
            f"{name} contains only a part of the orders that --move-to moves to it: run that command again"
        )
    change_schema(connection, name)
    connection.execute("COMMIT")


def lock_schema(connection: psycopg.Connection[Any]) -> None:
    """Locks the schema until the end of the transaction. Another server waits here until the tables exist."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))


def comment(connection: psycopg.Connection[Any]) -> str | None:
    """The comment on the table `meta`; None if there is none, or no such table."""
    return cast(str | None, _only_value(connection, _COMMENT))


def change_schema(connection: psycopg.Connection[Any], name: str) -> None:
    """Creates the tables, or changes them to the current version. Must be called in a transaction."""
    version = version_of(connection, name)
    if version > SCHEMA_VERSION:
        raise DatabaseRefusedError(
            f"{name} has schema version {version}, this program knows up to {SCHEMA_VERSION}: use a newer program"
        )
    if 0 < version < SCHEMA_VERSION:
        _log.info("migrating the database from schema version %d to %d", version, SCHEMA_VERSION)
    for step in _STEPS[version:]:
        connection.execute(step)
    if version < SCHEMA_VERSION:
        connection.execute("UPDATE meta SET schema = %s", (SCHEMA_VERSION,))


def version_of(connection: psycopg.Connection[Any], name: str) -> int:
    """The version of the schema; 0 if there are no tables. Raises DatabaseRefusedError if another program's exist."""
    if _only_value(connection, "SELECT current_schema()") is None:
        raise DatabaseRefusedError(f"{name}: the role's search_path contains no schema that exists")
    if comment(connection) in (OWNER, MOVING):
        return int(_only_value(connection, "SELECT schema FROM meta"))
    if _only_value(connection, _TABLES_OF_OTHERS):
        raise DatabaseRefusedError(f"{name} is another program's database: it contains other tables")
    return 0


def _only_value(connection: psycopg.Connection[Any], query: str) -> Any:
    return cast(tuple[Any], connection.execute(query).fetchone())[0]
