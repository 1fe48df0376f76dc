"""The look at a shop through its answers: an order that is not as it was acknowledged is found."""

import asyncio
import time

from load.chaos.findings import Findings
from load.chaos.inspection import Inspection
from load.chaos.lifecycle import Lifecycle
from load.chaos.shop import Shop as ChaosShop
from tests.load.chaos.sending import send
from tests.load.conftest import SHORT_TIMEOUTS
from tests.load.shop import Fault, Shop

ORDERS = 20


class Undying(Lifecycle):
    """The fake shop is ended by its test."""

    async def terminate(self, shop: ChaosShop) -> float:
        return 0.0


def inspect(harmed: ChaosShop) -> tuple[bool, Findings]:
    """Send some orders, and give whether they were processed and what was found."""
    inspection = Inspection(
        lifecycle=Undying(clock_s=time.monotonic), clock_ns=time.monotonic_ns, time_s=time.time, timeouts=SHORT_TIMEOUTS
    )

    async def run() -> tuple[bool, Findings]:
        await send(harmed, ORDERS)
        harmed.wrong.clear()
        return await inspection.settle(harmed), await inspection.read(harmed, taken=None)

    return asyncio.run(run())


def test_every_acknowledged_order_is_read(harmed: ChaosShop) -> None:
    is_settled, found = inspect(harmed)
    assert (is_settled, found.acknowledged) == (True, ORDERS)
    assert (found.missing, found.differing, found.stuck) == ([], {}, {})
    # The fake shop has no file.
    assert found.wrong == [("orders.db can't be read: unable to open database file", 0)]


def test_an_order_that_was_acknowledged_and_not_kept_is_missing(harmed: ChaosShop, shop: Shop) -> None:
    order_id = harmed.ledger.orders.order_id(3)
    shop.faults[order_id] = Fault.LOSE
    assert inspect(harmed)[1].missing == [order_id]


def test_an_order_that_comes_back_another_is_differing(harmed: ChaosShop, shop: Shop) -> None:
    order_id = harmed.ledger.orders.order_id(3)
    shop.altered[order_id] = {"user_id": b"0"}
    [(differing, difference)] = inspect(harmed)[1].differing.items()
    assert (differing, difference[:12]) == (order_id, "user_id is 0")


def test_an_order_that_is_never_processed_is_stuck(harmed: ChaosShop, shop: Shop) -> None:
    order_id = harmed.ledger.orders.order_id(3)
    shop.statuses[order_id] = "Processing"
    shop.waiting = [1]
    is_settled, found = inspect(harmed)
    assert not is_settled
    assert found.stuck == {order_id: "Processing"}
