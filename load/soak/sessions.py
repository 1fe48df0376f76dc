"""The client sessions of a soak repeat checked requests or read streams until cancelled. Runs on the event loop.

Sessions call `report` with a text for each problem. `rng` makes all random choices.
"""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import KW_ONLY, dataclass
from functools import partial
from itertools import cycle
from random import Random
from typing import Any, NamedTuple

from load.http.address import Address, reason_of
from load.http.connection import Connection, NoResponse, Response, send_request
from load.orders.comparison import check_known, check_many, check_read, check_status
from load.orders.generated import SentOrders, as_another_order

ARRAY_SIZE = 1_000
WAIT_S = 5
LARGE_BODY = b'{"order_id": 1, "metadata": {"note": "%s"}}' % (b"x" * 70_000)  # The limit for an order is 64 KiB.
ANSWER_LIMIT_S = 30.0
SILENCE_LIMIT_S = 5.0  # The limit for the stream of metrics, which sends something every second.
READ_BYTES, SMALL_BUFFER_BYTES = 64 * 1024, 4096
DISCONNECT_PAUSE_S, LONGEST_STREAM_S, LONGEST_PAUSE_S, LONGEST_STALL_S = 0.1, 10.0, 3.0, 60.0
"""Durations in seconds. The server disconnects a client that reads nothing for 30 s; the longest stall is longer."""
NUMBER = re.compile(r"\d+")
EVENT_ID = re.compile(rb"\nid: (.*)\nevent: order\n")
Report = Callable[[str], None]
ORDER_CONNECTIONS = 64  # The most connections that send orders at the steady rate.


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


async def resume_events(address: Address, *, rng: Random, report: Report) -> None:
    """Read events for a while, disconnect, and resume after the last event, as a browser does."""
    last_id = b""
    while True:
        header = f"Last-Event-ID: {last_id.decode()}\r\n" if last_id else ""
        async with _stream(address, "/orders/events", header, report=report) as stream:
            with suppress(TimeoutError):
                async with asyncio.timeout(rng.uniform(0, LONGEST_STREAM_S)):
                    while stream and (data := await _receive(stream)):
                        last_id = last_id_in(data) or last_id
        await asyncio.sleep(rng.uniform(0, LONGEST_PAUSE_S))


async def stall_events(address: Address, *, rng: Random, report: Report) -> None:
    """Request events and read none of them for up to 60 seconds. The server may close the connection earlier."""
    while True:
        async with _stream(address, "/orders/events", receive_buffer_bytes=SMALL_BUFFER_BYTES, report=report):
            await asyncio.sleep(rng.uniform(0, LONGEST_STALL_S))


async def follow_metrics(address: Address, *, rng: Random, report: Report) -> None:
    """Read the stream of metrics. Report if it ends, or sends nothing for 5 seconds."""
    path = "/metrics/events"
    while True:
        async with _stream(address, path, report=report) as stream:
            try:
                while stream:
                    async with asyncio.timeout(SILENCE_LIMIT_S):
                        if not await _receive(stream):
                            report(f"{path}: the stream ended")
                            break
            except TimeoutError:
                report(f"{path}: nothing came for {SILENCE_LIMIT_S:g} s")
        await asyncio.sleep(rng.uniform(0, LONGEST_PAUSE_S))


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


async def _receive(stream: socket.socket) -> bytes:
    """Return the next received bytes; no bytes if the connection is closed."""
    with suppress(ConnectionError):
        return await asyncio.get_running_loop().sock_recv(stream, READ_BYTES)
    return b""


@asynccontextmanager
async def _stream(
    address: Address, path: str, header: str = "", *, report: Report, receive_buffer_bytes: int = 0
) -> AsyncIterator[socket.socket | None]:
    """Yield a connection on which a stream has begun. If no stream has begun, report why and yield None."""
    loop = asyncio.get_running_loop()
    with socket.socket(address.family, socket.SOCK_STREAM) as own:
        own.setblocking(False)
        if receive_buffer_bytes:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await loop.sock_connect(own, address.sockaddr)
                await loop.sock_sendall(own, address.get(path, header=header))
                status_line = (await loop.sock_recv(own, 512)).partition(b"\r\n")[0].decode("latin-1")
            problem = "" if " 200 " in status_line else status_line or "no answer"
        except TimeoutError:
            problem = f"no answer within {ANSWER_LIMIT_S:g} s"
        except OSError as error:
            problem = reason_of(error, "no connection")
        if problem:
            report(f"{path}: {problem}")
        yield None if problem else own


def last_id_in(data: bytes) -> bytes:
    """Return the last complete event id in a part of a stream, or no bytes if there is none."""
    ids = EVENT_ID.findall(data)
    return ids[-1] if ids else b""


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
