"""Opens the store in a PostgreSQL database. Runs on the main thread."""

import logging

from models.clock import Clock
from models.database.address import PostgresqlUrl
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.connection.errors import storage_errors
from models.postgresql.connection.session import check_server
from models.postgresql.schema.migration import migrate
from models.postgresql.store import PostgresqlStore


def open_postgresql_store(url: PostgresqlUrl, *, clock: Clock) -> PostgresqlStore:
    """Opens the store in the database with this URL, and creates its tables if they do not exist.

    If this function raises DatabaseRefusedError, the database is unchanged. Raises a StorageError if the database can't
    be reached.
    """
    # psycopg logs errors that follow from an error that it has raised.
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)
    database = RetryingPostgresqlDatabase(url)
    name = str(url)
    with storage_errors():
        database.connect()
        try:
            database.retry(lambda: check_server(database.psycopg_connection, name))
            migrate(database, name)
        finally:
            database.close()
    return PostgresqlStore(database, clock=clock)
