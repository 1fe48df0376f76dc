"""Outcomes of a server whose orders were taken over change nothing, and are neither published nor counted."""

import pytest

from models.changes.order_changes import OrderChange, changes_in
from models.errors import StorageBusyError
from models.order import Ending, Status
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.insertion import Insertion
from tests.models.postgresql.engine import PostgresqlEngine
from tests.models.postgresql.two_servers import LEASE_S, Server, check, completed
from tests.models.samples import new_order
from tests.postgresql.databases import connect, execute

pytestmark = pytest.mark.postgresql

ACCEPTED = Insertion.ACCEPTED


@pytest.mark.parametrize("taken_over_as", [Status.PENDING, Status.FAILED])
def test_outcomes_of_a_server_whose_orders_were_taken_over_change_no_status(
    engine: PostgresqlEngine, servers: tuple[Server, Server], taken_over_as: Status
) -> None:
    first, second = servers
    second.recover(lambda attempt: Outcome(attempt.sequence, attempt.claim, taken_over_as, "killed", due_us=0))
    first.insert(*map(new_order, range(1, 6)))
    lost = first.claim(4)
    second.live(LEASE_S)
    engine.expire_leases()
    second.live(1)
    [own] = first.claim(10)[-1:]
    late = [
        Outcome(lost[0].sequence, 1, Status.COMPLETED),
        Outcome(lost[1].sequence, 1, Status.FAILED, "no", ending=Ending.REJECTED),
        Outcome(lost[2].sequence, 1, Status.PENDING, "down", due_us=5, ending=Ending.FAILED),
        Outcome(lost[3].sequence, 1, Status.PENDING),
    ]
    write = FinishAndClaim([*late, completed(own.attempt)], 0, [*lost, own])
    results = first.write([write])
    assert results == [ClaimedOrders([], rejected=frozenset((order.sequence, 1) for order in lost))]
    assert changes_in([write], results) == [OrderChange(own.order_id, own.user_id, Status.COMPLETED, own.attempts)]
    check(engine, first)


def test_outcomes_that_are_sent_again_because_a_commit_was_not_known_are_not_rejected(
    servers: tuple[Server, Server],
) -> None:
    first, _ = servers
    first.insert(*map(new_order, range(1, 4)))
    orders = first.claim()
    done, failed, retried = orders
    outcomes = [
        completed(done.attempt),
        Outcome(failed.sequence, 1, Status.FAILED, "no\0", ending=Ending.REJECTED),
        Outcome(retried.sequence, 1, Status.PENDING, "down", due_us=5, ending=Ending.FAILED),
    ]
    write = FinishAndClaim(outcomes, 0, orders)
    changes = [changes_in([write], first.write([write])) for _ in range(2)]
    assert [change.status for change in changes[0]] == [Status.COMPLETED, Status.FAILED, Status.PENDING]
    assert changes[1] == changes[0]


def test_a_server_whose_row_stays_locked_goes_on_as_a_new_server(
    engine: PostgresqlEngine, servers: tuple[Server, Server]
) -> None:
    first, second = servers
    first.insert(new_order(1))
    [order] = first.claim()
    with connect(engine.url) as other, other.transaction():
        execute(other, "SELECT 1 FROM nodes FOR UPDATE")
        with pytest.raises(StorageBusyError):
            first.insert(new_order(2))
        assert first.insert(new_order(2)) == [ACCEPTED]
        assert [each.order_id for each in first.claim()] == [2]
    assert first.write([FinishAndClaim([completed(order.attempt)], 0, [order])]) == [
        ClaimedOrders([], rejected=frozenset({(order.sequence, 1)}))
    ]
    second.live(LEASE_S)
    engine.expire_leases()
    second.live(1)
    assert second.find_one(1).status is Status.PENDING
    check(engine, second)
