"""The requests of sessions, and the checks of their responses. Runs on the event loop."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from itertools import cycle
from random import Random
from typing import NamedTuple

from load.http.address import Address
from load.http.connection import Response
from load.orders.comparison import check_known, check_many, check_read, check_status
from load.orders.generated import SentOrders, as_another_order

ARRAY_SIZE = 1_000
WAIT_S = 5
LARGE_BODY = b'{"order_id": 1, "metadata": {"note": "%s"}}' % (b"x" * 70_000)  # The limit for an order is 64 KiB.


class CheckedRequest(NamedTuple):
    """An encoded request, and the check of its response."""

    request: bytes
    check: Callable[[Response], str]


Requests = Iterator[CheckedRequest]


@dataclass(frozen=True)
class SessionRequests:
    """Generates the requests of sessions, with a method for each kind. `ledger` must have an acknowledged order."""

    address: Address
    _: KW_ONLY
    ledger: SentOrders
    rng: Random

    def lookups(self) -> Requests:
        while True:
            yield self._read(self._any_index())

    def waits(self) -> Requests:
        """Yield requests that wait until an order is processed: reads with `?wait=`, new orders with `Prefer: wait`."""
        while True:
            yield self._read(self._any_index(), f"?wait={WAIT_S}", is_completed=True)
            [index] = self.ledger.take(1, is_sent=True)
            body, prefer = self.ledger.orders.body(index), f"Prefer: wait={WAIT_S}\r\n"
            check = partial(check_read, order=self.ledger.orders.order(index), is_completed=True)
            yield CheckedRequest(
                self.address.post("/order", body, header=prefer), partial(self._acknowledge, [index], check)
            )

    def listings(self) -> Requests:
        while True:
            user_id = self.rng.randrange(1, 1_000)
            queries = ("?limit=200", "", "?status=Completed&limit=20", "?status=Failed", f"?user_id={user_id}&limit=5")
            for query in queries:
                yield self._get(f"/orders{query}")

    def metrics(self) -> Requests:
        accepts = ("", "Accept: text/plain\r\n", "Accept: application/openmetrics-text\r\n")
        while True:
            for accept in accepts:
                yield self._expect(200, self.address.get("/metrics", header=accept))
            yield self._get("/metrics/prometheus")

    def health_checks(self) -> Requests:
        return map(self._get, cycle(("/livez", "/readyz", "/")))

    def arrays(self) -> Requests:
        check = partial(check_many, new=ARRAY_SIZE)
        while True:
            indexes = self.ledger.take(ARRAY_SIZE, is_sent=True)
            body = b"[%s]" % b",".join(map(self.ledger.orders.body, indexes))
            yield CheckedRequest(self.address.post("/orders", body), partial(self._acknowledge, indexes, check))

    def mistakes(self) -> Requests:
        """Yield requests that the server must reject, and repetitions of an acknowledged order."""
        orders, post = self.ledger.orders, self.address.post
        while True:
            yield self._get("/order/9223372036854775807", 404)
            yield self._get("/nowhere", 404)
            yield self._get("/orders?limit=1000", 422)
            yield self._expect(422, post("/order", b'{"order_id": 0, "item_ids": []}'))
            yield self._expect(422, post("/orders", b'[{"order_id": 0}]'))
            yield self._expect(400, post("/order", b"{"))
            yield self._expect(413, post("/order", LARGE_BODY))
            index = self._any_index()
            body = orders.body(index)
            yield CheckedRequest(post("/order", body), partial(check_known, order_id=orders.order_id(index)))
            yield self._expect(409, post("/order", as_another_order(body)))
            yield self._expect(409, post(f"/order/{orders.order_id(index)}/retry", b""))

    def _get(self, path: str, status: int = 200) -> CheckedRequest:
        return self._expect(status, self.address.get(path))

    def _expect(self, status: int, request: bytes) -> CheckedRequest:
        return CheckedRequest(request, partial(check_status, status=status))

    def _read(self, index: int, query: str = "", *, is_completed: bool = False) -> CheckedRequest:
        orders = self.ledger.orders
        request = self.address.get(f"/order/{orders.order_id(index)}{query}")
        return CheckedRequest(request, partial(check_read, order=orders.order(index), is_completed=is_completed))

    def _acknowledge(self, indexes: Sequence[int], check: Callable[[Response], str], answer: Response) -> str:
        """Return what `check` says about a response. If the response is correct, record the orders as acknowledged."""
        problem = check(answer)
        if not problem:
            self.ledger.note_acknowledged(indexes)
        return problem

    def _any_index(self) -> int:
        index = self.ledger.any_acknowledged(self.rng)
        if index is None:
            raise ValueError("no order was acknowledged")
        return index
