"""Compares the server on PostgreSQL with the server on an SQLite file. Trials run on the event loop."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from secrets import token_hex

from load.bench import wrk
from load.bench.measurement import Measurement
from load.bench.trial import PROCESSED_RATE, Row, Server, Trial, Value
from load.bench.workloads import settled
from load.cli.errors import CommandError
from load.http.address import reach

CLIENTS = 500  # In trials of several servers, which share the clients.
SERVERS_ROUNDS = 2
SERVERS_BOUNDS: dict[int, tuple[float | None, float | None]] = {128: (None, None), CLIENTS: (1.3, 1.8)}
"""For each number of clients, the bound and the aim of two servers against one. With few clients, most of the gain is
lost again, because each server has smaller commits."""
SECOND_FIRST_ID = 1 << 40  # The first id of the orders that the second server gets.
ROUNDS = 4  # Rounds per run. An even number, so that each server is measured first in half of the rounds.
BOUNDS = {50: (0.6, 0.8), 500: (0.35, 0.5)}
"""For each number of clients, the bound and the aim. The number of clients is the maximum number of orders in a
commit."""


async def full_cycle(trial: Trial) -> list[Row]:
    """Compare how fast a server on SQLite and a server on PostgreSQL accept and complete orders."""
    rows: list[Row] = []
    for clients, (at_least, aim) in BOUNDS.items():
        name = f"durable POST /order, {clients} clients, until each order is Completed: PostgreSQL against SQLite"
        row = Row(name=name, at_least=at_least, aim=aim)
        load = settled(partial(wrk.post_orders, clients=clients))
        rows += await trial.compare(load, (row, PROCESSED_RATE), value=Value.SPEED, rounds=ROUNDS)
    return rows


async def two_servers(trial: Trial) -> list[Row]:
    """Compare two servers on one database with a single server. Both sides get the same requests."""
    rows: list[Row] = []
    both, ids = (
        replace(trial, servers=[trial.ours._replace(name=name) for name in ("one", "two")]),
        count(SECOND_FIRST_ID),
    )
    for clients, (at_least, aim) in SERVERS_BOUNDS.items():

        async def load(trial: Trial, server: Server, clients: int = clients) -> Measurement:
            if server.name == "one":
                return await post_to_all(trial, [server], clients=clients)
            with trial.start_server() as process:
                second = server._replace(address=await reach(process.url), ids=ids)
                return await post_to_all(trial, [server, second], clients=clients)

        name = f"durable POST /order, {clients} clients, until each order is Completed: two servers against one"
        row = Row(name=name, at_least=at_least, aim=aim)
        rows += await both.compare(load, (row, PROCESSED_RATE), value=Value.SPEED, rounds=SERVERS_ROUNDS)
    return rows


async def post_to_all(trial: Trial, servers: Sequence[Server], *, clients: int = CLIENTS) -> Measurement:
    """Divide the clients among the servers, which get orders at the same time. Wait until all orders are Completed."""
    load = partial(wrk.post_orders, trial, clients=clients // len(servers))
    parts = await asyncio.gather(*map(load, servers))
    return Measurement(
        right=sum(part.right for part in parts),
        wrong=sum((part.wrong for part in parts), Counter()),
        elapsed_s=max(part.elapsed_s for part in parts),
        # Each part counts the CPU time of all clients.
        cpu_share=max(part.cpu_share for part in parts),
        empty_after_s=await trial.wait_until_processed(trial.ours.address),
    )


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
