"""Checks the conditions that the tables of a store in PostgreSQL fulfil after every commit."""

from typing import Any

import psycopg

from models.order import Totals
from tests.postgresql.databases import execute

_RECOUNT = """
SELECT count(*) FILTER (WHERE work.node IS NULL AND work.sequence IS NOT NULL),
    count(*) FILTER (WHERE work.node IS NOT NULL), count(*) FILTER (WHERE ends.status = 'c'),
    count(*) FILTER (WHERE ends.status = 'f'), count(*) FILTER (WHERE ends.status = 'x'),
    coalesce(sum(processed_us - orders.created_us) FILTER (WHERE ends.status = 'c'), 0)::bigint,
    NULL, (SELECT paused FROM meta), count(work.due_us), (
        SELECT count(*) FROM fingerprints WHERE order_id NOT IN (SELECT order_id FROM orders))
FROM orders LEFT JOIN work USING (sequence) LEFT JOIN ends USING (sequence)"""
_WRONG_PLACES = """
SELECT sequence
FROM public.orders AS orders
    FULL JOIN public.work AS work USING (sequence)
    FULL JOIN public.ends AS ends USING (sequence)
WHERE orders.order_id IS NULL OR (work.sequence IS NULL) = (ends.sequence IS NULL)
    OR work.created_us <> orders.created_us"""
_WITHOUT_SERVER = """
SELECT sequence FROM public.work WHERE node IS NOT NULL AND node NOT IN (SELECT node FROM public.nodes)"""
_WITHOUT_TOTALS = "SELECT node FROM public.nodes WHERE node NOT IN (SELECT node FROM public.totals)"

FILL_BLOCKS = """
INSERT INTO blocks (block, node, first_us, last_us)
SELECT sequence >> 11, 0, min(created_us), max(created_us) FROM orders GROUP BY 1"""
"""For tests that store orders without a store, in an empty table of blocks."""
_IS_ENDED = "each <= %s * 0.9"
_FILL = (
    """INSERT INTO orders (sequence, order_id, user_id, total_amount, created_us, item_ids)
    SELECT each, each, 1 + mod(each, 1000), 999900, 1740830400000000 + each * 1000000, '[101,102]'
    FROM generate_series(1, %s::bigint) AS each""",
    f"""INSERT INTO ends (sequence, processed_us, claimed_us, attempts, claims, status, error)
    SELECT each, CASE WHEN mod(each, 10) <> 1 THEN 1740830401000000 + each * 1000000 END,
        CASE WHEN mod(each, 10) <> 1 THEN 1740830400000000 + each * 1000000 END, 1, 1,
        CASE mod(each, 10) WHEN 0 THEN 'f' WHEN 1 THEN 'x' ELSE 'c' END, CASE mod(each, 10) WHEN 0 THEN 'no' END
    FROM generate_series(1, %s::bigint) AS each WHERE {_IS_ENDED}""",
    """INSERT INTO attempts (sequence, claim, number, started_us, ended_us, ending, error)
    SELECT sequence, 1, 1, claimed_us, processed_us, 'failed', 'no' FROM ends WHERE status = 'f'""",
    f"""INSERT INTO work (sequence, created_us, node, claimed_us, due_us, attempts, claims, error)
    SELECT each, 1740830400000000 + each * 1000000, CASE mod(each, 4) WHEN 3 THEN -1 END,
        CASE mod(each, 4) WHEN 3 THEN 1740830400000000 + each * 1000000 END,
        CASE mod(each, 4) WHEN 2 THEN 2000000000000000 + each END, (mod(each, 4) >= 2)::integer,
        (mod(each, 4) >= 2)::integer, CASE mod(each, 4) WHEN 2 THEN 'down' END
    FROM generate_series(1, %s::bigint) AS each WHERE NOT {_IS_ENDED}""",
    FILL_BLOCKS,
    "INSERT INTO nodes (node, beat, started, name, schema) VALUES (-1, now() - interval '1 day', now(), '', 1000)",
    """INSERT INTO totals (node, pending, processing, completed, failed, cancelled, processing_us)
    SELECT -1, count(*) FILTER (WHERE work.node IS NULL AND work.sequence IS NOT NULL),
        count(work.node), count(*) FILTER (WHERE status = 'c'), count(*) FILTER (WHERE status = 'f'),
        count(*) FILTER (WHERE status = 'x'),
        coalesce(sum(processed_us - orders.created_us) FILTER (WHERE status = 'c'), 0)
    FROM orders LEFT JOIN work USING (sequence) LEFT JOIN ends USING (sequence)""",
)


def recount(connection: psycopg.Connection[Any]) -> Totals:
    """The totals, computed from all stored orders, without `oldest_pending_us`."""
    [row] = execute(connection, _RECOUNT)
    return Totals(*row)


def check_tables(connection: psycopg.Connection[Any]) -> None:
    """Each order is in `orders` and in one other table. Only an order of a server with a lease is Processing."""
    for statement in (_WRONG_PLACES, _WITHOUT_SERVER, _WITHOUT_TOTALS):
        assert execute(connection, statement) == []


def fill(connection: psycopg.Connection[Any], count: int) -> None:
    """Stores this number of orders of 1,000 users, a second apart, without a store. The last tenth is not ended yet.

    Of these, a half is Pending, a quarter waits for a retry, and a quarter is Processing by a server that has died. Of
    the others, a tenth is Failed and a tenth is Cancelled. The totals are right.
    """
    execute(connection, "SELECT setval('order_sequences', %s)", max(count, 1))
    for statement in _FILL:
        execute(connection, statement, *[count] * statement.count("%s"))
    execute(connection, "VACUUM ANALYZE")
