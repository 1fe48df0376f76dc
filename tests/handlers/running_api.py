"""The HTTP API on a real port with a real order service, and clients for it."""

import asyncio
import contextlib
import enum
import json
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httputil import HTTPHeaders
from tornado.netutil import Resolver
from tornado.testing import bind_unused_port

from handlers.api import HttpApi
from handlers.logs.access_log import Access, AccessLog
from handlers.metrics.rates import Rate, Rates
from handlers.requests.body_limit import MAX_BUFFERED_BYTES
from handlers.requests.request_head import RequestHead
from handlers.security.request_guard import Guard, RequestGuard
from handlers.service import Service
from handlers.telemetry import Telemetry, TelemetryLimits
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.plain_request import PlainRequest
from models.database.health import Work
from models.listing import Listing, Page
from models.order import Found, Totals
from models.writes.result import WriteResult
from models.writes.write import AnyWrite
from tests.models.new_store import open_new_store
from tests.models.samples import Clock
from tests.models.shorthand_store import ShorthandStore
from workers.processors.record import RecordRunner
from workers.service import OrderService
from workers.service_limits import ServiceLimits

JSON = {"Content-Type": "application/json"}


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: HTTPHeaders
    body: bytes

    @property
    def json(self) -> Any:
        """The body. Numbers with a decimal point or an exponent are Decimals."""
        return json.loads(self.body, parse_float=Decimal)


class CheckedRequests(InFlightRequests):
    """InFlightRequests that fail if a request begins or ends twice."""

    def begin(self, request: object) -> None:
        before = self.count
        super().begin(request)
        assert self.count == before + 1

    def end(self, request: object) -> None:
        before = self.count
        super().end(request)
        assert self.count == before - 1


class Connection:
    """One client connection. The test chooses every byte that is sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, has_body: bool = True) -> Answer:
        start_line, _, fields = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin1").partition("\r\n")
        version, status, _ = start_line.split(" ", 2)
        assert version == "HTTP/1.1"
        headers = HTTPHeaders.parse(fields)
        body = await self.reader.readexactly(int(headers["Content-Length"])) if has_body else b""
        return Answer(int(status), headers, body)

    async def is_closed_by_server(self) -> bool:
        """Waits for the next byte or the end of the connection. Returns True at the end.

        A reset is an end too: the system sends it if the server closes the connection with unread bytes.
        """
        try:
            return await self.reader.read(1) == b""
        except ConnectionResetError:
            return True

    def reset(self) -> None:
        """Resets the connection, so that the server can't send more data. After `close`, the server could."""
        linger_0_s = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_0_s)
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):  # the connection is already closed
            await self.writer.wait_closed()


class Way(enum.Enum):
    """How the server serves a request. The value has headers that make the server choose this way."""

    LANE = ""
    TORNADO = "X-Repeated: 1\r\nX-Repeated: 2\r\n"


class AccessList:
    """Collects the entries of the access log."""

    def __init__(self) -> None:
        self.accesses: list[Access] = []

    def add(self, access: Access) -> None:
        self.accesses.append(access)

    def values(self, name: str) -> list[Any]:
        return [getattr(access, name) for access in self.accesses]


class WayLog(AccessLog):
    """An access log that collects the ways in which requests were served."""

    def __init__(self) -> None:
        super().__init__(AccessList(), clock_ns=lambda: 0)
        self.ways: set[Way] = set()

    def watch(self, head: RequestHead) -> None:
        self.ways.add(Way.TORNADO)
        super().watch(head)

    def record(self, request: PlainRequest) -> None:
        self.ways.add(Way.LANE)
        super().record(request)


class BlockableStore(ShorthandStore):
    """A store for tests that block writes, reads or listings, or make the database read-only."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        new = open_new_store(path, clock=clock)
        self._set_read_only, self.give_back = new.set_read_only, new.give_back
        super().__init__(new.store)
        self._before_write: list[Callable[[], object]] = []
        self.waiting_writes = 0
        """How many writes wait until the block of `blocked` ends."""
        self.gates = {name: threading.Event() for name in ("writes", "reads", "listings")}
        for each in self.gates.values():
            each.set()

    def set_read_only(self, is_read_only: bool) -> None:
        """Makes the next writes fail, or lets them succeed again."""
        self._before_write.append(lambda: self._set_read_only(is_read_only))

    def write(self, batch: Sequence[AnyWrite], *, max_pending: int | None = None) -> list[WriteResult]:
        self._prepare_write()
        return super().write(batch, max_pending=max_pending)

    def probe(self, work: Work) -> None:
        if work is Work.WRITES:
            self._prepare_write()
        super().probe(work)

    def _prepare_write(self) -> None:
        self.waiting_writes += 1
        self.gates["writes"].wait()
        self.waiting_writes -= 1
        while self._before_write:
            self._before_write.pop()()

    def find(self, order_ids: Sequence[int]) -> list[Found]:
        self.gates["reads"].wait()
        return super().find(order_ids)

    def totals(self) -> Totals:
        self.gates["reads"].wait()
        return super().totals()

    def list_orders(self, listing: Listing) -> Page:
        self.gates["listings"].wait()
        return super().list_orders(listing)


class FixedRates(Rates):
    """Constant rates."""

    value = Rate(3.14159, 2.71828)

    def up_to(self, totals: Totals) -> Rate:
        return self.value


class ServiceWithOverrides:
    """An order service with some methods overridden."""

    def __init__(self, service: OrderService, methods: Mapping[str, Any]) -> None:
        self._service = service
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        return self._methods.get(name) or getattr(self._service, name)


class _NumericResolver(Resolver):
    """A resolver for IP addresses. Unlike Tornado's resolver, it does not start a thread."""

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[tuple[int, Any]]:
        return [(socket.AF_INET, (host, port))]


