"""The handlers on a real port over a real store, put together as the server does, and ways to talk to them."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders
from tornado.testing import bind_unused_port

from handlers.metrics.history import History
from handlers.metrics.instruments import Measurements
from handlers.metrics.prometheus import Exposition
from handlers.metrics.snapshot import Figures
from handlers.routes import Collaborators, build_router
from handlers.sse.event_log import EventLog
from handlers.sse.metric_events import MetricsStreams
from handlers.sse.order_events import EventStreams
from handlers.transport.body_limit import MAX_DISCARDED_BYTES
from handlers.transport.in_flight import Traffic
from models.changes import changes_of
from models.listing import Listing, Page
from models.order import Order, Totals
from models.writes import Cancel, Moved, Outcome, Retried, Retry, RetryFailed, Write, Written
from tests.models.new_database import open_new_database
from tests.models.samples import Clock, SteppedStore
from workers.batcher import Batcher
from workers.intake import Intake
from workers.waiters import Finals

T = TypeVar("T")
JSON = {"Content-Type": "application/json"}


class Answer(NamedTuple):
    status: int
    headers: HTTPHeaders
    body: bytes

    @property
    def json(self) -> Any:
        """The body; numbers with a point or an exponent as the decimals that they are."""
        return json.loads(self.body, parse_float=Decimal)


class CountedTraffic(Traffic):
    """Traffic that a test can count."""

    def __init__(self) -> None:
        super().__init__()
        self.in_flight = 0

    def enter(self) -> None:
        super().enter()
        self.in_flight += 1

    def leave(self) -> None:
        super().leave()
        self.in_flight -= 1
        assert self.in_flight >= 0


class Connection:
    """One connection, on which a test says byte for byte what is sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, *, has_body: bool = True) -> Answer:
        start_line, _, fields = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin1").partition("\r\n")
        version, status, _ = start_line.split(" ", 2)
        assert version == "HTTP/1.1"
        headers = HTTPHeaders.parse(fields)
        body = await self._reader.readexactly(int(headers["Content-Length"])) if has_body else b""
        return Answer(int(status), headers, body)

    async def is_at_its_end(self) -> bool:
        """Waits for more from the server; whether that is the end, be it a reset for what the server left unread."""
        try:
            return await self._reader.read(1) == b""
        except ConnectionResetError:
            return True

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionResetError):  # it is closed then, too
            await self._writer.wait_closed()


