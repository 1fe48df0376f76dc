"""Connections that are kept by a process of their own while something else is measured."""

import socket
from itertools import count, islice

import pytest

from load.bench.bystanders import READERS, SLOW_CLIENTS, Bystanders, BystandersFailed
from load.bench.pace import Pace, measure_pace
from load.bench.requests import posts
from load.http.address import ServerUrl, reach
from tests.load.shop import Shop

pytestmark = pytest.mark.slow


async def _send_orders(shop: Shop, orders: int) -> Pace:
    address = await reach(ServerUrl.parse(shop.url), timeout_s=5)
    requests = islice(posts(address, count(1)), orders)
    return await measure_pace(
        address, requests, clients=2, status=202, clock_ns=count(1).__next__, cpu_clock_ns=count(1).__next__
    )


@pytest.mark.gen_test
async def test_readers_tell_how_much_each_of_them_got(shop: Shop) -> None:
    async with Bystanders(READERS, url=ServerUrl.parse(shop.url), count=7) as bystanders:
        assert (await _send_orders(shop, 20)).right == 20
        report = await bystanders.leave()
    assert report.ended == 0
    assert report.least_bytes == report.most_bytes > 20 * 50
    assert report.cpu_s > 0


@pytest.mark.gen_test
async def test_slow_clients_stand_before_the_measurement_begins(shop: Shop) -> None:
    async with Bystanders(SLOW_CLIENTS, url=ServerUrl.parse(shop.url), count=33) as bystanders:
        await _send_orders(shop, 1)
        # Beside the order's own, and those which look whether the shop is there.
        assert shop.connections - 1 - 2 == 33
        report = await bystanders.leave()
    assert report.ended == 0


@pytest.mark.gen_test(timeout=20)
async def test_a_server_that_has_no_events_is_told_as_the_reason(shop: Shop) -> None:
    shop.has_events = False
    with pytest.raises(BystandersFailed, match=r"the readers ended: GET /orders/events: .* 404 Not Found"):
        async with Bystanders(READERS, url=ServerUrl.parse(shop.url), count=1):
            pass


@pytest.mark.parametrize("kind", [READERS, SLOW_CLIENTS])
@pytest.mark.gen_test(timeout=20)
async def test_a_server_that_is_not_there_is_told_as_the_reason(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(BystandersFailed, match=f"the {kind} ended: No server at http://127.0.0.1:{port}"):
        async with Bystanders(kind, url=ServerUrl.parse(f"http://127.0.0.1:{port}"), count=1):
            pass


@pytest.mark.gen_test
async def test_they_end_when_the_measurement_is_broken_off(shop: Shop) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Bystanders(READERS, url=ServerUrl.parse(shop.url), count=2) as bystanders:
            raise ZeroDivisionError
    assert bystanders._process.returncode is not None
