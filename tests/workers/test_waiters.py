"""Who waits for an order's end, and who wakes them."""

import asyncio
from contextlib import ExitStack

import pytest

from models.changes import OrderChange
from models.errors import QueueFullError
from models.order import Status
from workers.waiters import CompletionWaiters


def change(order_id: int, status: Status) -> OrderChange:
    return OrderChange(order_id, 1, status)


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_everybody_who_waits_for_an_order_wakes_at_its_end(status: Status) -> None:
    finals = CompletionWaiters(max_waiting=3)
    with finals.waiting_for(1) as one, finals.waiting_for(1) as other, finals.waiting_for(2) as stranger:
        finals.publish([change(3, status), change(1, status)])
        assert (one.is_set(), other.is_set(), stranger.is_set()) == (True, True, False)


@pytest.mark.parametrize("status", [Status.PENDING, Status.PROCESSING])
def test_what_is_no_end_wakes_nobody(status: Status) -> None:
    finals = CompletionWaiters(max_waiting=1)
    with finals.waiting_for(1) as ended:
        finals.publish([change(1, status)])
        assert not ended.is_set()


def test_an_order_that_ends_and_is_tried_again_has_ended() -> None:
    finals = CompletionWaiters(max_waiting=1)
    with finals.waiting_for(1) as ended:
        finals.publish([change(1, Status.FAILED), change(1, Status.PENDING)])
        assert ended.is_set()


def test_no_more_wait_than_may_and_who_leaves_makes_room() -> None:
    finals = CompletionWaiters(max_waiting=2)
    assert not finals
    with ExitStack() as waiting:
        for _ in range(2):
            waiting.enter_context(finals.waiting_for(1))
        assert finals
        with pytest.raises(QueueFullError), finals.waiting_for(2):
            pass
    assert not finals
    with pytest.raises(asyncio.CancelledError), finals.waiting_for(1):
        raise asyncio.CancelledError
    with finals.waiting_for(1), finals.waiting_for(2):
        assert finals
    assert not finals


def test_a_close_wakes_everybody_and_those_who_come_later() -> None:
    finals = CompletionWaiters(max_waiting=3)
    with finals.waiting_for(1) as one, finals.waiting_for(2) as other:
        finals.close()
        finals.close()
        with finals.waiting_for(3) as late:
            assert (one.is_set(), other.is_set(), late.is_set()) == (True, True, True)
