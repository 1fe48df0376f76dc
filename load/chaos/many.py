"""Owns the clients that post many orders a request, as arrays or lines, and judge the answers; on the loop's thread."""

from collections.abc import Sequence
from random import Random

from load.chaos.asking import Client, Told
from load.chaos.shop import Shop
from load.chaos.single import CONFLICT
from load.chaos.throttle import Throttle
from load.http.address import Address
from load.orders.generated import as_another_order
from load.orders.responses import ACCEPTED, counts_in

KNOWN_SHARE = 0.2
LINES = "application/x-ndjson"


def array_of(bodies: Sequence[bytes], address: Address) -> bytes:
    """Encode a whole POST of an array of orders."""
    return address.post("/orders", b"[%s]" % b",".join(bodies))


def lines_of(bodies: Sequence[bytes], address: Address) -> bytes:
    """Encode a whole POST of orders, one a line."""
    return lines_head(bodies, address) + b"\n".join(bodies)


def lines_head(bodies: Sequence[bytes], address: Address) -> bytes:
    """Encode the head of the POST of these orders, one a line."""
    length = sum(map(len, bodies)) + len(bodies) - 1
    return (
        f"POST /orders HTTP/1.1\r\nHost: {address.url.netloc}\r\n"
        f"Content-Type: {LINES}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


class ManyClient:
    """Posts new orders, up to `most` a request, in a closed loop.

    Now and then two more follow them: one that was acknowledged before, and another order under its id.
    """

    def __init__(self, shop: Shop, *, most: int, as_lines: bool, throttle: Throttle, chance: Random) -> None:
        self._shop = shop
        self._most = most
        self._encode = lines_of if as_lines else array_of
        self._throttle = throttle
        self._chance = chance
        self._client = Client(shop)

    async def run(self) -> None:
        try:
            while await self._throttle.turn(count := self._chance.randint(max(1, self._most // 4), self._most)):
                is_mixed = self._chance.random() < KNOWN_SHARE
                known = self._shop.ledger.any_acknowledged(self._chance) if is_mixed else None
                await self._post(self._shop.ledger.take(count), known)
        finally:
            self._client.close()

    async def _post(self, indexes: range, known: int | None) -> None:
        ledger = self._shop.ledger
        bodies = [ledger.orders.body(index) for index in indexes]
        if known is not None:
            body = ledger.orders.body(known)
            bodies += [body, as_another_order(body)]
        ledger.note_sent(indexes)
        told = await self._client.ask(self._encode(bodies, self._shop.address))
        wrong = fault_of_many(told, new=len(indexes), has_known=known is not None)
        if wrong:
            self._shop.note_wrong(wrong, ledger.orders.order_id(indexes[0]))
        else:
            ledger.note_acknowledged(indexes)


def fault_of_many(told: Told, *, new: int, has_known: bool) -> str:
    """Say what is wrong with the answer to so many new orders, which a known and a conflicting one may follow."""
    if told.answer.status != ACCEPTED:
        return f"many new orders got {told.answer.status}"
    counts = counts_in(told.answer)
    if counts is None:
        return "a 202 that does not count the orders"
    if not counts.adds_up(new + 2 * has_known):
        return "a 202 whose counts don't add up"
    rejected = [(each.index, each.status) for each in counts.rejected]
    if rejected != [(new + 1, CONFLICT)] * has_known:
        return "a 202 that rejects other orders than the one that it should"
    # What was sent before to no answer, or to a 503 for the rest of it, may be there already.
    if counts.duplicates != has_known and not (told.unanswered or told.put_off):
        return "a 202 that calls new orders duplicates"
    return ""
