"""A target server for the tests of chaos. Requests to it go to the shop."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from load.chaos.clients import RateLimit, send_single_orders
from load.chaos.report import Findings
from load.chaos.target import TargetServer
from load.http.address import Address, ServerUrl
from tests.load.shop import Shop

Send = Callable[[int], None]


@pytest.fixture
def target(shop: Shop, tmp_path: Path) -> Iterator[TargetServer]:
    target = TargetServer(
        findings=Findings(target="record"),
        command=["no-server"],
        folder=tmp_path / "record",
        seed=1,
    )
    target.address = Address(ServerUrl.parse(shop.url), socket.AF_INET, ("127.0.0.1", shop.port))
    yield target
    target.close()


class EndingRateLimit(RateLimit):
    """Ends the clients after a number of requests, and never makes them wait."""

    def __init__(self, requests: int) -> None:
        super().__init__(per_second=1.0, clock_s=time.monotonic, ending=asyncio.Event())
        self._left = requests

    async def acquire(self, count: int) -> bool:
        self._left -= 1
        return self._left >= 0


@pytest.fixture
def send(target: TargetServer) -> Send:
    """Have one client send a number of new orders, and repeat or read some of them."""

    def run(orders: int) -> None:
        asyncio.run(send_single_orders(target, rate_limit=EndingRateLimit(orders), rng=Random(1)))

    return run
