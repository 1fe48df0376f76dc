"""Defines fixtures: a target whose server is replaced by the shop (a fake server), and a sender of orders."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from load.chaos.clients.rate_limit import RateLimit
from load.chaos.clients.sessions import send_single_orders
from load.chaos.databases.sqlite import SqliteDatabase
from load.chaos.faults import RECORD
from load.chaos.report import Findings
from load.chaos.servers.controlled import Controls
from load.chaos.servers.node import Node
from load.chaos.target import Target
from load.http.address import Address, ServerUrl
from tests.load.shop import Shop

Send = Callable[[int], None]


def new_target(name: str, folder: Path, *, command: Sequence[str], nodes: int = 1) -> Target:
    """Return a target whose servers and load balancer are not started."""
    findings, database = Findings(target=name), SqliteDatabase(folder / name / "orders.db")
    servers = [
        Node(
            findings=findings,
            command=command,
            controls=Controls(folder / "controls"),
            folder=folder / name / (str(node) if nodes > 1 else ""),
            database=database.addresses[0],
        )
        for node in range(nodes)
    ]
    return Target(findings=findings, nodes=servers, database=database, folder=folder, seed=1)


@pytest.fixture
def balanced(tmp_path: Path) -> Iterator[Target]:
    """A target with three servers behind a load balancer. Nothing is started."""
    target = new_target(RECORD, tmp_path, command=["no-server"], nodes=3)
    yield target
    target.close()


@pytest.fixture
def target(shop: Shop, tmp_path: Path) -> Iterator[Target]:
    target = new_target(RECORD, tmp_path, command=["no-server"])
    target.nodes[0].address = Address(ServerUrl.parse(shop.url), socket.AF_INET, ("127.0.0.1", shop.port))
    yield target
    target.close()


class EndingRateLimit(RateLimit):
    """A rate limit that ends the clients after a number of requests, and never makes them wait."""

    def __init__(self, requests: int) -> None:
        super().__init__(per_second=1.0, clock_s=time.monotonic, ending=asyncio.Event())
        self._left = requests

    async def acquire(self, count: int) -> bool:
        self._left -= 1
        return self._left >= 0


@pytest.fixture
def send(target: Target) -> Send:
    """Return a function that sends a number of new orders with one client, and repeats or reads some of them."""

    def run(orders: int) -> None:
        asyncio.run(send_single_orders(target, rate_limit=EndingRateLimit(orders), rng=Random(1)))

    return run