class Service:
    """Open it on a running loop; `overrides` replace collaborators of the handlers."""

    def __init__(self, path: Path, clock: Clock, *, max_intake: int = 1_000, **overrides: Any) -> None:
        self.clock = clock
        self.uptime_s = 12.3456
        self.is_writable = True
        self.retried_at_once = 1_000
        self.rates = (3.14159, 2.71828)
        self.traffic = CountedTraffic()
        self.measurements = Measurements(clock=clock)
        self.max_backlog = 1_000
        self.max_events = 1_000
        self.max_event_readers = 100
        self.max_metrics_readers = 100
        self.max_waiting_for_finals = 100
        self.monotonic_s = 1_000.0
        self._max_intake = max_intake
        self._overrides = overrides
        self._database = open_new_database(path)
        self._store = SteppedStore(self._database, clock=clock)
        self._writer = ThreadPoolExecutor(1, "writer")
        self._reader = ThreadPoolExecutor(1, "reader")
        self._lister = ThreadPoolExecutor(1, "lister")

    async def open(self) -> None:
        for executor in (self._writer, self._reader, self._lister):
            executor.submit(self._database.connect).result()
        self.writes: Batcher[Write, Written] = Batcher(
            self._writer, self._store.write, max_waiting=self._max_intake, after_batch=self._publish
        )
        self.finds: Batcher[int, Order | None] = Batcher(self._reader, self._store.find, max_waiting=1_000)
        self.listings: Batcher[Listing, Page] = Batcher(self._lister, self._list, max_waiting=1_000, max_batch=1)
        self._totals: Batcher[None, Totals] = Batcher(self._reader, self._read_totals, max_waiting=1_000)
        self._probes: Batcher[None, None] = Batcher(self._writer, self._probe, max_waiting=1_000)
        self.finals = Finals(max_waiting=self.max_waiting_for_finals)
        self.intake = Intake(
            writes=self.writes,
            finds=self.finds,
            finals=self.finals,
            pending=lambda: self._store.pending,
            max_backlog=self.max_backlog,
        )
        for name in self._overrides.keys() & {"insert", "find"}:
            setattr(self.intake, name, self._overrides.pop(name))
        self.streams = EventStreams(
            log=EventLog(run="abc", max_events=self.max_events),
            clock=lambda: self.monotonic_s,
            max_readers=self.max_event_readers,
        )
        figures = Figures(rates=lambda totals: self.rates, clock=self.clock, uptime_s=lambda: self.uptime_s)
        self.metrics_streams = MetricsStreams(
            figures=figures,
            history=History(measurements=self.measurements, clock=self.clock, monotonic=lambda: self.monotonic_s),
            is_writable=lambda: self.is_writable,
            clock=lambda: self.monotonic_s,
            max_readers=self.max_metrics_readers,
        )
        given = Collaborators(
            traffic=self.traffic,
            admit=lambda incoming: None,
            intake=self.intake,
            streams=self.streams,
            cancel=lambda order_id: self._act(Cancel(order_id)),
            retry=lambda order_id: self._act(Retry(order_id)),
            retry_failed=self._retry_failed,
            list_orders=self.listings.submit,
            totals=lambda: self._totals.submit(None),
            check_storage=lambda: self._probes.submit(None),
            figures=figures,
            metrics_streams=self.metrics_streams,
            version="1.2.3",
            has_keys=False,
            measurements=self.measurements,
            exposition=Exposition(measurements=self.measurements, version="1.2.3"),
        )
        self._http = HTTPServer(build_router(given._replace(**self._overrides)), max_body_size=2 * MAX_DISCARDED_BYTES)
        socket, self.port = bind_unused_port()
        self._http.add_socket(socket)
        self._client = AsyncHTTPClient(force_instance=True)

    async def close(self) -> None:
        """Closes everything; a request that was never answered for is a warning in the log."""
        self._http.stop()
        self.finals.close()
        await self.traffic.drain(5)
        self.streams.close()
        self.metrics_streams.close()
        self._client.close()
        await self._http.close_all_connections()
        for batcher in (self.writes, self.finds, self.listings, self._totals, self._probes):
            await batcher.close()
        for executor in (self._writer, self._reader, self._lister):
            executor.submit(self._database.close).result()
            executor.shutdown()

    async def _act(self, wish: Cancel | Retry) -> Order | None:
        moved = cast(Moved | None, await self.writes.submit(wish))
        return None if moved is None else moved.order

    async def _retry_failed(self, after: int) -> Retried:
        return cast(Retried, await self.writes.submit(RetryFailed(after, self.retried_at_once)))

    def _publish(self, batch: Sequence[Write], results: Sequence[Written | BaseException]) -> None:
        changes = changes_of(batch, results)
        self.finals.publish(changes)
        self.streams.publish(changes)

    def _list(self, listings: Sequence[Listing]) -> list[Page]:
        return [self._store.list_orders(listing) for listing in listings]

    def _read_totals(self, waiters: Sequence[None]) -> list[Totals]:
        return [self._store.totals()] * len(waiters)

    def _probe(self, waiters: Sequence[None]) -> list[None]:
        self._store.probe()
        return [None] * len(waiters)

    async def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
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

    async def finish_and_claim(self, outcomes: Sequence[Outcome], limit: int) -> list[Order]:
        """Claimed and finishes, as a dispatcher does."""
        return await self.on_writer(lambda: self._store.finish_and_claim(outcomes, limit))

    async def on_writer(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, call)

    async def until_in_flight(self, count: int) -> None:
        """Returns when `count` requests have come whole and are not answered."""
        while self.traffic.in_flight != count:
            await turn_of_the_loop()

    async def pragma(self, name: str, value: int) -> None:
        await self.on_writer(lambda: self._database.pragma(name, value))

    @contextmanager
    def held(self, *, reads: bool = False, listings: bool = False) -> Iterator[None]:
        """Nothing is written (or read, or listed) while the block runs."""
        go_on = threading.Event()
        (self._lister if listings else self._reader if reads else self._writer).submit(go_on.wait)
        try:
            yield
        finally:
            go_on.set()


def post_text(body: bytes, *, version: str = "1.1", headers: str = "") -> bytes:
    """A whole `POST /order`, as it is sent."""
    head = f"POST /order HTTP/{version}\r\nHost: test\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def get_text(path: str, *, method: str = "GET", version: str = "1.1", headers: str = "") -> bytes:
    return f"{method} {path} HTTP/{version}\r\nHost: test\r\n{headers}\r\n".encode()


async def turn_of_the_loop() -> None:
    """Lets everything run that is ready to."""
    loop = asyncio.get_running_loop()
    turned = loop.create_future()
    loop.call_soon(turned.set_result, None)
    await turned
