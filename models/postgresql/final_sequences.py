"""Finds out up to which sequence no order will be stored any more. Runs on the caller's thread.

Several servers store orders at the same time, so a transaction with lower sequences can be committed after one with
higher sequences. A client that reads orders oldest first would miss its orders.
"""

import time

from models.postgresql import statements
from models.postgresql.connection.bounded import BoundedConnection
from models.postgresql.feed.feed_statements import WRITERS
from models.postgresql.transaction import one_row

WAIT_S = 1.0
"""How long a call waits for transactions to end. Most end within milliseconds."""
_POLL_S = 0.002


def final_sequence(connection: BoundedConnection) -> int:
    """Returns the highest sequence s such that no order with a sequence up to s will be stored any more.

    If a transaction does not end within WAIT_S, returns the result of the previous call on this connection. A
    connection to another primary begins again with 0, because that can give out again sequences that it never got.
    """
    # Each transaction locks `orders` before it gets a sequence, and until others see its orders. So a transaction that
    # has a sequence up to `last` is one of the writers, or has ended.
    [last] = one_row(connection.execute(statements.LAST_SEQUENCE))
    running = _writers(connection)
    until_s = time.monotonic() + WAIT_S
    while running:
        if time.monotonic() >= until_s:
            return connection.final_sequence
        time.sleep(_POLL_S)
        running &= _writers(connection)
    connection.final_sequence = int(last)
    return connection.final_sequence


def _writers(connection: BoundedConnection) -> frozenset[str]:
    [found] = one_row(connection.execute(WRITERS, {"table": "orders"}))
    return frozenset(found)
