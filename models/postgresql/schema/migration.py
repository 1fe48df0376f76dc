"""Creates the tables, or changes them to the current version. Runs on the main thread."""

import logging
from collections.abc import Sequence
from typing import Any, cast

import psycopg
from psycopg import sql

from models.errors import DatabaseRefusedError
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.nodes.node_statements import LEASE_S
from models.postgresql.schema.steps import MOVING, OWNER, STEPS, Step

_log = logging.getLogger("orders.schema")
_MIGRATION_LOCK = 0x4F524452
"""The key of the advisory lock that a server holds while it changes the schema ("ORDR"):
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS"""
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
