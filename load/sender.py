"""Encodes a run's orders as requests, and sends them in batches or at a rate. Runs on the event loop."""

from collections.abc import Iterator
from itertools import islice

from load.http.address import Address
from load.http.closed_loop import ClosedLoop
from load.orders.sources import OrderSource
from load.results.counting import ResponseCounter

Request = tuple[int, bytes]
"""The place in the source of the request's first order, and the encoded request."""


def requests_of(source: OrderSource, address: Address, *, bulk: int | None) -> Iterator[Request]:
    """Encode every order of a source, one or `bulk` in each request; the last request may have fewer."""
    orders = len(source)
    if bulk is None:
        for place in range(orders):
            yield place, address.post("/order", source.body(place))
        return
    for first in range(0, orders, bulk):
        bodies = map(source.body, range(first, min(first + bulk, orders)))
        yield first, address.post("/orders", b"[%s]" % b",".join(bodies))


async def send_batches(
    clients: ClosedLoop, requests: Iterator[Request], counter: ResponseCounter, *, size: int
) -> None:
    """Send `size` requests at once, wait for all of their responses, and then send the next."""
    while not clients.gone and (batch := list(islice(requests, size))):
        await clients.work(iter(batch), answered=counter.answered, unanswered=counter.unanswered)


def with_due_times(
    requests: Iterator[Request], *, per_second: float, started_ns: int
) -> Iterator[tuple[int, int, bytes]]:
    """Add to each request when its first order is due, at a rate of orders per second."""
    for first, request in requests:
        yield started_ns + int(first * 1_000_000_000 // per_second), first, request
