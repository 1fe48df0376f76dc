"""Owns the clients that post orders one by one, some of them again, and judge every answer; on the loop's thread."""

from random import Random

from load.chaos.asking import Client, Told
from load.chaos.shop import Shop
from load.chaos.throttle import Throttle
from load.http.response import Response
from load.orders.comparison import BadJson, decode_json, find_difference
from load.orders.generated import as_another_order
from load.orders.responses import ACCEPTED, REPLAYED, mistake_in

SHARE = 0.05
"""Of new orders after which an acknowledged one is sent again; as many are followed by another one, and by a look."""
OK, CONFLICT = 200, 409
LOCATION = b"location:"


class SingleClient:
    """Posts new orders in a closed loop; now and then it posts or reads an acknowledged one, or another with its id."""

    def __init__(self, shop: Shop, *, throttle: Throttle, chance: Random) -> None:
        self._shop = shop
        self._throttle = throttle
        self._chance = chance
        self._client = Client(shop)

    async def run(self) -> None:
        try:
            while await self._throttle.turn(1):
                [index] = self._shop.ledger.take(1)
                await self._post_new(index)
                known = self._shop.ledger.any_acknowledged(self._chance)
                roll = self._chance.random()
                if known is not None and roll < 3 * SHARE:
                    await (self._post_again, self._post_other, self._read)[int(roll / SHARE)](known)
        finally:
            self._client.close()

    async def _post_new(self, index: int) -> None:
        ledger = self._shop.ledger
        ledger.note_sent([index])
        told = await self._post(ledger.orders.body(index))
        order_id = ledger.orders.order_id(index)
        self._note(fault_of_new(told, order_id), order_id)
        if told.answer.status == ACCEPTED:
            ledger.note_acknowledged([index])

    async def _post_again(self, index: int) -> None:
        order_id = self._shop.ledger.orders.order_id(index)
        self._note(fault_of_replay(await self._post(self._shop.ledger.orders.body(index)), order_id), order_id)

    async def _post_other(self, index: int) -> None:
        told = await self._post(as_another_order(self._shop.ledger.orders.body(index)))
        self._note(fault_of_other(told), self._shop.ledger.orders.order_id(index))

    async def _read(self, index: int) -> None:
        order = self._shop.ledger.orders.order(index)
        told = await self._client.ask(self._shop.address.get(f"/order/{order['order_id']}"))
        self._note(fault_of_read(told, order), self._shop.ledger.orders.order_id(index))

    def _note(self, fault: str, order_id: int) -> None:
        if fault:
            self._shop.note_wrong(fault, order_id)

    async def _post(self, body: bytes) -> Told:
        return await self._client.ask(self._shop.address.post("/order", body))


def fault_of_new(told: Told, order_id: int) -> str:
    """Say what is wrong with the answer to a new order; an empty text when nothing is."""
    answer = told.answer
    if answer.status != ACCEPTED:
        return f"a new order got {answer.status}"
    if mistake := mistake_in(answer, order_id) or _misplaced(answer, order_id):
        return mistake
    if REPLAYED in answer.head and not told.unanswered:
        return "a replay after a 503 that stored nothing" if told.put_off else "a new order was called a replay"
    return ""


def fault_of_replay(told: Told, order_id: int) -> str:
    """Say what is wrong with the answer to an acknowledged order that is sent again."""
    answer = told.answer
    if answer.status != ACCEPTED:
        return f"an acknowledged order that was sent again got {answer.status}"
    if mistake := mistake_in(answer, order_id) or _misplaced(answer, order_id):
        return mistake
    return "" if REPLAYED in answer.head else "a replay that was called new"


def _misplaced(answer: Response, order_id: int) -> str:
    """Say whether the Location of a 202 is that of another order, or is not there."""
    places = [line.removeprefix(LOCATION).strip() for line in answer.head.split(b"\r\n") if line.startswith(LOCATION)]
    return "" if places == [b"/order/%d" % order_id] else "a 202 whose Location is not the order's"


def fault_of_other(told: Told) -> str:
    """Say what is wrong with the answer to another order under the id of an acknowledged one."""
    status = told.answer.status
    return "" if status == CONFLICT else f"another order under a known id got {status}"


def fault_of_read(told: Told, order: dict[str, object]) -> str:
    """Say what is wrong with the answer to a look at an acknowledged order."""
    if told.answer.status != OK:
        return f"a look at an acknowledged order got {told.answer.status}"
    try:
        difference = find_difference(order, decode_json(told.answer.body))
    except BadJson:
        return "a look at an acknowledged order got no JSON"
    return "an acknowledged order that was looked at differs" if difference else ""
