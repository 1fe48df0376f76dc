"""Owns the sending of a run's orders and the judging of each answer, on the event loop's thread."""

from collections.abc import Iterator
from itertools import islice

from load.address import Address
from load.answer import Answer
from load.clients import Clients
from load.orders import OrderSource
from load.tally import Tally

ACCEPTED = 202
REPLAYED = b"\r\nidempotent-replayed: true"


class Sender:
    """Sends every order of a source once and tells the tally what became of it."""

    def __init__(self, *, address: Address, source: OrderSource, clients: Clients, tally: Tally) -> None:
        self._address = address
        self._source = source
        self._clients = clients
        self._tally = tally

    async def send(self) -> None:
        """Keep every client busy until the orders are through."""
        await self._work(self._jobs())

    async def send_in_batches(self, size: int) -> None:
        """Send `size` orders at once, wait for all of their answers, and only then go on."""
        jobs = self._jobs()
        for first in range(0, len(self._source), size):
            if self._clients.gone:
                return
            await self._work(islice(jobs, min(size, len(self._source) - first)))

    async def _work(self, jobs: Iterator[tuple[int, bytes]]) -> None:
        await self._clients.work(jobs, answered=self._judge, unanswered=self._count_error)

    def _jobs(self) -> Iterator[tuple[int, bytes]]:
        post, body = self._address.post, self._source.body
        for index in range(len(self._source)):
            yield index, post("/order", body(index))

    def _judge(self, index: int, answer: Answer, latency_ns: int) -> None:
        if answer.status != ACCEPTED:
            self._tally.refuse(answer.status)
        elif b'"%d"' % self._source.order_id(index) not in answer.body:
            self._tally.fail("a 202 that names another order")
        elif REPLAYED in answer.head:
            self._tally.repeat(index, latency_ns)
        else:
            self._tally.accept(index, latency_ns)

    def _count_error(self, index: int, reason: str) -> None:
        self._tally.fail(reason)
