"""Tests that the inspection of a server through its API finds orders that differ from what was sent."""

import asyncio

import pytest

from load.chaos.inspection import inspection
from load.chaos.inspection.inspection import add_read_back, wait_until_processed
from load.chaos.report import DIFFERING, MISSING, STUCK, WRONG, Findings
from load.chaos.target import Target
from load.results.result import ReadBackResult
from tests.load.chaos.conftest import Send
from tests.load.conftest import TIMEOUTS
from tests.load.shop import Fault, Shop

ORDERS = 20


async def _keep_running(target: Target) -> float:
    return 0.0


@pytest.fixture(autouse=True)
def _without_terminate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `terminate` do nothing, because the target is the shop, and its fixture stops it."""
    monkeypatch.setattr(Target, "terminate", _keep_running)  # no real server ignores the end of a run


def inspect(target: Target, send: Send, delivered: dict[int, int] | None = None) -> tuple[bool, Findings]:
    """Send some orders, and return whether they were processed and what was found."""

    async def run() -> bool:
        is_processed = await wait_until_processed(target, timeouts=TIMEOUTS)
        await inspection.inspect(target, delivered=delivered, timeouts=TIMEOUTS)
        return is_processed

    send(ORDERS)
    target.findings.problems[WRONG].clear()
    return asyncio.run(run()), target.findings


def test_every_acknowledged_order_is_read(target: Target, send: Send) -> None:
    is_processed, found = inspect(target, send)
    assert (is_processed, found.acknowledged, found.is_inspected) == (True, ORDERS, True)
    # The shop has no database.
    missing_database = ("the database can't be read: unable to open database file", 0)
    assert {row: problems for row, problems in found.problems.items() if problems} == {WRONG: [missing_database]}


def test_a_lost_order_is_missing(target: Target, send: Send, shop: Shop) -> None:
    order_id = target.ledger.orders.order_id(3)
    shop.faults[order_id] = Fault.LOSE
    assert inspect(target, send)[1].problems[MISSING] == [("", order_id)]


def test_a_changed_order_is_differing(target: Target, send: Send, shop: Shop) -> None:
    order_id = target.ledger.orders.order_id(3)
    shop.altered[order_id] = {"user_id": b"0"}
    [(difference, differing)] = inspect(target, send)[1].problems[DIFFERING]
    assert (differing, difference[:12]) == (order_id, "user_id is 0")


def test_an_unprocessed_order_is_stuck(target: Target, send: Send, shop: Shop) -> None:
    order_id = target.ledger.orders.order_id(3)
    shop.statuses[order_id] = "Processing"
    shop.waiting = [1]
    is_processed, found = inspect(target, send)
    assert not is_processed
    assert found.problems[STUCK] == [("Processing", order_id)]


def test_a_webhook_for_an_order_that_was_never_sent_is_wrong(target: Target, send: Send) -> None:
    never_sent = target.ledger.orders.order_id(ORDERS)
    assert ("a webhook for an order that was never sent", never_sent) in inspect(target, send, {never_sent: 1})[
        1
    ].problems[WRONG]


def test_what_is_read_back_is_added_to_what_the_audit_found() -> None:
    found = Findings(target="record")
    found.add(MISSING, order_id=3)
    found.add(STUCK, "Failed", 6)
    verdict = ReadBackResult(
        acknowledged=9,
        lost_ids=[3, 4],
        different={5: "x"},
        unprocessed={6: "Pending", 7: "Processing"},
        unread={8: "status 500"},
    )
    add_read_back(found, verdict)
    assert found.acknowledged == 9
    assert {row: problems for row, problems in found.problems.items() if problems} == {
        MISSING: [("", 3), ("", 4)],
        DIFFERING: [("x", 5)],
        STUCK: [("Failed", 6), ("Processing", 7)],
        WRONG: [("an order can't be read: status 500", 8)],
    }
