"""A store that reaches its database through a proxy, and a batch of writes of all kinds."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from msgspec.structs import replace

from models.database.address import PostgresqlUrl
from models.errors import BacklogFullError, OrderConflictError, WrongStatusError
from models.order import AttemptRecord, Ending, Order, Status, Totals
from models.postgresql.connection.bounded import ANSWER_S
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.store import PostgresqlStore
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.commands import Cancel, RetriedOrders, Retry, RetryOrders, RetrySelection, StatusChanged
from models.writes.insertion import NewOrders
from models.writes.write import AnyWrite
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.shorthand_store import ShorthandStore

IDS = [*range(1, 8), 10, 11, 12]
"""The ids of all orders that `prepare` and `batch_of_all_kinds` use."""


@contextmanager
def opened_store(
    url: str,
    clock: Clock,
    *,
    deadline_s: float,
    answer_s: float = ANSWER_S,
    before_retry: Callable[[], None] = lambda: None,
) -> Iterator[ShorthandStore]:
    """The store of a new process, on a connection of its own. It retries temporary errors for `deadline_s` seconds."""

    def jitter() -> float:
        before_retry()
        return 0

    database = RetryingPostgresqlDatabase(PostgresqlUrl(url), deadline_s=deadline_s, answer_s=answer_s, jitter=jitter)
    database.connect()
    try:
        store = ShorthandStore(PostgresqlStore(database, clock=clock, read_database_us=clock))
        store.recover()
        yield store
    finally:
        database.close()


def prepare(store: ShorthandStore, clock: Clock) -> list[Order]:
    """Stores orders of every status. Returns those that are Processing: 1 to 3."""
    store.insert(*map(new_order, range(1, 8)))
    running = store.claim(5)
    failed, waiting = running[3:]
    store.finish_attempt(failed, Status.FAILED, "no", ending=Ending.REJECTED)
    due_us = clock.now_us + 3_600 * SECOND_US
    store.finish_attempt(waiting, Status.PENDING, "down", due_us=due_us, ending=Ending.FAILED)
    return running[:3]


def batch_of_all_kinds(running: Sequence[Order], clock: Clock) -> list[AnyWrite]:
    """Ends the running attempts, and has a write of each kind. Orders 6 and 7 are Pending, 4 is Failed, 5 waits."""
    completed, failed, retried = running
    outcomes = [
        Outcome(completed.sequence, completed.claims, Status.COMPLETED),
        Outcome(failed.sequence, failed.claims, Status.FAILED, "no", ending=Ending.FAILED),
        Outcome(retried.sequence, retried.claims, Status.PENDING, "later", clock.now_us + SECOND_US, Ending.FAILED),
    ]
    return [
        FinishAndClaim(outcomes, 4, running),
        new_order(10, metadata='{"a": 1}'),
        new_order(1),
        new_order(6, user_id=9),
        NewOrders([new_order(11), new_order(10, metadata='{"a": 1}'), new_order(12)]),
        Cancel(7),
        Retry(5),
        RetryOrders(RetrySelection(status=Status.FAILED, error="n"), 10),
    ]


class Contents(NamedTuple):
    """What a store contains, without the sequences, which can have gaps."""

    orders: list[Order | None]
    histories: list[list[AttemptRecord] | None]
    totals: Totals


def contents_of(store: ShorthandStore) -> Contents:
    orders = [_without_sequence(order) for order in store.find(IDS)]
    return Contents(orders, [store.history(each) for each in IDS], store.totals())


def plain_results(results: Sequence[object]) -> list[object]:
    """The results of a batch, without sequences, in a form that can be compared."""
    return [_plain(result) for result in results]


def _plain(result: object) -> object:
    match result:
        case ClaimedOrders():
            return [_without_sequence(order) for order in result.orders], result.next_due_us
        case StatusChanged():
            return _without_sequence(result.order), result.previous_status
        case RetriedOrders():
            return [order.order_id for order in result.orders], result.rest
        case OrderConflictError() | BacklogFullError() | WrongStatusError():
            return str(result)
        case list():
            return plain_results(result)
        case _:
            return result


def _without_sequence(order: object) -> Order | None:
    assert order is None or isinstance(order, Order)
    return order and replace(order, sequence=0)
