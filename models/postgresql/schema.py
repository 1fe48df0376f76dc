"""The tables and indexes, and the steps that create or change them. Runs on the main thread.

To change the schema, add a step. Never change an existing step.

Three tables contain the orders, because most updates would otherwise change indexed columns of the largest table:
`orders` has what never changes, `work` has a small row for each Pending and Processing order, and `ends` has a row for
each order that is Completed, Failed or Cancelled. So an order is in `orders` and in one of the other two tables.
"""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import psycopg
from psycopg import sql

from models.errors import DatabaseRefusedError
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.nodes.node_statements import LEASE_S

_log = logging.getLogger("orders.schema")

OWNER = "orders"
"""The comment on the table `meta`, which identifies the tables of this program."""
MOVING = "orders that are being moved"
"""While the table has this comment instead of OWNER, no server starts, not even a version without moves."""
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

# Unlogged: after a crash, the tables are empty and the ids begin with 1, so there is a new epoch. A server of the older
# version does not record its changes.
_ADD_FEED = """
CREATE UNLOGGED TABLE feed (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    count integer NOT NULL,
    changes text NOT NULL)
    WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
-- Changes are read a few times and then deleted, so it would not pay to compress them.
ALTER TABLE feed ALTER COLUMN changes SET STORAGE EXTERNAL;
CREATE UNLOGGED TABLE feed_start (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    epoch text NOT NULL,
    id bigint NOT NULL,
    until timestamptz NOT NULL);
"""

# Resuming also ends pauses of deliveries. Each server has its own pause, and learns from this number that it must end
# the pause.
_COUNT_RESUMES = "ALTER TABLE meta ADD COLUMN resumes bigint NOT NULL DEFAULT 0"

FEED_VERSION = 2
"""The lowest schema version whose servers record their changes in the feed."""
# A server of an older version can go on, but once it has lost its lease, it does not come back. So when all such
# servers have gone, the feed has all changes, for ever. 55000 is object_not_in_prerequisite_state.
_REFUSE_SERVERS_WITHOUT_FEED = f"""
CREATE FUNCTION refuse_server_without_feed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'a newer version of this program has changed the database: update this server'
        USING ERRCODE = '55000';
END $$;
CREATE TRIGGER refuse_server_without_feed BEFORE INSERT ON nodes
    FOR EACH ROW WHEN (NEW.schema < {FEED_VERSION}) EXECUTE FUNCTION refuse_server_without_feed()"""


class Step(NamedTuple):
    """A change of the schema. `oldest` is the lowest schema version whose programs can use the changed database."""

    statements: str
    oldest: int


STEPS = (
    Step(_CREATE, oldest=1),
    Step(_ADD_FEED, oldest=1),
    Step(_COUNT_RESUMES, oldest=1),
    Step(_REFUSE_SERVERS_WITHOUT_FEED, oldest=1),
)
"""Step n changes the schema from version n to version n + 1."""
SCHEMA_VERSION = len(STEPS)
STEP_S = 3_600.0
"""How many seconds a step can take. The step that creates an index of all orders, for example, takes minutes."""

# Waits for the transactions of all servers. 55000 is object_not_in_prerequisite_state.
_REFUSE_OLDER_SERVERS = """
CREATE OR REPLACE FUNCTION refuse_older_server() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'a newer version of this program has changed the database: update this server'
        USING ERRCODE = '55000';
END $$;
CREATE OR REPLACE TRIGGER refuse_older_server BEFORE INSERT OR UPDATE ON nodes
    FOR EACH ROW WHEN (NEW.schema < {}) EXECUTE FUNCTION refuse_older_server()"""
_OLDER_SERVERS = """
SELECT name FROM nodes WHERE schema < %(oldest)s AND beat >= clock_timestamp() - make_interval(secs => %(lease_s)s)
ORDER BY node"""
_TABLES_OF_OTHERS = """
SELECT count(*) FROM pg_catalog.pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"""
_COMMENT = "SELECT obj_description(to_regclass(quote_ident(current_schema()) || '.meta'), 'pg_class')"


def migrate(database: RetryingPostgresqlDatabase, name: str, *, steps: Sequence[Step] = STEPS) -> None:
    """Creates the tables, or changes them to the current version. `name` is the database in errors.

    Raises DatabaseRefusedError if the schema (the namespace) contains tables of another program or of a newer version,
    or while a server runs that can't use the changed tables. In these cases, it changes nothing.
    """
    database.retry(lambda: _migrate(database.psycopg_connection, name, steps), answer_s=STEP_S)


def _migrate(connection: psycopg.Connection[Any], name: str, steps: Sequence[Step]) -> None:
    connection.execute("BEGIN")
    lock_schema(connection)
    if comment(connection) == MOVING:
        raise DatabaseRefusedError(
            f"{name} contains only a part of the orders that --move-to moves to it: run that command again"
        )
    change_schema(connection, name, steps=steps)
    connection.execute("COMMIT")


def lock_schema(connection: psycopg.Connection[Any]) -> None:
    """Locks the schema until the end of the transaction. Another server waits here until the tables exist."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))


def comment(connection: psycopg.Connection[Any]) -> str | None:
    """The comment on the table `meta`; None if there is none, or no such table."""
    return cast(str | None, _only_value(connection, _COMMENT))


def change_schema(connection: psycopg.Connection[Any], name: str, *, steps: Sequence[Step] = STEPS) -> None:
    """Creates the tables, or changes them to the current version. Must be called in a transaction."""
    version = version_of(connection, name)
    if version > len(steps):
        raise DatabaseRefusedError(
            f"{name} has schema version {version}, this program knows up to {len(steps)}: use a newer program"
        )
    if 0 < version < len(steps):
        _refuse_older_servers(connection, name, max(step.oldest for step in steps))
        _log.info("migrating the database from schema version %d to %d", version, len(steps))
    for step in steps[version:]:
        # Without parameters, psycopg sends all statements of a step together.
        connection.execute(step.statements.encode())
    if version < len(steps):
        connection.execute("UPDATE meta SET schema = %s", (len(steps),))


def _refuse_older_servers(connection: psycopg.Connection[Any], name: str, oldest: int) -> None:
    """From now on, servers that know only schema versions lower than `oldest` can't use the database.

    Raises DatabaseRefusedError if such a server is alive. A server that only seems to be dead gets an error at its next
    write, because each write changes the server's row in `nodes`.
    """
    connection.execute(sql.SQL(_REFUSE_OLDER_SERVERS).format(oldest))
    alive = connection.execute(_OLDER_SERVERS, {"oldest": oldest, "lease_s": LEASE_S}).fetchall()
    if alive:
        raise DatabaseRefusedError(
            f"{name}: stop all servers of older versions first; still running: {', '.join(each for [each] in alive)}"
        )


def version_of(connection: psycopg.Connection[Any], name: str) -> int:
    """The version of the schema; 0 if there are no tables. Raises DatabaseRefusedError if there are other tables."""
    if _only_value(connection, "SELECT current_schema()") is None:
        raise DatabaseRefusedError(f"{name}: the role's search_path contains no schema that exists")
    if comment(connection) in (OWNER, MOVING):
        return int(_only_value(connection, "SELECT schema FROM meta"))
    if _only_value(connection, _TABLES_OF_OTHERS):
        raise DatabaseRefusedError(f"{name} is another program's database: it contains other tables")
    return 0


def _only_value(connection: psycopg.Connection[Any], query: str) -> Any:
    return cast(tuple[Any], connection.execute(query).fetchone())[0]
