"""Tests clients that another process connects during a measurement."""

import socket
from itertools import count, islice
from pathlib import Path

import pytest

from load.bench.background_clients import READERS, SLOW_CLIENTS, background_clients
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
async def test_slow_clients_are_connected_before_the_measurement_begins(shop: Shop, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with background_clients(SLOW_CLIENTS, ServerUrl.parse(shop.url), count=33, log=log):
        await _send_orders(shop, 1)
        # Subtracts the connection that sent the order, and two that checked whether the shop is reachable.
        assert shop.connections - 1 - 2 == 33
    assert log.read_text().splitlines() == [f"connected to {shop.url}", "0"]


@pytest.mark.gen_test
async def test_readers_report_how_much_each_of_them_received(shop: Shop, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with background_clients(READERS, ServerUrl.parse(shop.url), count=7, log=log):
        assert (await _send_orders(shop, 20)).right == 20
    ended, least, most = map(int, log.read_text().splitlines()[-1].split())
    assert (ended, least) == (0, most)
    assert least > 20 * 50


def test_a_server_without_events_is_the_reported_reason(shop: Shop, tmp_path: Path) -> None:
    shop.has_events = False
    with (
        pytest.raises(CommandError, match=r"ended at once:\nGET /orders/events: .* 404 Not Found"),
        background_clients(READERS, ServerUrl.parse(shop.url), count=1, log=tmp_path / "log"),
    ):
        pass


@pytest.mark.parametrize("kind", [READERS, SLOW_CLIENTS])
def test_a_missing_server_is_the_reported_reason(kind: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (
        pytest.raises(CommandError, match=f"ended at once:\nNo server at {url}"),
        background_clients(kind, ServerUrl.parse(url), count=1, log=tmp_path / "log"),
    ):
        pass


def test_the_process_ends_when_the_measurement_fails(shop: Shop, tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        background_clients(SLOW_CLIENTS, ServerUrl.parse(shop.url), count=2, log=tmp_path / "log"),
    ):
        raise ZeroDivisionError
    assert processes_with("load.bench.background_clients", shop.url) == []
