"""The answer to a COMMIT is lost, and before the server has a connection again, another server takes its orders over.

Clients get the results of the commit all the same, and no change is made, published or counted twice.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from models.errors import CommitUnknownError
from models.order import AttemptRecord, Ending, Status
from models.writes.attempts import ClaimedOrders, FinishAndClaim
from models.writes.commands import Cancel, Retry, RetryOrders, RetrySelection, SetPaused
from models.writes.insertion import NewOrders
from models.writes.write import AnyWrite
from tests.models.postgresql.engine import PostgresqlEngine
from tests.models.postgresql.feeds import changes_of, next_part, statuses
from tests.models.postgresql.proxied_store import IDS, batch_of_all_kinds, opened_store, plain_results, prepare
from tests.models.postgresql.two_servers import Server, check, completed
from tests.models.samples import Clock, new_order
from tests.models.shorthand_store import ShorthandStore
from tests.postgresql.databases import connect, execute
from tests.postgresql.proxy import Proxy, Side

pytestmark = pytest.mark.postgresql

DEADLINE_S = 10.0
FAILED, WAITING = (RetrySelection(status=status) for status in (Status.FAILED, Status.PENDING))
COMMANDS: list[AnyWrite] = [Cancel(6), Cancel(7), Retry(4), Retry(5), SetPaused(True)]
BULK_RETRIES: list[AnyWrite] = [Cancel(7), RetryOrders(FAILED, 10), RetryOrders(WAITING, 10)]
NEW_ORDERS: list[AnyWrite] = [Cancel(7), new_order(10), NewOrders([new_order(11), new_order(1)]), new_order(12)]


class Trial:
    """A store behind the proxy with orders of every status, and another server, which reads the feed.

    When the store retries for the first time, the other server takes its orders over, resumes processing, and completes
    the orders that are ready.
    """

    def __init__(self, engine: PostgresqlEngine, clock: Clock, other: Server) -> None:
        self._engine = engine
        self._other = other
        self.clock = clock
        self.was_committed: bool | None = None
        """Whether order 7 was Cancelled when the store retried. None before that."""

    def prepare(self, store: ShorthandStore) -> None:
        """Must be called once, with the store behind the proxy."""
        self.store = store
        [finish, *_] = batch_of_all_kinds(prepare(store, self.clock), self.clock)
        assert isinstance(finish, FinishAndClaim)
        self.finish = replace(finish, limit=0)
        """Ends the attempts at the orders 1 to 3."""
        next_part(self._other)

    def before_retry(self) -> None:
        if self.was_committed is None:
            other = self._other
            self.was_committed = other.find_one(7).status is Status.CANCELLED
            other.live(1)
            other.write([SetPaused(False)])
            other.finish(*(completed(order.attempt) for order in other.claim()))

    def failed_attempts(self) -> list[AttemptRecord]:
        """The recorded attempts at the orders 1 to 3 that failed."""
        histories = [self.store.history(each) for each in (1, 2, 3)]
        return [each for history in histories for each in history or () if each.ending is Ending.FAILED]

    def published(self) -> list[tuple[int, Status]]:
        """The changes since the last call."""
        return statuses(changes_of(next_part(self._other)))

    def check(self) -> None:
        """The totals and the tables agree, and no order is Processing."""
        check(self._engine, self.store)
        assert not [order for order in self.store.find(IDS) if order and order.status is Status.PROCESSING]


@contextmanager
def new_trial(proxy: Proxy, *, deadline_s: float = DEADLINE_S) -> Iterator[Trial]:
    engine, clock = PostgresqlEngine(), Clock()
    other = Server(engine, clock, database_clock=clock, lease_s=0)
    other.connect()
    try:
        other.recover()
        trial = Trial(engine, clock, other)
        url = proxy.url(engine.name)
        with opened_store(url, clock, deadline_s=deadline_s, before_retry=trial.before_retry) as store:
            trial.prepare(store)
            yield trial
    finally:
        other.database.close()


class Expected(NamedTuple):
    """What a batch returns and publishes if no answer is lost, and how many messages the database sends for it."""

    results: list[object]
    published: list[tuple[int, Status]]
    failed_attempts: list[AttemptRecord]
    messages: int


def without_lost_answer(proxy: Proxy, batch: Sequence[AnyWrite], *, limit: int = 0) -> Expected:
    with new_trial(proxy) as trial:
        proxy.count()
        results = trial.store.write([replace(trial.finish, limit=limit), *batch])
        messages = proxy.count()[Side.SERVER]
        return Expected(plain_results(results), trial.published(), trial.failed_attempts(), messages)


def after_lost_answers(
    proxy: Proxy, expected: Expected, batch: Sequence[AnyWrite], *, limit: int = 0
) -> Iterator[tuple[Trial, list[object]]]:
    """Cuts the connection at each of the last messages of the database, and yields the results of the batch.

    Yields only if the commit took place and the store did not know this.
    """
    lost = 0
    for number in range(expected.messages - 3, expected.messages + 1):
        with new_trial(proxy) as trial:
            proxy.cut_at(Side.SERVER, number)
            results = trial.store.write([replace(trial.finish, limit=limit), *batch])
            proxy.count()
            if trial.was_committed:
                lost += 1
                yield trial, plain_results(results)
            trial.check()
    assert lost


@pytest.mark.parametrize("batch", [COMMANDS, BULK_RETRIES, NEW_ORDERS], ids=["commands", "bulk retries", "new orders"])
def test_clients_get_the_results_of_a_commit_whose_answer_was_lost(proxy: Proxy, batch: list[AnyWrite]) -> None:
    expected = without_lost_answer(proxy, batch)
    count = len(expected.published)
    for trial, results in after_lost_answers(proxy, expected, batch):
        assert results == expected.results
        # The other server has resumed processing. A pause that is repeated would undo this.
        assert not trial.store.totals().is_paused
        assert trial.failed_attempts() == expected.failed_attempts
        published = trial.published()
        assert published[:count] == expected.published
        # The other server has claimed orders.
        assert {status for _, status in published[count:]} == {Status.PROCESSING}


def test_orders_that_were_claimed_by_a_commit_whose_answer_was_lost_are_not_processed_if_they_were_taken_over(
    proxy: Proxy,
) -> None:
    batch: list[AnyWrite] = [Cancel(7), new_order(10)]
    expected = without_lost_answer(proxy, batch, limit=1)
    for trial, (claim, *others) in after_lost_answers(proxy, expected, batch, limit=1):
        assert others == expected.results[1:]
        # The time of the next claim has come, so the dispatcher claims again at once.
        assert claim == ([], 0)
        assert trial.store.claim() == []


def test_an_outcome_that_is_sent_again_because_a_commit_was_not_known_is_not_published_again(proxy: Proxy) -> None:
    with new_trial(proxy, deadline_s=0) as trial:
        proxy.count()
        trial.store.write([trial.finish])
        messages = proxy.count()[Side.SERVER]
        published = trial.published()
        assert len(published) == len(trial.finish.outcomes)
    unknown = 0
    for number in range(messages - 3, messages + 1):
        with new_trial(proxy, deadline_s=0) as trial:
            proxy.cut_at(Side.SERVER, number)
            try:
                trial.store.write([trial.finish])
            except CommitUnknownError:
                unknown += 1
                assert trial.store.write([trial.finish]) == [ClaimedOrders([])]
            proxy.count()
            assert trial.published() == published
            trial.check()
    assert unknown


def test_the_last_commits_of_only_a_limited_number_of_servers_are_remembered(
    engine: PostgresqlEngine, servers: tuple[Server, Server]
) -> None:
    first, second = servers
    first.insert(new_order(1))
    remembered = "SELECT node FROM lost_nodes ORDER BY node"
    with connect(engine.url) as connection:
        [[node]] = execute(connection, "SELECT min(node) FROM nodes")
        execute(connection, "INSERT INTO lost_nodes VALUES (%s, now()), (%s, now())", node - 1_000, node - 999)
        execute(connection, "UPDATE nodes SET beat = '-infinity' WHERE node = %s", node)
        second.recover()
        assert execute(connection, remembered) == [(node - 999,), (node,)]
