"""Tests slow clients that another process runs during a measurement."""

import socket
from itertools import count, islice

import pytest

from load.bench.measurement import Measurement, Meter
from load.bench.slow_clients import slow_clients
from load.bench.workloads import new_order, posts
from load.cli.errors import CommandError
from load.http.address import ServerUrl, reach
from tests.load.shop import Shop
from tests.process import processes_with

pytestmark = pytest.mark.slow


async def _send_orders(shop: Shop, orders: int) -> Measurement:
    address = await reach(ServerUrl.parse(shop.url), timeout_s=5)
    meter = Meter(clock_ns=count(1).__next__, cpu_clock_ns=count(1).__next__)
    return await meter.throughput(address, islice(posts(address, count(1)), orders), new_order, clients=2)


@pytest.mark.gen_test
async def test_slow_clients_are_connected_before_the_measurement_begins(shop: Shop) -> None:
    async with slow_clients(ServerUrl.parse(shop.url), count=33) as close:
        await _send_orders(shop, 1)
        # Subtracts the connection that sent the order, and two that checked whether the shop is reachable.
        assert shop.connections - 1 - 2 == 33
        assert await close() == 0


@pytest.mark.gen_test(timeout=20)
async def test_a_missing_server_is_the_reported_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(
        CommandError, match=f"the slow clients ended with status 1: No server at http://127.0.0.1:{port}"
    ):
        async with slow_clients(ServerUrl.parse(f"http://127.0.0.1:{port}"), count=1):
            pass


@pytest.mark.gen_test
async def test_the_process_ends_when_the_measurement_fails(shop: Shop) -> None:
    with pytest.raises(ZeroDivisionError):
        async with slow_clients(ServerUrl.parse(shop.url), count=2):
            raise ZeroDivisionError
    assert processes_with("load.bench.slow_clients", shop.url) == []
