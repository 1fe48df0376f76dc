"""Owns what the customers of a soak ask for beside the orders at their rate, endlessly; on the event loop's thread.

Each errand is drawn from the chance that is handed in: the same seed gives the same errands for the same answers.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, cycle
from random import Random
from typing import NamedTuple

from load.address import Address
from load.bench.requests import fault_of_bulk
from load.connection import Answer
from load.judge import REPLAYED, mistake_in
from load.soak.ledger import Ledger

ARRAY = 1_000
WAIT_S = 5
LONG_BODY = b'{"order_id": 1, "metadata": {"note": "%s"}}' % (b"x" * 70_000)
"""More than the 64 KiB that an order may have."""
METRICS = (
    ("/metrics", b""),
    ("/metrics", b"Accept: text/plain\r\n"),
    ("/metrics", b"Accept: application/openmetrics-text\r\n"),
    ("/metrics/prometheus", b""),
)


class Errand(NamedTuple):
    """A request, and what says what is wrong with its answer: an empty text when nothing is."""

    request: bytes
    fault: Callable[[Answer], str]


class Errands:
    """Errands by kind, of one customer. What is acknowledged is entered in the ledger, which has some already."""

    def __init__(self, address: Address, *, ledger: Ledger, chance: Random) -> None:
        self._address = address
        self._ledger = ledger
        self._chance = chance

    def orders(self) -> Iterator[tuple[int, bytes]]:
        """Post new orders, each with its place in the ledger."""
        while True:
            index = self._ledger.take()
            yield index, self._address.post("/order", self._ledger.source.body(index))

    def lookups(self) -> Iterator[Errand]:
        """Ask for any order that was acknowledged."""
        while True:
            yield self._get(f"/order/{self._any_id()}", 200)

    def waits(self) -> Iterator[Errand]:
        """Wait for the end of an order that is there, and have a new one's own answer wait for it."""
        while True:
            yield self._get(f"/order/{self._any_id()}?wait={WAIT_S}", 200)
            index, request = next(self.orders())
            preferring = with_header(request, b"Prefer: wait=%d\r\n" % WAIT_S)
            yield Errand(preferring, partial(self._fault_of_waiting, index))

    def listings(self) -> Iterator[Errand]:
        """List the newest, those of a status, and those of one of the users."""
        for number in count():
            user_id = self._chance.randrange(1, 1_000)
            queries = ("?limit=200", "", "?status=Completed&limit=20", "?status=Failed", f"?user_id={user_id}&limit=5")
            yield self._get(f"/orders{queries[number % len(queries)]}", 200)

    def metrics(self) -> Iterator[Errand]:
        """Ask for the metrics, in one format after another."""
        for path, header in cycle(METRICS):
            yield Errand(with_header(self._address.get(path), header), status(200))

    def arrays(self) -> Iterator[Errand]:
        """Post 1,000 new orders at once."""
        ledger = self._ledger
        while True:
            indexes = [ledger.take() for _ in range(ARRAY)]
            body = b"[%s]" % b",".join(map(ledger.source.body, indexes))
            request = self._address.post("/orders", body)
            yield Errand(request, partial(self._fault_of_array, indexes))

    def mistakes(self) -> Iterator[Errand]:
        """Ask for what is not there or not allowed, and send what is no order, too long, or there already."""
        address, source = self._address, self._ledger.source
        while True:
            yield self._get("/order/9223372036854775807", 404)
            yield self._get("/nowhere", 404)
            yield self._get("/orders?limit=1000", 422)
            yield Errand(address.post("/order", b'{"order_id": 0, "item_ids": []}'), status(422))
            yield Errand(address.post("/orders", b'[{"order_id": 0}]'), status(422))
            yield Errand(address.post("/order", b"{"), status(400))
            yield Errand(address.post("/order", LONG_BODY), status(413))
            index = self._ledger.any_acknowledged(self._chance)
            body = source.body(index)
            yield Errand(address.post("/order", body), _fault_of_repeat)
            yield Errand(address.post("/order", body.replace(b'"item_ids": [', b'"item_ids": [7, ')), status(409))
            yield Errand(address.post(f"/order/{source.order_id(index)}/retry", b""), status(409))

    def glances(self) -> Iterator[Errand]:
        """Ask whether the server is there."""
        for path in cycle(("/livez", "/readyz", "/")):
            yield self._get(path, 200)

    def _get(self, path: str, expected: int) -> Errand:
        return Errand(self._address.get(path), status(expected))

    def _any_id(self) -> int:
        return self._ledger.source.order_id(self._ledger.any_acknowledged(self._chance))

    def _fault_of_waiting(self, index: int, answer: Answer) -> str:
        if answer.status != 200:
            return status(200)(answer)
        self._ledger.acknowledge(index)
        return ""

    def _fault_of_array(self, indexes: list[int], answer: Answer) -> str:
        fault = status(202)(answer) or fault_of_bulk(answer, size=len(indexes))
        if not fault:
            for index in indexes:
                self._ledger.acknowledge(index)
        return fault


def status(expected: int) -> Callable[[Answer], str]:
    """Give what says that an answer has another status."""
    return lambda answer: "" if answer.status == expected else f"status {answer.status} instead of {expected}"


def fault_of_order(answer: Answer, order_id: int) -> str:
    """Say what is wrong with the answer to a new order; an empty text when it is acknowledged."""
    fault = status(202)(answer) or mistake_in(answer, order_id)
    return fault or ("an order that was there before" if REPLAYED in answer.head else "")


def with_header(request: bytes, lines: bytes) -> bytes:
    """Add header lines to an encoded request."""
    return request.replace(b"\r\n\r\n", b"\r\n%s\r\n" % lines, 1)


def _fault_of_repeat(answer: Answer) -> str:
    return status(202)(answer) or ("" if REPLAYED in answer.head else "a repeated order that was taken for a new one")
