"""Two servers on one database: they do not block each other, and when one dies, the other takes over its orders."""

import threading
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from models.errors import BacklogFullError
from models.order import Status
from models.writes.attempts import Outcome
from models.writes.commands import Cancel, SetPaused
from models.writes.insertion import Insertion, NewOrder
from tests.models.postgresql.engine import PostgresqlEngine
from tests.models.postgresql.two_servers import LEASE_S, Server, check, completed
from tests.models.samples import SECOND_US, Clock, new_order
from tests.postgresql.databases import connect, execute
from tests.process import wait_until

pytestmark = pytest.mark.postgresql

ACCEPTED, REPLAYED = Insertion.ACCEPTED, Insertion.REPLAYED


# Work is shared


def test_an_order_is_claimed_by_one_server(engine: PostgresqlEngine, servers: tuple[Server, Server]) -> None:
    first, second = servers
    first.insert(*map(new_order, range(1, 7)))
    claimed = [[order.order_id for order in server.claim(2)] for server in (first, second, first)]
    assert claimed == [[1, 2], [3, 4], [5, 6]]
    assert second.claim() == []
    check(engine, first)


def test_each_server_sees_what_the_other_has_stored(engine: PostgresqlEngine, servers: tuple[Server, Server]) -> None:
    first, second = servers
    assert first.insert(new_order(1), new_order(2)) == [ACCEPTED, ACCEPTED]
    assert second.insert(new_order(1), new_order(2, user_id=9), new_order(3)) == [REPLAYED, 2, ACCEPTED]
    second.write([Cancel(1), SetPaused(True)])
    assert first.claim() == []
    assert first.totals() == second.totals()
    assert first.is_paused
    assert first.find([1, 3]) == second.find([1, 3])
    check(engine, first)


def test_an_idle_server_learns_of_a_pause_and_of_its_end(servers: tuple[Server, Server]) -> None:
    first, second = servers
    for is_paused in (True, False):
        first.write([SetPaused(is_paused)])
        assert second.is_paused is not is_paused
        second.live(1)
        assert second.is_paused is is_paused


def test_every_server_counts_the_resumes_of_all(servers: tuple[Server, Server]) -> None:
    first, second = servers
    assert second.resumes is None
    for is_paused, changes, resumes in ((True, True, 0), (False, True, 1), (False, False, 2), (True, True, 2)):
        assert first.write([SetPaused(is_paused)]) == [changes]
        second.live(1)
        assert second.resumes == resumes


def test_the_orders_of_both_servers_count_towards_the_limit(servers: tuple[Server, Server]) -> None:
    first, second = servers
    first.insert(new_order(1), new_order(2))
    # A server knows how many orders were Pending at its previous transaction.
    second.insert(new_order(3))
    [refused] = second.write([new_order(4)], max_pending=3)
    assert isinstance(refused, BacklogFullError)


def test_a_server_accepts_orders_again_when_another_one_has_reduced_the_backlog(servers: tuple[Server, Server]) -> None:
    first, second = servers
    first.insert(*map(new_order, range(1, 4)))
    second.live(1)
    [refused] = second.write([new_order(4)], max_pending=3)
    assert isinstance(refused, BacklogFullError)
    first.claim(2)
    second.live(1)
    accepted = second.write([new_order(4), new_order(5), new_order(6)], max_pending=3)
    assert accepted[:2] == [ACCEPTED, ACCEPTED]
    assert isinstance(accepted[2], BacklogFullError)


def test_only_the_server_that_claimed_an_order_can_end_the_attempt(
    engine: PostgresqlEngine, servers: tuple[Server, Server]
) -> None:
    first, second = servers
    first.insert(new_order(1))
    [order] = first.claim()
    second.finish(completed(order.attempt))
    assert first.find_one(1) == order
    first.finish(completed(order.attempt))
    assert first.find_one(1).status is Status.COMPLETED
    check(engine, second)


def test_a_server_claims_an_order_that_the_other_one_has_put_back(servers: tuple[Server, Server]) -> None:
    first, second = servers
    first.insert(*map(new_order, range(1, 4)))
    one, _, _ = first.claim()
    assert second.claim() == []
    first.finish_attempt(one, Status.PENDING)
    second.live(1)
    assert [(order.order_id, order.claims) for order in second.claim()] == [(1, 2)]


