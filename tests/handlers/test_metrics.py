"""`GET /metrics`: the eleven numbers."""

from decimal import Decimal

import pytest

from models.order import Status
from models.writes import Outcome
from tests.handlers.service import Service
from tests.models.samples import SECOND_US, order_text

EMPTY = {
    "total_orders": 0,
    "avg_processing_time": 0,
    "pending_orders": 0,
    "processing_orders": 0,
    "completed_orders": 0,
    "failed_orders": 0,
    "cancelled_orders": 0,
    "oldest_pending_seconds": 0,
    "accepted_per_second": Decimal("3.142"),
    "completed_per_second": Decimal("2.718"),
    "uptime_seconds": Decimal("12.346"),
}


@pytest.mark.gen_test
async def test_without_orders_all_counts_are_nought_and_in_their_order(service: Service) -> None:
    answer = await service.get("/metrics")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert list(answer.json.items()) == list(EMPTY.items())


@pytest.mark.gen_test
async def test_each_order_is_counted_where_it_is(service: Service) -> None:
    for order_id in range(1, 7):
        assert (await service.post(order_text(order_id=str(order_id)))).status == 202
        service.clock.now_us += SECOND_US
    claimed = await service.finish_and_claim([], 4)
    outcomes = [
        Outcome(order.sequence, order.claims, status)
        for order, status in zip(claimed, [Status.COMPLETED, Status.COMPLETED, Status.FAILED], strict=False)
    ]
    await service.finish_and_claim(outcomes, 0)
    service.clock.now_us += 2 * SECOND_US
    assert (await service.get("/metrics")).json == EMPTY | {
        "total_orders": 6,
        # Accepted 6 s and 5 s before they were completed; the failed one does not count.
        "avg_processing_time": Decimal("5.5"),
        "pending_orders": 2,
        "processing_orders": 1,
        "completed_orders": 2,
        "failed_orders": 1,
        "oldest_pending_seconds": 4,
    }


@pytest.mark.gen_test
async def test_a_clock_that_goes_back_makes_no_order_younger_than_now(service: Service) -> None:
    await service.post(order_text())
    service.clock.now_us -= 60 * SECOND_US
    assert (await service.get("/metrics")).json["oldest_pending_seconds"] == 0


@pytest.mark.gen_test
async def test_refused_orders_and_replays_are_not_counted(service: Service) -> None:
    for body in (order_text(), order_text(), order_text(user_id="2"), order_text(order_id="0"), b"{"):
        await service.post(body)
    metrics = (await service.get("/metrics")).json
    assert (metrics["total_orders"], metrics["pending_orders"]) == (1, 1)
