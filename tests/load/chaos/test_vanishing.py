"""Clients that go away in the middle of what they say."""

import asyncio
from dataclasses import replace
from random import Random

from load.chaos.shop import Shop as ChaosShop
from load.chaos.shop import reserve_port
from load.chaos.vanishing import LINES, vanish
from tests.load.shop import Shop
from tests.process import wait_until


def test_what_came_as_a_whole_was_noted_as_sent_and_nothing_else_may_be_there(harmed: ChaosShop, shop: Shop) -> None:
    clients = 20
    said = asyncio.run(vanish(harmed, count=clients, within_s=0.05, chance=Random(1)))
    assert said == clients
    ledger = harmed.ledger
    # A body that ends early, one that is whole, and lines of which some are whole; a head has none.
    assert len(ledger) == clients // 4 * (2 + LINES)
    sent = {ledger.index_of(ledger.orders.order_id(index)) for index in range(len(ledger))} - {None}
    assert clients // 4 * 2 <= len(sent) <= len(ledger) - clients // 4 * 2
    wait_until(lambda: bool(shop.ids))
    assert {ledger.index_of(order_id) for order_id in shop.ids} <= sent


def test_where_no_server_is_nobody_says_anything(harmed: ChaosShop) -> None:
    place = reserve_port()
    try:
        harmed.address = replace(harmed.address, sockaddr=place.getsockname())
        assert asyncio.run(vanish(harmed, count=4, within_s=0.0, chance=Random(1))) == 0
    finally:
        place.close()
