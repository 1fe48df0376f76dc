"""Compares the server on PostgreSQL with the server on an SQLite file. Trials run on the event loop."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from secrets import token_hex

from load.bench import wrk
from load.bench.trial import PROCESSED_RATE, Row, Trial, Value
from load.bench.workloads import settled
from load.cli.errors import CommandError

ROUNDS = 4  # Rounds per run. Even, so that each server is measured first in half of them.
BOUNDS = {50: (0.6, 0.8), 500: (0.35, 0.5)}
"""For each number of clients, the bound and the aim. As many orders as there are clients can share a commit."""


async def full_cycle(trial: Trial) -> list[Row]:
    """Compare how fast orders are accepted and completed by the server on SQLite and by the one on PostgreSQL."""
    rows: list[Row] = []
    for clients, (at_least, aim) in BOUNDS.items():
        name = f"durable POST /order, {clients} clients, until each order is Completed: PostgreSQL against SQLite"
        row = Row(name=name, at_least=at_least, aim=aim)
        load = settled(partial(wrk.post_orders, clients=clients))
        rows += await trial.compare(load, (row, PROCESSED_RATE), value=Value.SPEED, rounds=ROUNDS)
    return rows


@contextmanager
def new_schema(url: str) -> Iterator[str]:
    """Create a schema in the database, and yield the URL with which a server uses it. Remove the schema at the end.

    Raises CommandError if that fails.
    """
    import psycopg  # Imported only here, because it is not needed for SQLite.

    schema = f"load_bench_{token_hex(8)}"
    try:
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            connection.execute(f"CREATE SCHEMA {schema}".encode())
        try:
            yield f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{schema}"
        finally:
            with closing(psycopg.connect(url, autocommit=True)) as connection:
                connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())
    except psycopg.Error as problem:
        raise CommandError(f"{url}: {str(problem).strip().partition(chr(10))[0]}") from None
