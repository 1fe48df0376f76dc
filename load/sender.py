"""Owns the sending of a run's orders and the tally of what became of each, on the event loop's thread."""

from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from load.address import Address
from load.clients import Clients
from load.connection import Answer
from load.orders import OrderSource
from load.percentile import percentile_of

ACCEPTED = 202
REPLAYED = b"\r\nidempotent-replayed: true"


class Tally:
    """What became of every order sent; orders are named by their index in the source.

    Latencies are those of 202 answers: a server that refuses quickly is not a quick server.
    """

    def __init__(self) -> None:
        self.accepted = array("q")
        self.duplicates = array("q")
        self.refused: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self._latencies_ns: list[int] = []

    def accept(self, index: int, latency_ns: int) -> None:
        self.accepted.append(index)
        self._latencies_ns.append(latency_ns)

    def repeat(self, index: int, latency_ns: int) -> None:
        """Count a 202 for an order that the server had already."""
        self.duplicates.append(index)
        self._latencies_ns.append(latency_ns)

    def refuse(self, status: int) -> None:
        self.refused[status] += 1

    def fail(self, reason: str) -> None:
        self.errors[reason] += 1

    @property
    def acknowledged(self) -> int:
        """How many 202 answers came, those for duplicates included."""
        return len(self.accepted) + len(self.duplicates)

    @property
    def sent(self) -> int:
        return self.acknowledged + self.refused.total() + self.errors.total()

    def latency_ms(self, percentile: float) -> float | None:
        """Give a percentile in milliseconds by nearest rank (100 is the maximum); None before the first 202."""
        if not self._latencies_ns:
            return None
        self._latencies_ns.sort()
        return percentile_of(self._latencies_ns, percentile) / 1e6


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
