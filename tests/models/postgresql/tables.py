"""What is true of the tables of a store in PostgreSQL after every commit."""

from typing import Any

import psycopg

from models.order import Totals
from tests.postgresql.databases import execute

_RECOUNT = """
SELECT count(*) FILTER (WHERE work.node IS NULL AND work.sequence IS NOT NULL),
    count(*) FILTER (WHERE work.node IS NOT NULL), count(*) FILTER (WHERE ends.status = 'c'),
    count(*) FILTER (WHERE ends.status = 'f'), count(*) FILTER (WHERE ends.status = 'x'),
    coalesce(sum(processed_us - orders.created_us) FILTER (WHERE ends.status = 'c'), 0)::bigint,
    NULL, (SELECT paused FROM meta)
FROM orders LEFT JOIN work USING (sequence) LEFT JOIN ends USING (sequence)"""
_WRONG_PLACES = """
SELECT sequence FROM orders FULL JOIN work USING (sequence) FULL JOIN ends USING (sequence)
WHERE orders.order_id IS NULL OR (work.sequence IS NULL) = (ends.sequence IS NULL)
    OR work.created_us <> orders.created_us"""
_WITHOUT_SERVER = "SELECT sequence FROM work WHERE node IS NOT NULL AND node NOT IN (SELECT node FROM nodes)"
_WITHOUT_TOTALS = "SELECT node FROM nodes WHERE node NOT IN (SELECT node FROM totals)"


def recount(connection: psycopg.Connection[Any]) -> Totals:
    """The totals, computed from all stored orders, without `oldest_pending_us`."""
    [row] = execute(connection, _RECOUNT)
    return Totals(*row)


def check_tables(connection: psycopg.Connection[Any]) -> None:
    """Each order is in `orders` and in one other table. Only an order of a server with a lease is Processing."""
    for statement in (_WRONG_PLACES, _WITHOUT_SERVER, _WITHOUT_TOTALS):
        assert execute(connection, statement) == []
