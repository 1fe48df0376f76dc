"""Sends orders to a server that is to keep them, as fast as it takes them. Runs on the event loop."""

import time
from collections.abc import Callable
from contextlib import closing

from load.backlog import Backlog
from load.cli.errors import CommandError
from load.http.address import Address
from load.http.connections import ClosedLoop, RequestTiming, Timeouts
from load.http.response import Response
from load.orders.generated import GeneratedOrders
from load.orders.responses import ACCEPTED, fault_of_bulk, reason_in
from load.orders.sources import requests_of

ARRAY_SIZE = 1000
CLIENTS = 2
"""While one array is written, the next is read; with more clients, processing has to wait and takes longer."""
TIMEOUTS = Timeouts(answer_s=60.0, connection_s=5.0, processing_s=60.0, poll_s=0.02)


class FillFailed(CommandError):
    """The server did not take the orders, or does not process them; the text says what it did."""


class OrderFeeder:
    """Sends generated orders with the ids from `first_id` on; `taken` is how many of them the server has taken."""

    def __init__(self, address: Address, *, first_id: int, count: int, clock_ns: Callable[[], int]) -> None:
        self.taken = 0
        self._address = address
        self._orders = GeneratedOrders(first_id=first_id, count=count)
        self._clock_ns = clock_ns
        self._fault = ""

    async def send(self) -> None:
        """Send all orders, in arrays; FillFailed if one was not taken. One that was there before counts as taken."""
        requests = requests_of(self._orders, self._address, bulk=ARRAY_SIZE)
        with closing(ClosedLoop(self._address, count=CLIENTS, timeouts=TIMEOUTS, clock_ns=self._clock_ns)) as clients:
            await clients.work(
                (request for request in requests if not self._fault),
                answered=self._check,
                unanswered=lambda first, reason: self._note(reason),
            )
        if self.taken < len(self._orders):
            raise FillFailed(f"POST /orders: {self._fault or 'the server went away'}")

    def _check(self, first: int, response: Response, timing: RequestTiming) -> None:
        orders = min(ARRAY_SIZE, len(self._orders) - first)
        if response.status != ACCEPTED:
            self._note(f"status {response.status} {reason_in(response)}".rstrip())
        elif fault := fault_of_bulk(response, size=orders, may_repeat=True):
            self._note(fault)
        else:
            self.taken += orders

    def _note(self, fault: str) -> None:
        self._fault = self._fault or fault


async def count_orders(address: Address) -> int:
    """Return how many orders the server has, in any status; NoResponse or NoMetrics if it does not say."""
    with closing(Backlog(address, timeouts=TIMEOUTS, clock_ns=time.perf_counter_ns)) as backlog:
        return (await backlog.look()).orders
