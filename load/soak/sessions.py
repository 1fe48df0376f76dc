"""The client sessions of a soak repeat checked requests or read streams until cancelled. Runs on the event loop.

Sessions call `report` with a text for each problem. `rng` makes all random choices.
"""

import asyncio
import re
import socket
from collections.abc import Coroutine, Iterator
from contextlib import closing
from random import Random
from typing import Any

from load.http.address import Address, reason_of
from load.http.connection import Connection, NoResponse, send_request
from load.orders.generated import SentOrders
from load.soak.requests import CheckedRequest, Requests, SessionRequests
from load.soak.streams import ANSWER_LIMIT_S, Report, follow_metrics, resume_events, stall_events

DISCONNECT_PAUSE_S = 0.1
NUMBER = re.compile(r"\d+")
ORDER_CONNECTIONS = 64  # The most connections that send orders at the steady rate.


async def send_requests(
    address: Address, requests: Requests, *, pause_s: float, rng: Random, report: Report, keep_alive: bool
) -> None:
    """Send requests one after another, each followed by a pause of `pause_s` on average."""
    with closing(Connection(address)) as connection:
        for each in requests:
            sending = asyncio.create_task(_send_request(connection, each, report))
            try:
                await asyncio.shield(sending)
            finally:
                # Awaited even if this task is cancelled: the server can have stored the orders of the request.
                await sending
            if not keep_alive:
                connection.close()
            await asyncio.sleep(rng.expovariate(1 / pause_s))


async def _send_request(connection: Connection, checked: CheckedRequest, report: Report) -> None:
    try:
        problem = checked.check(await send_request(connection, checked.request, limit_s=ANSWER_LIMIT_S))
    except NoResponse as error:
        problem = str(error)
    if problem:
        # Ids are replaced by "N", so that equal problems are counted together.
        request_line = NUMBER.sub("N", checked.request.partition(b" HTTP/")[0].decode())
        report(f"{request_line}: {problem}")


async def disconnect(address: Address, *, rng: Random, report: Report) -> None:
    """Connect, then disconnect: without a request, in the middle of a request, or before its response."""
    requests = (b"", b"GET /livez HTTP/1.1\r\nHo", address.post("/order", b"{}")[:-1], address.get("/orders?limit=200"))
    loop = asyncio.get_running_loop()
    while True:
        with socket.socket(address.family, socket.SOCK_STREAM) as own:
            own.setblocking(False)
            try:
                await loop.sock_connect(own, address.sockaddr)
                await loop.sock_sendall(own, rng.choice(requests))
            except OSError as problem:
                report(f"disconnecting client: {reason_of(problem, 'no connection')}")
        await asyncio.sleep(rng.expovariate(1 / DISCONNECT_PAUSE_S))


REQUEST_SESSIONS = (
    # Number of sessions, their requests, mean pause after each request in seconds, whether connections are kept.
    (4, SessionRequests.lookups, 0.05, True),
    (3, SessionRequests.waits, 0.1, True),
    (2, SessionRequests.listings, 0.3, True),
    (2, SessionRequests.metrics, 1.0, True),
    (1, SessionRequests.mistakes, 0.1, True),
    (2, SessionRequests.health_checks, 0.1, False),
    (1, SessionRequests.arrays, 10.0, True),
)
OTHER_SESSIONS = ((4, resume_events), (2, stall_events), (2, disconnect), (1, follow_metrics))
CONNECTIONS = ORDER_CONNECTIONS + sum(count for count, *_ in (*REQUEST_SESSIONS, *OTHER_SESSIONS)) + 1
"""The most simultaneous connections of a soak. One of them reads the metrics every second."""


def client_sessions(
    address: Address, *, ledger: SentOrders, seed: int, report: Report
) -> Iterator[Coroutine[Any, Any, None]]:
    """Yield the coroutines of all sessions. `seed` determines the random numbers of each session."""
    for count, kind, pause_s, keep_alive in REQUEST_SESSIONS:
        for number in range(count):
            rng = Random(f"{seed} {kind.__name__} {number}")
            requests = kind(SessionRequests(address, ledger=ledger, rng=rng))
            yield send_requests(address, requests, pause_s=pause_s, rng=rng, report=report, keep_alive=keep_alive)
    for count, session in OTHER_SESSIONS:
        for number in range(count):
            yield session(address, rng=Random(f"{seed} {session.__name__} {number}"), report=report)
