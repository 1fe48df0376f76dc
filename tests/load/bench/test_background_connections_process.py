"""Tests background connections that another process opens during a measurement."""

import socket
from itertools import count, islice

import pytest

from load.bench.background_connections import READERS, SLOW_CLIENTS, background_connections
from load.bench.measurement import Measurement, Meter
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
async def test_readers_report_how_much_each_of_them_received(shop: Shop) -> None:
    async with background_connections(READERS, url=ServerUrl.parse(shop.url), count=7) as close:
        assert (await _send_orders(shop, 20)).right == 20
        report = await close()
    assert report.ended == 0
    assert report.least_bytes == report.most_bytes > 20 * 50
    assert report.cpu_s > 0


@pytest.mark.gen_test
async def test_slow_clients_are_connected_before_the_measurement_begins(shop: Shop) -> None:
    async with background_connections(SLOW_CLIENTS, url=ServerUrl.parse(shop.url), count=33) as close:
        await _send_orders(shop, 1)
        # Subtracts the connection that sent the order, and two that checked whether the shop is reachable.
        assert shop.connections - 1 - 2 == 33
        report = await close()
    assert report.ended == 0


@pytest.mark.gen_test(timeout=20)
async def test_a_server_without_events_is_the_reported_reason(shop: Shop) -> None:
    shop.has_events = False
    with pytest.raises(CommandError, match=r"the readers ended with status 1: GET /orders/events: .* 404 Not Found"):
        async with background_connections(READERS, url=ServerUrl.parse(shop.url), count=1):
            pass


@pytest.mark.parametrize("kind", [READERS, SLOW_CLIENTS])
@pytest.mark.gen_test(timeout=20)
async def test_a_missing_server_is_the_reported_reason(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(CommandError, match=f"the {kind} ended with status 1: No server at http://127.0.0.1:{port}"):
        async with background_connections(kind, url=ServerUrl.parse(f"http://127.0.0.1:{port}"), count=1):
            pass


@pytest.mark.gen_test
async def test_the_process_ends_when_the_measurement_fails(shop: Shop) -> None:
    with pytest.raises(ZeroDivisionError):
        async with background_connections(READERS, url=ServerUrl.parse(shop.url), count=2):
            raise ZeroDivisionError
    assert processes_with("load.bench.background_connections", shop.url) == []
