"""A connection breaks at any message of a batch: nothing is lost, nothing is done twice, and errors are correct."""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from models.database.address import PostgresqlUrl
from models.database.health import Work
from models.errors import CommitUnknownError, StorageError
from models.order import Status
from models.postgresql.connection.bounded import ANSWER_S
from models.postgresql.opening import open_postgresql_store
from models.writes.attempts import ClaimedOrders
from models.writes.insertion import Insertion
from models.writes.write import AnyWrite
from tests.models.postgresql.engine import PostgresqlEngine
from tests.models.postgresql.proxied_store import (
    IDS,
    Contents,
    batch_of_all_kinds,
    contents_of,
    opened_store,
    plain_results,
    prepare,
)
from tests.models.samples import Clock, new_order
from tests.models.shorthand_store import ShorthandStore
from tests.postgresql.databases import name_of, temporary_database
from tests.postgresql.proxy import Ending, Proxy, Side
from tests.process import wait_until

pytestmark = pytest.mark.postgresql

DEADLINE_S = 10.0
NO_ANSWER = r"PostgreSQL has not answered|timeout"
SHORT_ANSWER_S = 0.3
"""How long a store waits for an answer in tests in which PostgreSQL does not answer."""


class Trial:
    """A new store behind the proxy, with orders of every status, and a batch that is to be written."""

    def __init__(self, store: ShorthandStore, batch: list[AnyWrite], engine: PostgresqlEngine) -> None:
        self.store = store
        self.batch = batch
        self._engine = engine

    def contents(self) -> Contents:
        """What the store contains. Fails if the totals or the tables do not agree."""
        contents = contents_of(self.store)
        assert contents.totals == replace(self._engine.recount(), oldest_pending_us=contents.totals.oldest_pending_us)
        self._engine.check()
        return contents


class Expected(NamedTuple):
    """What a batch returns and stores if no connection breaks, and about how many messages each side sends.

    The number of messages varies, because a client that already has a result does not ask the server to flush it.
    """

    results: list[object]
    before: Contents
    after: Contents
    messages: dict[Side, int]


@contextmanager
def new_trial(proxy: Proxy, *, deadline_s: float, answer_s: float = ANSWER_S) -> Iterator[Trial]:
    engine, clock = PostgresqlEngine(), Clock()
    with opened_store(proxy.url(engine.name), clock, deadline_s=deadline_s, answer_s=answer_s) as store:
        yield Trial(store, batch_of_all_kinds(prepare(store, clock), clock), engine)


@pytest.fixture(scope="module")
def expected(proxy: Proxy) -> Expected:
    with new_trial(proxy, deadline_s=0) as trial:
        before = trial.contents()
    with new_trial(proxy, deadline_s=0) as trial:
        proxy.count()
        results = plain_results(trial.store.write(trial.batch))
        messages = proxy.count()
        return Expected(results, before, trial.contents(), messages)


def is_written_once(proxy: Proxy, expected: Expected, side: Side, number: int, ending: Ending = Ending.CLOSED) -> bool:
    """Cuts the connection at this message, and checks that the store writes the batch once all the same.

    Returns whether there was such a message.
    """
    answer_s = SHORT_ANSWER_S if ending is Ending.STALLED else ANSWER_S
    with new_trial(proxy, deadline_s=DEADLINE_S, answer_s=answer_s) as trial:
        proxy.cut_at(side, number, ending)
        assert plain_results(trial.store.write(trial.batch)) == expected.results, (side, number)
        proxy.count()
        was_cut = proxy.was_cut.is_set()
        assert trial.contents() == expected.after, (side, number)
        return was_cut


@pytest.mark.parametrize("side", Side)
def test_a_batch_is_written_once_if_the_connection_breaks_during_the_commit(
    proxy: Proxy, expected: Expected, side: Side
) -> None:
    last = expected.messages[side]
    was_cut = [is_written_once(proxy, expected, side, number) for number in range(last - 4, last + 1)]
    assert any(was_cut)


def test_a_batch_is_written_once_if_a_fatal_error_replaces_an_answer_to_the_commit(
    proxy: Proxy, expected: Expected
) -> None:
    """PostgreSQL can end a connection after it has committed, before it has sent all answers."""
    last = expected.messages[Side.SERVER]
    was_cut = [is_written_once(proxy, expected, Side.SERVER, each, Ending.FATAL) for each in range(last - 4, last + 1)]
    assert any(was_cut)


@pytest.mark.slow
@pytest.mark.parametrize("side", Side)
def test_a_batch_is_written_once_wherever_the_connection_breaks(proxy: Proxy, expected: Expected, side: Side) -> None:
    number = 1
    while is_written_once(proxy, expected, side, number):
        number += 1
    assert number > expected.messages[side] - 5


