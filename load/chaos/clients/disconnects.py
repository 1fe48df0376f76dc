"""Disconnects clients in the middle of their requests. Runs on the event loop."""

import asyncio
import socket
import struct
from random import Random

from tornado.iostream import IOStream, StreamClosedError

from load.chaos.clients.sessions import NDJSON
from load.chaos.target import Target

LINES_PER_REQUEST = 400
CONNECT_LIMIT_S, RESET_SHARE = 1.0, 0.5
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # The value of SO_LINGER for which close() sends RST.


async def disconnect_clients(target: Target, *, clients: int, longest_s: float, rng: Random) -> int:
    """Send a part of a request on each of `clients` connections, then disconnect. Return how many parts were sent."""
    parts = [(_cut_request(target, n % 4, rng), rng.uniform(0, longest_s)) for n in range(clients)]
    return sum(await asyncio.gather(*(_send_and_leave(target, part, stay_s, rng) for part, stay_s in parts)))


async def _send_and_leave(target: Target, part: bytes, stay_s: float, rng: Random) -> bool:
    """Send a part of a request, wait, then close or reset the connection. Return False if the part was not sent."""
    stream = IOStream(socket.socket(target.address.family, socket.SOCK_STREAM))
    try:
        async with asyncio.timeout(stay_s + CONNECT_LIMIT_S):
            await stream.connect(target.address.sockaddr)
            await stream.write(part)
            await asyncio.sleep(stay_s)
        if rng.random() < RESET_SHARE and not stream.closed():
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    except (StreamClosedError, OSError, TimeoutError):
        return False
    finally:
        stream.close()
    return True


def _cut_request(target: Target, way: int, rng: Random) -> bytes:
    """Encode a request and cut it off: in the head (way 0), in the body (1), not at all (2), or in an NDJSON line (3).

    Only orders that are complete in the request are recorded as sent, because the server can't store incomplete orders.
    """
    ledger, address = target.ledger, target.address
    if way == 0:
        head = address.post("/order", b"")
        return head[: rng.randrange(1, len(head) - 4)]
    indexes = ledger.take(LINES_PER_REQUEST if way == 3 else 1, is_sent=way == 2)
    bodies = [ledger.orders.body(index) for index in indexes]
    if way < 3:
        request = address.post("/order", bodies[0])
        return request if way == 2 else request[: -rng.randrange(1, len(bodies[0]))]
    whole = rng.randrange(1, len(bodies))
    ledger.note_sent(indexes[:whole])
    cut = len(b"\n".join(bodies[whole:])) - rng.randrange(1, len(bodies[whole]))
    return address.post("/orders", b"\n".join(bodies), content=NDJSON)[:-cut]
