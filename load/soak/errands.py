"""Owns what the customers of a soak ask for beside the orders at their rate, endlessly; on the event loop's thread.

Each errand is drawn from the chance that is handed in: the same seed gives the same errands for the same answers.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, cycle
from random import Random
from typing import NamedTuple

from load.http.address import Address
from load.http.response import Response
from load.orders.comparison import BadJson, decode_json, find_difference
from load.orders.generated import as_another_order
from load.orders.responses import REPLAYED, fault_of_bulk, fault_of_post, mistake_in
from load.orders.sent_orders import SentOrders

ARRAY = 1_000
WAIT_S = 5
COMPLETED = "Completed"
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
    fault: Callable[[Response], str]


class Errands:
    """Errands by kind, of one customer. What is acknowledged is entered in the ledger, which has some already."""

    def __init__(self, address: Address, *, ledger: SentOrders, chance: Random) -> None:
        self._address = address
        self._ledger = ledger
        self._chance = chance

    def lookups(self) -> Iterator[Errand]:
        """Ask for any order that was acknowledged."""
        while True:
            yield self._look(self._any_index())

    def waits(self) -> Iterator[Errand]:
        """Wait for the end of an order that is there, and have a new one's own answer wait for it."""
        while True:
            yield self._look(self._any_index(), f"?wait={WAIT_S}", is_done=True)
            [index] = take_orders(self._ledger, 1)
            request = self._address.post("/order", self._ledger.orders.body(index))
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
            yield Errand(with_header(self._address.get(path), header), partial(fault_of_status, 200))

    def arrays(self) -> Iterator[Errand]:
        """Post 1,000 new orders at once."""
        ledger = self._ledger
        while True:
            indexes = take_orders(ledger, ARRAY)
            body = b"[%s]" % b",".join(map(ledger.orders.body, indexes))
            request = self._address.post("/orders", body)
            yield Errand(request, partial(self._fault_of_array, indexes))

    def mistakes(self) -> Iterator[Errand]:
        """Ask for what is not there or not allowed, and send what is no order, too long, or there already."""
        orders = self._ledger.orders
        while True:
            yield self._get("/order/9223372036854775807", 404)
            yield self._get("/nowhere", 404)
            yield self._get("/orders?limit=1000", 422)
            yield self._post("/order", b'{"order_id": 0, "item_ids": []}', 422)
            yield self._post("/orders", b'[{"order_id": 0}]', 422)
            yield self._post("/order", b"{", 400)
            yield self._post("/order", LONG_BODY, 413)
            index = self._any_index()
            body = orders.body(index)
            yield Errand(self._address.post("/order", body), _fault_of_repeat)
            yield self._post("/order", as_another_order(body), 409)
            yield self._post(f"/order/{orders.order_id(index)}/retry", b"", 409)

    def glances(self) -> Iterator[Errand]:
        """Ask whether the server is there."""
        for path in cycle(("/livez", "/readyz", "/")):
            yield self._get(path, 200)

    def _get(self, path: str, expected: int) -> Errand:
        return Errand(self._address.get(path), partial(fault_of_status, expected))

    def _post(self, path: str, body: bytes, expected: int) -> Errand:
        return Errand(self._address.post(path, body), partial(fault_of_status, expected))

    def _look(self, index: int, query: str = "", *, is_done: bool = False) -> Errand:
        orders = self._ledger.orders
        request = self._address.get(f"/order/{orders.order_id(index)}{query}")
        return Errand(request, partial(fault_of_look, orders.order(index), is_done=is_done))

    def _any_index(self) -> int:
        index = self._ledger.any_acknowledged(self._chance)
        if index is None:
            raise ValueError("no order was acknowledged")
        return index

    def _fault_of_waiting(self, index: int, answer: Response) -> str:
        fault = fault_of_look(self._ledger.orders.order(index), answer, is_done=True)
        if not fault:
            self._ledger.note_acknowledged([index])
        return fault

    def _fault_of_array(self, indexes: range, answer: Response) -> str:
        fault = fault_of_status(202, answer) or fault_of_bulk(answer, size=len(indexes))
        if not fault:
            self._ledger.note_acknowledged(indexes)
        return fault


def take_orders(ledger: SentOrders, count: int) -> range:
    """Give the indexes of so many new orders, which count as sent from now on."""
    indexes = ledger.take(count)
    ledger.note_sent(indexes)
    return indexes


def fault_of_status(expected: int, answer: Response) -> str:
    """Say that an answer has another status; an empty text where it has this one."""
    return "" if answer.status == expected else f"status {answer.status} instead of {expected}"


def fault_of_order(answer: Response, order_id: int) -> str:
    """Say what is wrong with the answer to a new order; an empty text when it is acknowledged."""
    return fault_of_status(202, answer) or mistake_in(answer, order_id) or fault_of_post(answer)


def fault_of_look(order: dict[str, object], answer: Response, *, is_done: bool) -> str:
    """Say what is wrong with the answer that shows an order that was sent, and which is processed where it `is_done`.

    The values are left out, so that the reasons are few.
    """
    if fault := fault_of_status(200, answer):
        return fault
    try:
        found = decode_json(answer.body)
    except BadJson:
        return "no JSON"
    if find_difference(order, found):
        return "an order that is not as it was sent"
    return "an order that is not Completed" if is_done and found["status"] != COMPLETED else ""


def with_header(request: bytes, lines: bytes) -> bytes:
    """Add header lines to an encoded request."""
    return request.replace(b"\r\n\r\n", b"\r\n%s\r\n" % lines, 1)


def _fault_of_repeat(answer: Response) -> str:
    fault = fault_of_status(202, answer)
    return fault or ("" if REPLAYED in answer.head else "a repeated order that was taken for a new one")
