"""Databases for tests: new databases, and for each process of the tests a database that it empties and uses again."""

import atexit
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from models.clock import Clock
from models.database.address import PostgresqlUrl
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.opening import open_postgresql_store
from tests.postgresql.server import need_postgresql, shared_server, url_of

_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
_SEQUENCES = "SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' ORDER BY sequencename"

_numbers = itertools.count(1)
_emptied: list["EmptiedDatabase"] = []


def connect(url: str) -> psycopg.Connection[Any]:
    """A connection in autocommit mode, of a program that is not the store."""
    return psycopg.connect(url, autocommit=True)


def execute(connection: psycopg.Connection[Any], statement: str, *parameters: object) -> list[Any]:
    """Executes one statement. Returns its rows."""
    cursor = connection.execute(statement.encode(), parameters or None)
    return cursor.fetchall() if cursor.description else []


def new_database() -> str:
    """The URL of a new database without tables on the shared server. `drop_database` deletes it."""
    need_postgresql()
    folder = shared_server()
    name = f"orders_{os.getpid()}_{next(_numbers)}"
    with connect(url_of(folder, "postgres")) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} STRATEGY file_copy").format(sql.Identifier(name)))
    return url_of(folder, name)


def name_of(url: str) -> str:
    """The name of the database with this URL."""
    return url.partition("@/")[2].partition("?")[0]


def drop_database(url: str) -> None:
    """Deletes a database of the shared server, and ends its connections."""
    folder = shared_server()
    name = name_of(url)
    with connect(url_of(folder, "postgres")) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def temporary_database() -> Iterator[str]:
    """The URL of a new database without tables, which is deleted at the end of the block."""
    url = new_database()
    try:
        yield url
    finally:
        drop_database(url)


def emptied_database() -> "EmptiedDatabase":
    """A database with the tables of a new store and nothing else. The next call empties it again.

    Takes a few milliseconds, where a new database takes a hundred.
    """
    if not _emptied:
        _emptied.append(EmptiedDatabase())
    _emptied[0].empty()
    return _emptied[0]


class EmptiedDatabase:
    """A database, and two connections to it, that a process of the tests keeps until it ends.

    `store_connection` is for a store on the main thread that does not retry errors. `connection` is for the test.
    """

    def __init__(self) -> None:
        self.url = new_database()
        self.name = name_of(self.url)
        open_postgresql_store(PostgresqlUrl(self.url), clock=Clock())
        self.store_connection = RetryingPostgresqlDatabase(PostgresqlUrl(self.url), deadline_s=0)
        self.store_connection.connect()
        self.connection = connect(self.url)
        atexit.register(self.connection.close)
        atexit.register(self.store_connection.close)
        tables = [name for [name] in execute(self.connection, _TABLES)]
        sequences = [name for [name] in execute(self.connection, _SEQUENCES)]
        # A copy of the tables of a new store.
        execute(self.connection, "CREATE SCHEMA initial")
        for table in tables:
            execute(self.connection, f"CREATE TABLE initial.{table} AS TABLE public.{table}")
        execute(self.connection, "SET lock_timeout = '5s'")
        self._empty = "BEGIN; "
        self._empty += "".join(
            f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM initial.{table}; " for table in tables
        )
        self._empty += "".join(f"SELECT setval('{sequence}', 1, false); " for sequence in sequences)
        self._empty += "COMMIT"

    def empty(self) -> None:
        execute(self.connection, self._empty)
        # A store of an earlier test may have locked the archive.
        execute(self.store_connection.psycopg_connection, "SELECT pg_advisory_unlock_all()")