class RunningApi:
    """The HTTP API with an OrderService that is open but not started: orders are processed only by the test.

    Call `open` while the event loop runs. `overrides` replace methods of the order service, for the handlers only.
    """

    UPTIME_S = 12.3456

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        max_intake: int = 1_000,
        guard: Guard | None = None,
        access_log: AccessLog | None = None,
        has_keys: bool = False,
        has_feed: bool = False,
        max_buffered_bytes: int = MAX_BUFFERED_BYTES,
        **overrides: Any,
    ) -> None:
        self.clock = clock
        self.limits = ServiceLimits(max_intake=max_intake, max_backlog=1_000, max_waiters=100)
        self.telemetry_limits = TelemetryLimits(max_events=1_000, max_event_readers=100, max_metrics_readers=100)
        self.monotonic_s = 0.0
        self.log_counts = SimpleNamespace(dropped_lines=0)
        self.way: Way | None = None
        """The way that `request` makes the server choose. If None, `request` uses Tornado's client."""
        self.store = BlockableStore(path, clock=clock)
        self._guard = guard
        self._access_log = access_log
        self._has_keys = has_keys
        self._has_feed = has_feed
        self._max_buffered_bytes = max_buffered_bytes
        self._overrides = overrides

    async def open(self) -> None:
        self.telemetry = Telemetry(
            version="1.2.3",
            run="abc",
            log=self.log_counts,
            clock=self.clock,
            has_feed=self._has_feed,
            monotonic=lambda: self.monotonic_s,
            rates=FixedRates(clock=lambda: self.monotonic_s),
            limits=self.telemetry_limits,
        )
        self.monotonic_s = self.UPTIME_S
        self.instruments = self.telemetry.instruments
        self.in_flight = CheckedRequests(self.instruments.responses)
        self.order_events, self.metric_events = self.telemetry.order_events, self.telemetry.metric_events
        self.orders = OrderService(
            store=self.store,
            runner=RecordRunner(),
            observer=self.telemetry,
            limits=self.limits,
            clock=self.clock,
        )
        await self.orders.open()
        self._api = HttpApi(
            service=cast(Service, ServiceWithOverrides(self.orders, self._overrides)),
            telemetry=self.telemetry,
            guard=self._guard or RequestGuard(keys=None, limit=None, clock_ns=lambda: 0),
            access_log=self._access_log,
            in_flight=self.in_flight,
            version="1.2.3",
            has_keys=self._has_keys,
            max_buffered_bytes=self._max_buffered_bytes,
        )
        self.router = self._api.router
        listener, self.port = bind_unused_port()
        await self._api.listen([listener], file_limit=2_000)
        self._client = AsyncHTTPClient(force_instance=True, resolver=_NumericResolver())

    async def close(self) -> None:
        """Closes everything. A request without a response causes a warning in the log, which fails the test."""
        await asyncio.gather(self.orders.stop(0), self._api.drain(5))
        self._client.close()
        await self.orders.close()
        await self._api.close()
        self.store.give_back()

    async def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        if self.way is not None:
            return await self._request_by(self.way, method, path, body, headers or {})
        response = await self._client.fetch(
            HTTPRequest(
                f"http://127.0.0.1:{self.port}{path}",
                method=method,
                body=body,
                headers=HTTPHeaders(headers or {}),
                allow_nonstandard_methods=True,
                decompress_response=False,
            ),
            raise_error=False,
        )
        return Answer(response.code, response.headers, response.body)

    async def _request_by(
        self, way: Way, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        length = {} if body is None else {"Content-Length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**headers, **length}.items())
        async with self.connection() as connection:
            await connection.send(get_text(path, method=method, headers=way.value + lines) + (body or b""))
            return await connection.answer()

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.request("GET", path, headers=headers)

    async def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.request("POST", "/order", body, headers=JSON if headers is None else headers)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        connection = Connection(*await asyncio.open_connection("127.0.0.1", self.port))
        try:
            yield connection
        finally:
            await connection.close()

    async def until_in_flight(self, count: int) -> None:
        """Returns when exactly `count` requests are in flight."""
        while self.in_flight.count != count:
            await turn_of_the_loop()

    async def set_read_only(self, is_read_only: bool) -> None:
        self.store.set_read_only(is_read_only)

    @contextmanager
    def blocked(self, *, reads: bool = False, listings: bool = False) -> Iterator[None]:
        """Blocks the store's writes (or reads, or listings) while the `with` block runs."""
        gate = self.store.gates["listings" if listings else "reads" if reads else "writes"]
        gate.clear()
        try:
            yield
        finally:
            gate.set()


def fake_service(**methods: Any) -> Any:
    """An object that has only these methods of an order service."""
    return SimpleNamespace(**methods)


def post_text(body: bytes, *, version: str = "1.1", headers: str = "") -> bytes:
    """A whole `POST /order` as bytes."""
    head = f"POST /order HTTP/{version}\r\nHost: test\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def get_text(path: str, *, method: str = "GET", version: str = "1.1", headers: str = "") -> bytes:
    """A whole request without a body as bytes."""
    return f"{method} {path} HTTP/{version}\r\nHost: test\r\n{headers}\r\n".encode()


async def turn_of_the_loop() -> None:
    """Returns after all callbacks that are ready now have run."""
    loop = asyncio.get_running_loop()
    turned = loop.create_future()
    loop.call_soon(turned.set_result, None)
    await turned


async def until(condition: Callable[[], bool]) -> None:
    """Runs the loop until the condition is true."""
    while not condition():
        await turn_of_the_loop()
