"""Takes over the orders of servers that died, in a write transaction.

Runs on the thread that opened the transaction.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import psycopg

from models.order import Attempt
from models.postgresql.attempts import finish
from models.postgresql.nodes import node_statements
from models.postgresql.transaction import Connection, Transaction, one_row
from models.wire import decode_attempts
from models.writes.attempts import Outcome

MAX_TAKEN_OVER = 1_000
"""How many attempts one transaction ends at most, because its duration must be limited."""
_A_CENTURY_S = 100 * 366 * 86_400.0


class TakenOver(NamedTuple):
    """The number of a server that died, how many of its attempts were ended, and whether all of them are ended."""

    node: int
    attempts: int
    is_whole: bool


def take_over(
    transaction: Transaction, outcome_of: Callable[[Attempt], Outcome], *, expiry_s: float | None
) -> TakenOver | None:
    """Ends attempts of one server whose lease has expired, as after a crash. None if there is no such server.

    `expiry_s`: see `Lease.expiry_s`. If `expiry_s` is None, considers only servers that have given up their lease.
    Skips a server whose lease is being renewed or taken over at the moment.
    """
    expired = transaction.execute(
        node_statements.LOCK_EXPIRED, node=transaction.node, lease_s=_A_CENTURY_S if expiry_s is None else expiry_s
    ).fetchone()
    if expired is None:
        return None
    [dead] = expired
    [found] = one_row(transaction.execute(node_statements.INTERRUPTED, dead=dead, limit=MAX_TAKEN_OVER))
    attempts = decode_attempts(found)
    finish(transaction, [outcome_of(attempt) for attempt in attempts], node=dead)()
    transaction.note_changed(attempt.sequence for attempt in attempts)
    is_whole = len(attempts) < MAX_TAKEN_OVER
    if is_whole:
        transaction.execute(node_statements.FOLD_TOTALS, node=transaction.node, dead=dead)
        transaction.execute(node_statements.FORGET_LOST, dead=dead)
    return TakenOver(dead, len(attempts), is_whole)


def end_frozen(connection: Connection, *, node: int, expiry_s: float | None) -> None:
    """Ends transactions of servers that were frozen or cut off while they sent a batch, so that they lock their rows.

    PostgreSQL ends such a transaction itself only after the server has sent a whole part of a batch. Does nothing if
    `expiry_s` is None. `node` is the number of this server.
    """
    if expiry_s is not None:
        with suppress(psycopg.errors.InsufficientPrivilege):
            connection.execute(node_statements.END_FROZEN, {"node": node, "lease_s": expiry_s})


def leave(connection: Connection, node: int) -> None:
    """Gives up the lease of this server in one transaction.

    If the server still has Processing orders, because the database could not record their outcomes, another server can
    take them over at once.
    """
    connection.execute("BEGIN")
    [has_work] = one_row(connection.execute(node_statements.HAS_WORK, {"dead": node}))
    if has_work:
        connection.execute(node_statements.GIVE_UP, {"dead": node})
    else:
        connection.execute(node_statements.FOLD_TOTALS_OF_ALL, {"dead": node})
        connection.execute(node_statements.FORGET, {"dead": node})
    connection.execute("COMMIT")
