"""Runs the shop: a small fake server with the API for orders, and with faults that tests set. Has its own thread."""

import asyncio
import http.client
import ssl
import threading
from collections import defaultdict
from enum import Enum, auto
from types import TracebackType
from typing import Self

import msgspec
from tornado.iostream import IOStream, StreamClosedError
from tornado.netutil import bind_sockets
from tornado.tcpserver import TCPServer

from tests.load.event_streams import EventStreams
from tests.load.steps import Steps
from tests.process import DEADLINE_S, wait_until

REASONS = {200: "OK", 202: "Accepted", 401: "Unauthorized", 404: "Not Found"}


class Fault(Enum):
    """Says what the shop does wrong when it receives one order."""

    LOSE = auto()  # Acknowledge the order, but do not store it.
    CUT = auto()  # Close the connection in the middle of the response.
    HOLD = auto()  # Respond only after `release`.
    CHUNK = auto()  # Send a chunked response.
    NAME_ANOTHER = auto()  # Respond with the id of another order.
    VANISH = auto()  # Close all connections, and stop listening until `come_back`.
    STALL = auto()
    """Block for `stall_s`: neither this order nor orders that arrive meanwhile get a response."""


class Shop:
    """A fake server, which listens at `url` in its `with` block. Faults must be set before the orders arrive.

    `steps` records which order "came", was "answered", or made the shop stop ("gone"). `looked_after` is a path and a
    number: `looked` is set when the path has been requested this many times.
    """

    def __init__(self) -> None:
        self.faults: dict[int, Fault] = {}
        self.refusals: dict[int, int] = {}  # With which HTTP status the shop rejects an order.
        self.altered: dict[int, dict[str, bytes]] = {}  # Values, as JSON, that differ when an order is read.
        self.statuses: dict[int, str] = {}  # The status of an order, if not Completed.
        self.becomes_final_after: dict[int, int] = {}  # How many reads of an order return Processing.
        self.waiting: list[int] = [0]  # Pending orders in each response to GET /metrics. The last number is repeated.
        self.reported_waiting: list[int] = []  # The numbers from `waiting` that were sent so far.
        self.completed = 0
        self.stall_s = 1.0
        self.answer_to_one: bytes | None = None  # The body of each response to POST /order, if it must be wrong.
        self.answer_to_many: bytes | None = None  # The same for POST /orders.
        self.tls: ssl.SSLContext | None = None
        self.api_key = ""
        self.holds_metrics = False
        self.looked_after = ("", 0)
        self.looked = threading.Event()
        self.heads: list[str] = []  # The request line and headers of each request.
        self.sizes: list[int] = []  # How many orders each array had.
        self.single_bytes = False  # Whether the shop sends its responses byte by byte.
        self.closes = False  # Whether the shop closes the connection after each response.
        self.has_metrics = True
        self.has_events = True
        self.events = EventStreams()
        self.bodies: list[bytes] = []
        self.steps = Steps()
        self.connections = 0
        self.most_outstanding = 0
        self.url = ""
        self.port = 0
        self._orders: dict[int, dict[str, msgspec.Raw]] = {}
        self._released: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self._outstanding = 0
        self._streams: set[IOStream] = set()
        self._servers: list[Listener] = []
        self._never = threading.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(DEADLINE_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()

    @property
    def ids(self) -> list[int]:
        """The ids of the orders that "came", in the sequence of their arrival."""
        return [order_id for what, order_id in self.steps.entries if what == "came"]

    def release(self, *order_ids: int) -> None:
        """Answer orders that were held. Called from another thread."""
        for order_id in order_ids:
            self._loop.call_soon_threadsafe(lambda held: self._released[held].set(), order_id)

    def read_all(self) -> None:
        """Wait until all connections have ended and all that they sent is read. Called from another thread.

        All clients must have ended. Even then, orders that they sent can still be unread.
        """
        # Connections are accepted in the sequence in which they were opened, so this connection is accepted last.
        last = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        last.request("GET", "/order/0")
        last.getresponse().read()
        last.close()
        wait_until(lambda: not self._streams)

    def end_events(self) -> None:
        """End every stream of events. Called from another thread."""
        self._loop.call_soon_threadsafe(self.events.end)

    def come_back(self) -> None:
        """After a VANISH, listen on the port again. Called from another thread."""
        self._loop.call_soon_threadsafe(self._listen, self.port)

    def listen_with_tls(self, context: ssl.SSLContext) -> None:
        """Listen on another port, with TLS. Called from another thread."""
        self.tls = context
        self._listening.clear()
        self._loop.call_soon_threadsafe(self._listen, 0)
        assert self._listening.wait(DEADLINE_S)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._listen(0)
        await self._end.wait()
        self._vanish()
        # Connections that were accepted at the last moment are closed in the next iteration of the event loop.
        await asyncio.sleep(0)

    def _listen(self, port: int) -> None:
        self._server = Listener(self, tls=self.tls)
        self._servers.append(self._server)
        [listening] = bind_sockets(port, "127.0.0.1", backlog=2048)
        self._server.add_sockets([listening])
        self.port = listening.getsockname()[1]
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"
        self._listening.set()

    def _vanish(self) -> None:
        for server in self._servers:
            server.stop()
        self._servers.clear()
        for stream in list(self._streams):
            stream.close()

    async def serve_stream(self, stream: IOStream) -> None:
        """Answer the requests on one connection, one after another, until the connection ends."""
        if not self._servers:
            # The connection was accepted right before the shop stopped.
            stream.close()
            return
        self.connections += 1
        self._streams.add(stream)
        try:
            while True:
                head = await stream.read_until(b"\r\n\r\n")
                method, path = head.decode().split(" ", 2)[:2]
                self.heads.append(head.decode())
                self._note_look(path)
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or b"0")
                body = await stream.read_bytes(length)
                if self.api_key and f"\r\nAuthorization: Bearer {self.api_key}\r\n" not in head.decode():
                    await self._answer(stream, 401, b"{}")
                elif method == "POST":
                    await (self._take_many if path == "/orders" else self._take)(stream, body)
                else:
                    await self._give(stream, path)
                if self.closes:
                    stream.close()
        except StreamClosedError:
            pass
        finally:
            self._streams.discard(stream)
            stream.close()

    async def _give(self, stream: IOStream, path: str) -> None:
        if path == "/orders/events" and self.has_events:
            await self.events.serve(stream)
        elif path == "/metrics":
            if self.holds_metrics:
                await self._released[0].wait()
            await self._answer(stream, *self._metrics())
        else:
            await self._answer(stream, *self._find(path.rpartition("/")[2]))

    def _note_look(self, path: str) -> None:
        wanted, times = self.looked_after
        if path == wanted:
            self.looked_after = (wanted, times - 1)
            if times == 1:
                self.looked.set()

    async def _take_many(self, stream: IOStream, body: bytes) -> None:
        orders = msgspec.json.decode(body, type=list[dict[str, msgspec.Raw]])
        ids = [msgspec.json.decode(order["order_id"], type=int) for order in orders]
        self.sizes.append(len(ids))
        if any(self.faults.get(order_id) is Fault.HOLD for order_id in ids):
            self.steps.note("came", ids[0])
            await self._released[ids[0]].wait()
        taken = {order_id: order for order_id, order in zip(ids, orders, strict=True) if order_id not in self.refusals}
        duplicates = len(self._orders.keys() & taken)
        kept = {order_id: order for order_id, order in taken.items() if self.faults.get(order_id) is not Fault.LOSE}
        self._orders.update(kept)
        counts = {
            "accepted": len(taken) - duplicates,
            "duplicates": duplicates,
            "rejected": [
                {"index": index, "order_id": order_id, "status": self.refusals[order_id], "detail": "no"}
                for index, order_id in enumerate(ids)
                if order_id in self.refusals
            ],
            "rejected_total": len(ids) - len(taken),
        }
        await self._answer(stream, 202 if taken else 422, self.answer_to_many or msgspec.json.encode(counts))

    async def _take(self, stream: IOStream, body: bytes) -> None:
        order = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        order_id = msgspec.json.decode(order["order_id"], type=int)
        self.bodies.append(body)
        self.steps.note("came", order_id)
        self._outstanding += 1
        self.most_outstanding = max(self.most_outstanding, self._outstanding)
        try:
            await self._accept(stream, order_id, order)
        finally:
            self._outstanding -= 1

    async def _accept(self, stream: IOStream, order_id: int, order: dict[str, msgspec.Raw]) -> None:
        fault = self.faults.get(order_id)
        if order_id in self.refusals:
            problem = {"title": "Refused", "detail": f"order {order_id} is not wanted"}
            await self._answer(stream, self.refusals[order_id], msgspec.json.encode(problem))
            return
        replayed = b"Idempotent-Replayed: true\r\n" if order_id in self._orders else b""
        if fault is not Fault.LOSE:
            self._orders.setdefault(order_id, order)
        if fault is Fault.STALL:
            self._never.wait(self.stall_s)
        if fault is Fault.HOLD:
            await self._released[order_id].wait()
        elif fault is Fault.CUT:
            await stream.write(b"HTTP/1.1 202 Accepted\r\nContent-Le")
            stream.close()
        elif fault is Fault.CHUNK:
            await stream.write(b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
            return
        elif fault is Fault.VANISH:
            self._vanish()
            self.steps.note("gone", order_id)
        named = order_id + 1 if fault is Fault.NAME_ANOTHER else order_id
        self.steps.note("answered", order_id)
        await self.events.tell(order_id)
        message = b'{"message": "Order processing initiated successfully", "order_id": "%d"}' % named
        message = message if self.answer_to_one is None else self.answer_to_one
        await self._answer(stream, 202, message, b"Location: /order/%d\r\n" % named + replayed)

    def _metrics(self) -> tuple[int, bytes]:
        if not self.has_metrics:
            return 404, b"{}"
        waiting = self.waiting.pop(0) if len(self.waiting) > 1 else self.waiting[0]
        self.reported_waiting.append(waiting)
        counts = {"pending_orders": waiting, "processing_orders": 0, "completed_orders": self.completed}
        return 200, msgspec.json.encode(counts)

    def _find(self, name: str) -> tuple[int, bytes]:
        order_id = int(name) if name.isdigit() else 0
        if order_id not in self._orders:
            return 404, b"{}"
        status = self.statuses.get(order_id, "Completed")
        if self.becomes_final_after.get(order_id, 0) > 0:
            self.becomes_final_after[order_id] -= 1
            status = "Processing"
        changes = {name: msgspec.Raw(value) for name, value in self.altered.get(order_id, {}).items()}
        found = {**self._orders[order_id], "status": msgspec.Raw(b'"%s"' % status.encode())}
        if amount := found.get("total_amount"):
            # An amount that was sent as a string is returned as a number.
            found["total_amount"] = msgspec.Raw(bytes(amount).strip(b'"'))
        found |= changes
        return 200, msgspec.json.encode(found)

    async def _answer(self, stream: IOStream, status: int, body: bytes, headers: bytes = b"") -> None:
        reason = REASONS.get(status, "Refused").encode()
        closing = b"Connection: close\r\n" if self.closes else b""
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        text = b"HTTP/1.1 %d %s\r\n" % (status, reason) + headers + closing + length + body
        pieces = [text[place : place + 1] for place in range(len(text))] if self.single_bytes else [text]
        for piece in pieces:
            await stream.write(piece)


class Listener(TCPServer):
    """Accepts the connections of the shop."""

    def __init__(self, shop: Shop, *, tls: ssl.SSLContext | None) -> None:
        super().__init__(ssl_options=tls)
        self._shop = shop

    async def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        stream.set_nodelay(True)
        await self._shop.serve_stream(stream)
