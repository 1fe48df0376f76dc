"""Owns the sending of orders to a server that is to keep them, as fast as it takes them; on the event loop's thread."""

from collections.abc import Callable

from load.backlog import Backlog, BacklogState
from load.cli.errors import CommandError
from load.http.address import Address
from load.http.clients import Clients
from load.http.connection import Answer
from load.http.exchanges import Patience
from load.http.refusal import reason_in
from load.judge import ACCEPTED, fault_of_bulk
from load.orders.generated import GeneratedOrders
from load.sender import requests_of

ARRAY_SIZE = 1000
CLIENTS = 2
"""While one array is written the next is read; with more of them processing has to wait, and takes longer then."""
PATIENCE = Patience(answer_s=60.0, connection_s=5.0, processing_s=60.0, poll_s=0.02)


class NotFed(CommandError):
    """The server did not take the orders, or does not process them; the text says what it did."""


class Feeding:
    """Orders with the ids from `first_id` on, whose other values follow from the id.

    `taken` is how many of them the server says it has.
    """

    def __init__(self, address: Address, *, first_id: int, count: int, clock_ns: Callable[[], int]) -> None:
        self.taken = 0
        self._address = address
        self._orders = GeneratedOrders(first_id=first_id, count=count)
        self._clock_ns = clock_ns
        self._fault = ""

    async def send(self) -> None:
        """Send them all, in arrays; NotFed when one was not taken. One that was there before counts as taken."""
        clients = Clients(self._address, count=CLIENTS, patience=PATIENCE, clock_ns=self._clock_ns)
        requests = requests_of(self._orders, self._address, bulk=ARRAY_SIZE)
        try:
            await clients.work(
                # None follows the first that is not taken.
                (request for request in requests if not self._fault),
                answered=self._judge,
                unanswered=lambda first, reason: self._note(reason),
            )
        finally:
            clients.close()
        if self.taken < len(self._orders):
            raise NotFed(f"POST /orders: {self._fault or 'the server went away'}")

    def _judge(self, first: int, answer: Answer, latency_ns: int) -> None:
        orders = min(ARRAY_SIZE, len(self._orders) - first)
        if answer.status != ACCEPTED:
            self._note(f"status {answer.status} {reason_in(answer)}".rstrip())
        elif fault := fault_of_bulk(answer, size=orders, may_repeat=True):
            self._note(fault)
        else:
            self.taken += orders

    def _note(self, fault: str) -> None:
        self._fault = self._fault or fault


async def count_orders(address: Address, *, clock_ns: Callable[[], int]) -> int:
    """Give how many orders the server has, in whatever state; NoAnswer or NoMetrics when it does not say."""
    backlog = Backlog(address, patience=PATIENCE, clock_ns=clock_ns)
    try:
        return (await backlog.look()).orders
    finally:
        backlog.close()


async def await_processing(address: Address, *, clock_ns: Callable[[], int], seen: Callable[[int], None]) -> None:
    """Return when no order is left to be processed; NotFed when nothing moves any more, or the server doesn't say.

    `seen` is called with how many are left.
    """
    backlog = Backlog(address, patience=PATIENCE, clock_ns=clock_ns, seen=seen)
    try:
        if await backlog.wait(before=0) is not BacklogState.PROCESSED:
            raise NotFed(f"{backlog.left} orders were not processed")
    finally:
        backlog.close()