@pytest.mark.slow
def test_the_same_orders_in_opposite_sequences_cause_no_deadlock(
    engine: PostgresqlEngine, servers: tuple[Server, Server]
) -> None:
    rounds, count = 20, 300
    barrier = threading.Barrier(2)
    results: dict[int, list[Insertion | int]] = {}

    def insert(place: int, server: Server) -> None:
        server.connect()
        try:
            found: list[Insertion | int] = []
            for number in range(rounds):
                orders: Sequence[NewOrder] = [new_order(number * count + each + 1) for each in range(count)]
                barrier.wait()
                inserted = server.insert(*(orders if place else reversed(orders)))
                found += inserted if place else reversed(inserted)
            results[place] = found
        finally:
            server.disconnect()

    threads = [threading.Thread(target=insert, args=item) for item in enumerate(servers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pairs = list(zip(results[0], results[1], strict=True))
    assert len(pairs) == rounds * count
    assert {frozenset(pair) for pair in pairs} == {frozenset({ACCEPTED, REPLAYED})}
    check(engine, servers[0])


# Leases


def test_a_server_that_lives_is_not_taken_over(engine: PostgresqlEngine, servers: tuple[Server, Server]) -> None:
    first, second = servers
    first.insert(new_order(1))
    first.claim()
    for _ in range(3 * LEASE_S):
        first.live(1)
        second.live(1)
    assert first.find_one(1).status is Status.PROCESSING
    check(engine, second)


@pytest.mark.parametrize("status", [Status.PENDING, Status.FAILED])
def test_the_orders_of_a_server_that_died_are_taken_over(
    engine: PostgresqlEngine, servers: tuple[Server, Server], status: Status
) -> None:
    first, second = servers
    second.recover(lambda attempt: Outcome(attempt.sequence, attempt.claim, status, "killed", due_us=0))
    first.insert(*map(new_order, (1, 2)))
    [order] = first.claim(1)
    second.live(LEASE_S)
    engine.expire_leases()
    second.live(1)
    taken = second.find_one(1)
    assert (taken.status, taken.error, taken.claims) == (status, "killed", 1)
    assert engine.server_count() == 1
    check(engine, second)
    # The first server was only slow: its outcome changes nothing, and it continues as a new server.
    first.finish_attempt(order, Status.COMPLETED)
    assert first.find_one(1) == taken
    assert engine.server_count() == 2
    second.claim(1 if status is Status.PENDING else 0)
    assert [each.order_id for each in first.claim()] == [2]
    check(engine, first)


@pytest.mark.slow
@pytest.mark.parametrize("is_server", [True, False])
def test_a_server_that_was_frozen_while_it_sent_a_batch_is_taken_over(
    engine: PostgresqlEngine, servers: tuple[Server, Server], is_server: bool
) -> None:
    """Its transaction locks its row. PostgreSQL does not end the transaction, because it is in a pipeline."""
    first, second = servers
    first.insert(new_order(1))
    first.claim()
    second.live(LEASE_S)
    engine.expire_leases()

    def is_taken_over() -> bool:
        second.live(1)
        return second.find_one(1).status is Status.PENDING

    name = "orders" if is_server else "psql"
    with connect(f"{engine.url}&application_name={name}") as frozen, connect(engine.url) as other:
        lock_row_in_pipeline(frozen)
        age = "SELECT clock_timestamp() - xact_start > make_interval(secs => %s) FROM pg_stat_activity WHERE pid = %s"
        wait_until(lambda: execute(other, age, LEASE_S, frozen.info.backend_pid) == [(True,)])
        if is_server:
            wait_until(is_taken_over)
        else:
            assert not any(is_taken_over() for _ in range(3))
        frozen.close()
    wait_until(is_taken_over)
    check(engine, second)


def lock_row_in_pipeline(connection: psycopg.Connection[Any]) -> None:
    """Locks the row of the first server, as a server does at the beginning of a batch, and sends nothing more."""
    connection.execute("SET idle_in_transaction_session_timeout = '1s'")
    connection.pgconn.enter_pipeline_mode()
    for statement in (b"BEGIN", b"UPDATE nodes SET beat = beat WHERE node = (SELECT min(node) FROM nodes)"):
        connection.pgconn.send_query_params(statement, None)
    connection.pgconn.send_flush_request()
    connection.pgconn.flush()


def test_a_server_takes_over_only_after_it_has_lived_for_a_whole_lease(
    engine: PostgresqlEngine, servers: tuple[Server, Server]
) -> None:
    first, second = servers
    first.insert(new_order(1))
    first.claim()
    second.live(LEASE_S - 1)
    engine.expire_leases()
    second.monotonic_s += LEASE_S + 1  # as if no server could reach the database
    second.live(1)
    assert first.find_one(1).status is Status.PROCESSING
    assert engine.server_count() == 2
    engine.expire_leases()
    second.live(LEASE_S)
    assert first.find_one(1).status is Status.PENDING
    check(engine, second)


def test_a_server_whose_orders_were_taken_over_writes_its_batch_as_a_new_server(
    engine: PostgresqlEngine, servers: tuple[Server, Server]
) -> None:
    first, second = servers
    first.insert(new_order(1))
    [order] = first.claim()
    second.live(LEASE_S)
    engine.expire_leases()
    second.live(1)
    results = first.write([new_order(2), Cancel(1)])
    assert results[0] is ACCEPTED
    assert first.find_one(1).status is Status.CANCELLED
    assert first.find_one(1).claims == order.claims
    check(engine, first)


def test_many_attempts_of_a_server_that_died_are_taken_over(
    engine: PostgresqlEngine, servers: tuple[Server, Server]
) -> None:
    first, second = servers
    first.insert(*map(new_order, range(1, 2_501)))
    assert len(first.claim(2_500)) == 2_500
    second.live(LEASE_S)
    engine.expire_leases()
    second.live(1)
    totals = second.totals()
    assert (totals.pending, totals.processing, engine.server_count()) == (2_500, 0, 1)
    check(engine, second)


def test_a_server_that_stops_leaves_its_totals_and_no_lease(
    engine: PostgresqlEngine, servers: tuple[Server, Server]
) -> None:
    first, second = servers
    first.insert(*map(new_order, range(1, 4)))
    [order] = first.claim(1)
    first.finish(completed(order.attempt))
    totals = first.totals()
    first.disconnect()
    assert engine.server_count() == 1
    assert second.totals() == totals
    check(engine, second)


def test_the_running_attempts_of_a_server_that_stops_are_taken_over_at_once(
    engine: PostgresqlEngine, servers: tuple[Server, Server]
) -> None:
    first, second = servers
    first.insert(new_order(1))
    first.claim()
    first.disconnect()
    second.live(1)
    assert second.find_one(1).status is Status.PENDING
    assert engine.server_count() == 1
    check(engine, second)


def test_an_idle_server_renews_its_lease(engine: PostgresqlEngine, servers: tuple[Server, Server]) -> None:
    first, second = servers
    first.insert(new_order(1))
    first.claim()
    second.live(LEASE_S)
    engine.expire_leases()
    first.live(1)
    second.live(1)
    assert first.find_one(1).status is Status.PROCESSING


# Due times


def test_a_retry_is_due_at_the_same_moment_on_servers_with_different_clocks(
    engine: PostgresqlEngine, clock: Clock
) -> None:
    ahead = Clock(clock.now_us + 3_600 * SECOND_US)
    first, second = Server(engine, clock, database_clock=clock), Server(engine, ahead, database_clock=clock)
    for server in (first, second):
        server.connect()
        server.recover()
    first.insert(new_order(1))
    [order] = first.claim()
    first.finish_attempt(order, Status.PENDING, "down", due_us=clock.now_us + 10 * SECOND_US)
    assert second.find_one(1).due_us == ahead.now_us + 10 * SECOND_US
    for each in (clock, ahead):
        each.now_us += 9 * SECOND_US
    assert second.claim() == []
    for each in (clock, ahead):
        each.now_us += SECOND_US
    assert [each.order_id for each in second.claim()] == [1]
    first.disconnect()
    second.disconnect()
