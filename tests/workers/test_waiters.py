"""Tasks that wait until an order has ended."""

import asyncio
from contextlib import ExitStack

import pytest

from models.changes.order_changes import OrderChange
from models.errors import QueueFullError
from models.order import Status
from tests.cases import cases
from workers.waiters import CompletionWaiters


def change(order_id: int, status: Status) -> OrderChange:
    return OrderChange(order_id, 1, status)


@cases("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_all_tasks_that_wait_for_an_order_wake_when_it_ends(status: Status) -> None:
    waiters = CompletionWaiters(max_waiting=3)
    with waiters.waiting_for(1) as one, waiters.waiting_for(1) as other, waiters.waiting_for(2) as unrelated:
        waiters.publish([change(3, status), change(1, status)])
        assert (one.is_set(), other.is_set(), unrelated.is_set()) == (True, True, False)


@pytest.mark.parametrize("status", [Status.PENDING, Status.PROCESSING])
def test_other_changes_wake_no_task(status: Status) -> None:
    waiters = CompletionWaiters(max_waiting=1)
    with waiters.waiting_for(1) as ended:
        waiters.publish([change(1, status)])
        assert not ended.is_set()


def test_an_order_that_ends_and_is_retried_wakes_its_tasks() -> None:
    waiters = CompletionWaiters(max_waiting=1)
    with waiters.waiting_for(1) as ended:
        waiters.publish([change(1, Status.FAILED), change(1, Status.PENDING)])
        assert ended.is_set()


def test_at_most_max_waiting_tasks_wait_and_each_frees_its_place() -> None:
    waiters = CompletionWaiters(max_waiting=2)
    assert not waiters
    with ExitStack() as waiting:
        for _ in range(2):
            waiting.enter_context(waiters.waiting_for(1))
        assert waiters
        with pytest.raises(QueueFullError), waiters.waiting_for(2):
            pass
    assert not waiters
    with pytest.raises(asyncio.CancelledError), waiters.waiting_for(1):
        raise asyncio.CancelledError
    with waiters.waiting_for(1), waiters.waiting_for(2):
        assert waiters
    assert not waiters


def test_close_wakes_all_tasks_and_later_ones_do_not_wait() -> None:
    waiters = CompletionWaiters(max_waiting=3)
    with waiters.waiting_for(1) as one, waiters.waiting_for(2) as other:
        waiters.close()
        waiters.close()
        with waiters.waiting_for(3) as late:
            assert (one.is_set(), other.is_set(), late.is_set()) == (True, True, True)
