"""If an order can't be stored, claimed or finished, only this order fails, and not the other orders of its batch."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from models.database.health import Work
from models.errors import StorageDamagedError, StorageUnavailableError
from models.order import Status
from models.transactions.parts import MAX_FAILURES
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.commands import Cancel, StatusChanged
from models.writes.insertion import Insertion, NewOrders
from tests.models.postgresql.engine import PostgresqlEngine
from tests.models.samples import Clock, new_order
from tests.models.shorthand_store import ShorthandStore
from tests.postgresql.databases import connect, execute

pytestmark = pytest.mark.postgresql

ACCEPTED = Insertion.ACCEPTED


@pytest.fixture
def engine() -> Iterator[PostgresqlEngine]:
    engine = PostgresqlEngine()
    yield engine
    engine.close()


@pytest.fixture
def store(engine: PostgresqlEngine, clock: Clock) -> ShorthandStore:
    return ShorthandStore(engine.open(clock))


@contextmanager
def failing(engine: PostgresqlEngine, event: str, condition: str, *, code: str = "XX001") -> Iterator[None]:
    """While the block runs, the event, such as `INSERT ON orders`, fails like a damaged page for these rows."""
    with connect(engine.url) as connection:
        execute(
            connection,
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION 'invalid page' USING ERRCODE = '{code}'; END $$",
        )
        execute(
            connection,
            f"CREATE TRIGGER failing BEFORE {event} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION fail()",
        )
        try:
            yield
        finally:
            execute(connection, "DROP FUNCTION fail CASCADE")


def test_an_order_that_can_not_be_stored_fails_alone(
    engine: PostgresqlEngine, store: ShorthandStore, caplog: pytest.LogCaptureFixture
) -> None:
    with failing(engine, "INSERT ON orders", "NEW.order_id = 5"):
        *single, several, claimed = store.write(
            [*map(new_order, range(1, 9)), NewOrders([new_order(5), new_order(9)]), FinishAndClaim([], 20)]
        )
    assert [result is ACCEPTED for result in single] == [True] * 4 + [False] + [True] * 3
    assert isinstance(single[4], StorageDamagedError)
    assert isinstance(several, list)
    assert (type(several[0]), several[1]) == (StorageDamagedError, ACCEPTED)
    assert isinstance(claimed, ClaimedOrders)
    assert [order.order_id for order in claimed.orders] == [1, 2, 3, 4, 6, 7, 8, 9]
    assert store.is_up(Work.WRITES)
    assert [each for each in caplog.messages if "order 5" in each] == [
        "order 5 can't be read or written: invalid page (XX001); to check the database: pg_amcheck"
    ]
    assert store.insert(new_order(5)) == [ACCEPTED]
    engine.check()


def test_an_outcome_that_can_not_be_recorded_does_not_stop_the_others(
    engine: PostgresqlEngine, store: ShorthandStore
) -> None:
    store.insert(*map(new_order, (1, 2, 3)))
    first, second, third = store.claim()
    outcomes = [Outcome(order.sequence, 1, Status.COMPLETED) for order in (first, second, third)]
    with failing(engine, "DELETE ON work", f"OLD.sequence = {second.sequence}"):
        accepted, claimed = store.write([new_order(4), FinishAndClaim(outcomes, 10, [first, second, third])])
    assert accepted is ACCEPTED
    assert isinstance(claimed, ClaimedOrders)
    assert [order.order_id for order in claimed.orders] == [4]
    assert claimed.rejected == {(second.sequence, 1)}
    statuses = [store.find_one(order_id).status for order_id in (1, 2, 3)]
    assert statuses == [Status.COMPLETED, Status.PROCESSING, Status.COMPLETED]
    store.finish(outcomes[1])
    assert store.find_one(2).status is Status.COMPLETED
    engine.check()


def test_a_cancel_that_fails_does_not_stop_the_others(engine: PostgresqlEngine, store: ShorthandStore) -> None:
    store.insert(*map(new_order, (1, 2)))
    with failing(engine, "INSERT ON ends", f"NEW.sequence = {store.find_one(1).sequence}"):
        failed, cancelled = store.write([Cancel(1), Cancel(2)])
    assert isinstance(failed, StorageDamagedError)
    assert cancelled == StatusChanged(store.find_one(2), Status.PENDING)
    assert store.find_one(1).status is Status.PENDING


def test_a_batch_of_which_everything_fails_raises_the_error(engine: PostgresqlEngine, store: ShorthandStore) -> None:
    with failing(engine, "INSERT ON orders", "true"), pytest.raises(StorageDamagedError, match="invalid page"):
        store.write([new_order(1), NewOrders([new_order(2)])])
    assert not store.is_up(Work.WRITES)
    store.probe(Work.WRITES)
    assert store.is_up(Work.WRITES)
    assert store.totals().orders == 0


def test_after_many_failures_the_rest_of_the_batch_is_not_tried(
    engine: PostgresqlEngine, store: ShorthandStore
) -> None:
    with failing(engine, "INSERT ON orders", "NEW.order_id > 1"):
        first, *others = store.write([new_order(order_id) for order_id in range(1, 10 * MAX_FAILURES)])
    assert first is ACCEPTED
    errors = [str(error) for error in others if isinstance(error, StorageUnavailableError)]
    assert len(errors) == len(others)
    assert errors[-1] == "not tried after other failures: invalid page"


def test_an_error_of_the_whole_database_fails_the_whole_batch(engine: PostgresqlEngine, store: ShorthandStore) -> None:
    with (
        failing(engine, "INSERT ON orders", "NEW.order_id = 5", code="53100"),
        pytest.raises(StorageUnavailableError, match="invalid page") as raised,
    ):
        store.write([*map(new_order, range(1, 9))])
    assert raised.value.code == "53100"
    assert not store.is_up(Work.WRITES)
    assert store.totals().orders == 0
    # The probe stores an order, so it notices that the cause of the failure is gone.
    store.probe(Work.WRITES)
    assert store.is_up(Work.WRITES)
    assert store.totals().orders == 0
