"""Owns clients that go away in the middle of what they say; on the event loop's thread."""

import asyncio
import socket
import struct
from collections.abc import Callable
from random import Random

from tornado.iostream import IOStream, StreamClosedError

from load.chaos.many import lines_head
from load.chaos.shop import Shop

LINES = 400
CONNECT_S = 1.0
LINGER_NOT = struct.pack("ii", 1, 0)
# What a client says, up to where it goes. Orders that are in it as a whole are noted as sent.
Part = Callable[[Shop, Random], bytes]


async def vanish(shop: Shop, *, count: int, within_s: float, chance: Random) -> int:
    """Have so many clients come and go, and give how many of them said something."""
    ways: tuple[Part, ...] = (_in_the_head, _in_the_body, _before_the_answer, _in_the_lines)
    said = await asyncio.gather(
        *(
            _go(shop, ways[number % len(ways)](shop, chance), chance.uniform(0, within_s), chance)
            for number in range(count)
        )
    )
    return sum(said)


async def _go(shop: Shop, part: bytes, stay_s: float, chance: Random) -> bool:
    """Say a part of a request, stay for a while, and be gone: in order, or with a reset."""
    stream = IOStream(socket.socket(shop.address.family, socket.SOCK_STREAM))
    try:
        async with asyncio.timeout(stay_s + CONNECT_S):
            await stream.connect(shop.address.sockaddr)
            await stream.write(part)
            await asyncio.sleep(stay_s)
        if chance.random() < 0.5 and not stream.closed():
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    except (StreamClosedError, OSError, TimeoutError):
        return False
    finally:
        stream.close()
    return True


def _in_the_head(shop: Shop, chance: Random) -> bytes:
    request = shop.address.post("/order", b"")
    return request[: chance.randrange(1, len(request) - 4)]


def _in_the_body(shop: Shop, chance: Random) -> bytes:
    [index] = shop.ledger.take(1)
    body = shop.ledger.orders.body(index)
    return shop.address.post("/order", body)[: -chance.randrange(1, len(body))]


def _before_the_answer(shop: Shop, chance: Random) -> bytes:
    indexes = shop.ledger.take(1)
    shop.ledger.note_sent(indexes)
    return shop.address.post("/order", shop.ledger.orders.body(indexes[0]))


def _in_the_lines(shop: Shop, chance: Random) -> bytes:
    indexes = shop.ledger.take(LINES)
    bodies = [shop.ledger.orders.body(index) for index in indexes]
    whole = chance.randrange(1, LINES)
    shop.ledger.note_sent(indexes[:whole])
    cut = bodies[whole][: chance.randrange(1, len(bodies[whole]))]
    return lines_head(bodies, shop.address) + b"\n".join([*bodies[:whole], cut])