@pytest.mark.slow
@pytest.mark.parametrize("side", Side)
def test_an_error_says_whether_something_was_changed(proxy: Proxy, expected: Expected, side: Side) -> None:
    unknown = []
    number = 0
    is_cut = True
    while is_cut:
        number += 1
        with new_trial(proxy, deadline_s=0) as trial:
            proxy.cut_at(side, number)
            try:
                results = trial.store.write(trial.batch)
            except StorageError as error:
                proxy.count()
                contents = trial.contents()
                if isinstance(error, CommitUnknownError):
                    unknown.append(contents == expected.after)
                    assert contents in (expected.before, expected.after), (side, number)
                else:
                    assert contents == expected.before, (side, number)
                check_sent_again(trial)
            else:
                proxy.count()
                is_cut = proxy.was_cut.is_set()
                assert plain_results(results) == expected.results, (side, number)
                assert contents_after_a_cut(trial) == expected.after, (side, number)
                # A client that waits for the last answer also sends a Flush. The answer can arrive before the cut.
                assert side is Side.CLIENT or not is_cut
    assert number > expected.messages[side] - 5
    # At some cuts, the batch was written. At some cuts of the client's messages, it was not.
    assert True in unknown
    assert side is Side.SERVER or False in unknown


def contents_after_a_cut(trial: Trial) -> Contents:
    """What the store contains. The connection can have been cut after the last call, without an error."""
    with suppress(StorageError):
        trial.store.totals()
    return trial.contents()


def check_sent_again(trial: Trial) -> None:
    """Clients send their requests again after an error. After that, no order may stay Processing."""
    [claimed, *_] = trial.store.write(trial.batch)
    assert isinstance(claimed, ClaimedOrders)
    orders, _, _ = trial.contents()
    running = [order.order_id for order in orders if order and order.status is Status.PROCESSING]
    assert sorted(running) == sorted(order.order_id for order in claimed.orders)
    by_id = dict(zip(IDS, orders, strict=True))
    assert None not in orders
    completed, cancelled = by_id[1], by_id[7]
    assert completed is not None
    assert cancelled is not None
    assert (completed.status, cancelled.status) == (Status.COMPLETED, Status.CANCELLED)


@pytest.mark.slow
def test_a_commit_that_hangs_in_the_network_is_written_once(proxy: Proxy, expected: Expected) -> None:
    last = expected.messages[Side.CLIENT]
    numbers = range(last - 4, last + 1)
    was_cut = [is_written_once(proxy, expected, Side.CLIENT, number, Ending.SILENT) for number in numbers]
    assert any(was_cut)


@pytest.mark.slow
@pytest.mark.parametrize("side", Side)
def test_a_batch_is_written_once_wherever_the_network_stops_to_forward(
    proxy: Proxy, expected: Expected, side: Side
) -> None:
    number = 1
    while is_written_once(proxy, expected, side, number, Ending.STALLED):
        number += 1
    assert number > expected.messages[side] - 5


def test_a_batch_fails_in_time_if_nothing_is_forwarded(proxy: Proxy, expected: Expected) -> None:
    with new_trial(proxy, deadline_s=1, answer_s=SHORT_ANSWER_S) as trial:
        began_s = time.monotonic()
        with proxy.stall():
            for _ in range(2):
                with pytest.raises(StorageError, match=NO_ANSWER):
                    trial.store.write(trial.batch)
                with pytest.raises(StorageError, match=NO_ANSWER):
                    trial.store.find([1])
            assert not trial.store.is_up(Work.WRITES)
        # A connection that is being opened has three seconds.
        assert time.monotonic() - began_s < 30
        # Calls fail at once for a moment after a try that took long.
        wait_until(lambda: probe_succeeds(trial.store))
        assert plain_results(trial.store.write(trial.batch)) == expected.results
        assert trial.contents() == expected.after


def probe_succeeds(store: ShorthandStore) -> bool:
    try:
        store.probe(Work.WRITES)
    except StorageError:
        return False
    return True


def opens(proxy: Proxy, name: str, side: Side, number: int) -> bool:
    """Cuts the connection at this message of a start. The start must succeed all the same.

    Returns whether there was such a message.
    """
    proxy.cut_at(side, number)
    open_postgresql_store(PostgresqlUrl(proxy.url(name)), clock=Clock())
    with opened_store(proxy.url(name), Clock(), deadline_s=DEADLINE_S) as store:
        proxy.count()
        was_cut = proxy.was_cut.is_set()
        assert store.insert(new_order(1)) == [Insertion.ACCEPTED]
        assert store.totals().orders == store.totals().pending == 1
    return was_cut


@pytest.mark.slow
@pytest.mark.parametrize("side", Side)
def test_a_store_opens_wherever_the_connection_breaks(proxy: Proxy, side: Side) -> None:
    number = 1
    while opens(proxy, PostgresqlEngine().name, side, number):
        number += 1
    assert number > 20


@pytest.mark.slow
@pytest.mark.parametrize("side", Side)
def test_the_tables_are_created_once_wherever_the_connection_breaks(proxy: Proxy, side: Side) -> None:
    for number in itertools.count(1, step=5):
        with temporary_database() as url:
            if not opens(proxy, name_of(url), side, number):
                return


@pytest.mark.slow
@pytest.mark.parametrize("side", Side)
def test_a_store_that_stops_keeps_the_totals_wherever_the_connection_breaks(proxy: Proxy, side: Side) -> None:
    number, was_cut = 0, True
    while was_cut:
        number += 1
        with new_trial(proxy, deadline_s=DEADLINE_S) as trial:
            trial.store.write(trial.batch)
            totals = trial.store.totals()
            proxy.cut_at(side, number)
            trial.store.disconnect()
            proxy.count()
            was_cut = proxy.was_cut.is_set()
            trial.store.connect()
            assert trial.store.totals() == totals, (side, number)
    assert number > 5
