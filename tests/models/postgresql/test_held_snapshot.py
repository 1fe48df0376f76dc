"""Another program holds an old snapshot, so VACUUM can't remove the rows of orders that were processed since then.

The number of blocks that a step reads must not depend on how many orders were processed. The tests count blocks, not
time: https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STATIO-ALL-TABLES-VIEW
"""

from collections.abc import Callable, Iterator

import pytest

from models.order import Status
from models.postgresql.store import PostgresqlStore
from models.writes.attempts import Outcome
from models.writes.insertion import NewOrders
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.shorthand_store import ShorthandStore
from tests.postgresql.databases import EmptiedDatabase, connect, emptied_database, execute

pytestmark = pytest.mark.postgresql

ROUNDS = 12
BATCH = 2_000
MAX_BLOCKS = 100
"""How many blocks of the table `work` and its indexes a step may read. Their dead rows need more than 200 blocks."""
BLOCKS = """
SELECT sum(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit)::bigint
FROM pg_statio_user_tables WHERE relid = 'public.work'::regclass"""


@pytest.fixture
def database() -> Iterator[EmptiedDatabase]:
    """A database in which another program holds a snapshot. PostgreSQL does not vacuum the table `work` by itself.

    An automatic VACUUM would read all blocks, which would count for the step that runs at the same time.
    """
    database = emptied_database()
    execute(database.connection, "ALTER TABLE work SET (autovacuum_enabled = off)")
    with connect(database.url) as other, other.transaction():
        execute(other, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        execute(other, "SELECT count(*) FROM orders")
        yield database
    execute(database.connection, "ALTER TABLE work RESET (autovacuum_enabled)")


@pytest.fixture
def store(database: EmptiedDatabase, clock: Clock) -> ShorthandStore:
    """A store that has processed many orders since the snapshot was taken."""
    store = ShorthandStore(PostgresqlStore(database.store_connection, clock=clock, read_database_us=clock))
    store.recover()
    for number in range(ROUNDS):
        store.write([NewOrders([new_order(number * BATCH + each + 1) for each in range(BATCH)])])
        claimed = store.claim(BATCH)
        assert len(claimed) == BATCH
        store.finish(*(Outcome(order.sequence, order.claims, Status.COMPLETED) for order in claimed))
    return store


def blocks_of(database: EmptiedDatabase, step: Callable[[], object]) -> int:
    """How many blocks of the table `work` and its indexes the step reads."""

    def count() -> int:
        # The counts of a connection are published after the next statement. Without this statement, earlier reads of
        # the other connection would be published up to ten seconds later, and be counted for a later step.
        for statement in ("SELECT pg_stat_force_next_flush()", "SELECT 1"):
            database.store_connection.execute_sql(statement)
            execute(database.connection, statement)
        [[blocks]] = execute(database.connection, BLOCKS)
        return int(blocks)

    before = count()
    step()
    return count() - before


def test_no_step_reads_the_rows_of_orders_that_were_processed(
    database: EmptiedDatabase, store: ShorthandStore, clock: Clock
) -> None:
    next_id = iter(range(1_000_000, 2_000_000))

    def insert() -> None:
        store.insert(new_order(next(next_id)))

    def claim_new() -> None:
        store.insert_and_claim(new_order(next(next_id)))

    def fail_and_claim_again() -> None:
        order = store.insert_and_claim(new_order(next(next_id)))
        store.finish_attempt(order, Status.PENDING, "down", due_us=clock.now_us + SECOND_US)
        clock.now_us += SECOND_US
        assert [each.order_id for each in store.claim(1)] == [order.order_id]

    def put_back_and_claim_again() -> None:
        order = store.insert_and_claim(new_order(next(next_id)))
        store.finish_attempt(order, Status.PENDING)
        assert [each.order_id for each in store.claim(1)] == [order.order_id]

    store.claim(1)
    steps = {
        "insert": insert,
        "claim": lambda: store.claim(1),
        "tend": store.tend,
        "claim new after tend": claim_new,
        "claim none": lambda: store.claim(10),
        "claim new": claim_new,
        "retry": fail_and_claim_again,
        "put back": put_back_and_claim_again,
        "claim new after retry": claim_new,
        "totals": store.totals,
    }
    blocks = {name: blocks_of(database, step) for name, step in steps.items()}
    assert {name: count for name, count in blocks.items() if count > MAX_BLOCKS} == {}
