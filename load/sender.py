"""Owns the sending of a run's orders, one way a class; on the event loop's thread."""

from collections.abc import Iterator
from itertools import islice
from typing import Protocol

from load.http.address import Address
from load.http.arrivals import Arrivals, Timing
from load.http.clients import Clients
from load.http.connection import Answer
from load.judge import Judge
from load.orders.sources import OrderSource

Request = tuple[int, bytes]
"""The place of its first order in the source, and the encoded request."""


def requests_of(source: OrderSource, address: Address, *, bulk: int | None) -> Iterator[Request]:
    """Encode every order of a source once, `bulk` a request or one alone; the last request may have fewer."""
    orders = len(source)
    if bulk is None:
        for index in range(orders):
            yield index, address.post("/order", source.body(index))
        return
    for first in range(0, orders, bulk):
        bodies = map(source.body, range(first, min(first + bulk, orders)))
        yield first, address.post("/orders", b"[%s]" % b",".join(bodies))


class Sender(Protocol):
    """A way to send requests; `last_answer_ns` is when the last answer came, `gone` that it was the last."""

    @property
    def gone(self) -> bool: ...

    @property
    def last_answer_ns(self) -> int: ...

    async def send(self, requests: Iterator[Request], judge: Judge) -> None:
        """Send them until they are through or the server has gone, and have the judge hear of each that was sent."""
        ...

    def close(self) -> None:
        """Close every connection; may be called twice."""
        ...


class ClosedLoop:
    """Every client sends its next request when its last is answered."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    @property
    def gone(self) -> bool:
        return self._clients.gone

    @property
    def last_answer_ns(self) -> int:
        return self._clients.last_answer_ns

    async def send(self, requests: Iterator[Request], judge: Judge) -> None:
        """Keep every client busy until the requests are through."""

        def answered(first: int, answer: Answer, latency_ns: int) -> None:
            judge.answered(first, answer, Timing(self._clients.last_answer_ns, latency_ns, latency_ns))

        await self._clients.work(requests, answered=answered, unanswered=judge.unanswered)

    def close(self) -> None:
        self._clients.close()


class Batches(ClosedLoop):
    """Sends `size` requests at once, waits for all of their answers, and only then goes on."""

    def __init__(self, clients: Clients, *, size: int) -> None:
        super().__init__(clients)
        self._size = size

    async def send(self, requests: Iterator[Request], judge: Judge) -> None:
        while not self._clients.gone and (batch := list(islice(requests, self._size))):
            await super().send(iter(batch), judge)


class OpenLoop:
    """Sends `per_second` orders a second from `begun_ns` on, whatever the answers before take."""

    def __init__(self, arrivals: Arrivals, *, per_second: float, begun_ns: int) -> None:
        self._arrivals = arrivals
        self._per_second = per_second
        self._begun_ns = begun_ns

    @property
    def gone(self) -> bool:
        return self._arrivals.gone

    @property
    def last_answer_ns(self) -> int:
        return self._arrivals.last_answer_ns

    async def send(self, requests: Iterator[Request], judge: Judge) -> None:
        """Send every request when its first order is due."""
        jobs = (
            (self._begun_ns + int(first * 1_000_000_000 // self._per_second), first, request)
            for first, request in requests
        )
        await self._arrivals.work(jobs, answered=judge.answered, unanswered=judge.unanswered)

    def close(self) -> None:
        self._arrivals.close()
