"""`GET /orders/events` of a real server: a stop, a restart, and many clients, some of which never read."""

import asyncio
import http.client
import re
import resource
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.live_orders import post_all
from tests.process import DEADLINE_S, HANGS_AFTER_S, Client, ServerProcess, order
from tests.sse import EventParser, Message
from tests.user_module import UserModule

READERS = 1_500
SILENT_CLIENTS = 500
ORDERS = 2_000
REQUEST = b"GET /orders/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
MAX_GROWTH_MIB = 80
LAST_EVENT = b'"status":"Completed"'
"""Part of the last event of each order. The first event, Pending, is not sent if processing begins at once."""
CHUNK_SIZE = re.compile(rb"([0-9a-f]+)\r\n")
HEARTBEAT = re.compile(rb"^:\nid: [^\n]+\n\n", re.MULTILINE)


@contextmanager
def request_events(server: ServerProcess) -> Iterator[http.client.HTTPResponse]:
    client = Client(server.port)
    try:
        client.request("GET", "/orders/events")
        yield client.getresponse()
    finally:
        client.close()


def read_events(response: http.client.HTTPResponse, parser: EventParser, count: int) -> list[Message]:
    """The next events, at least `count` of them."""
    messages: list[Message] = []
    # The socket's time-out is not enough, because comments arrive even without events.
    deadline_s = time.monotonic() + DEADLINE_S
    while len(messages) < count:
        assert time.monotonic() < deadline_s, "no more events come"
        data = response.read1()
        assert data, "the stream has ended"
        messages += parser.feed(data)
    return messages


def check_ids(ids: Sequence[str]) -> None:
    """The numbers begin with 1, and none is missing. On PostgreSQL, each row of the feed has numbers from 1."""
    places = [[int(part) for part in each.split("-")[1:]] for each in ids]
    before = [0] * len(places[0])
    for place in places:
        assert place == [*before[:-1], before[-1] + 1] or (place > before and len(place) == 2 and place[-1] == 1)
        before = place


def statuses(messages: list[Message]) -> list[tuple[int, str]]:
    return [(message.json["order_id"], message.json["status"]) for message in messages]


@pytest.mark.slow
def test_a_stop_sends_the_running_order_as_pending_and_ends_the_stream(tmp_path: Path) -> None:
    with UserModule(tmp_path, "tell(order)\nwait_at_gate()") as module, ExitStack() as stack:
        server = stack.enter_context(module.server("--workers", "1", "--drain-timeout", "0.1"))
        response = stack.enter_context(request_events(server))
        parser = EventParser()
        assert server.post(order(1)).status == 202
        module.call()
        assert statuses(read_events(response, parser, 1)) == [(1, "Processing")]
        server.signal(signal.SIGTERM)
        # read() raises IncompleteRead if the last chunk is missing.
        [last] = parser.feed(response.read())
        parser.end()
        assert (last.json["status"], last.json["attempts"]) == ("Pending", 0)
        assert server.wait() == 0
        assert "Traceback" not in server.log


# On PostgreSQL, a restart does not change the ids: see test_events_of_servers.py.
@pytest.mark.sqlite
@pytest.mark.slow
def test_an_event_id_from_before_a_restart_is_answered_with_a_reset(tmp_path: Path) -> None:
    ids: list[str] = []
    for number in range(2):
        with ServerProcess(tmp_path / "orders.db") as server, server.client() as client:
            parser = EventParser()
            headers = {"Last-Event-ID": ids[0]} if ids else {}
            client.request("GET", "/orders/events", headers=headers)
            response = client.getresponse()
            assert server.post(order(number + 1)).status == 202
            messages = read_events(response, parser, 2 + number)
            ids.append(parser.last_id)
            assert statuses(messages[number:]) == [
                (number + 1, "Processing"),
                (number + 1, "Completed"),
            ]
            assert [message.type for message in messages[:number]] == ["reset"] * number


class EventClient(asyncio.Protocol):
    """Stores all received bytes. The future `ended` is done when the last events of `expected` orders have arrived."""

    def __init__(self, expected: int) -> None:
        self._missing = expected
        self._parts: list[bytes] = []
        self._tail = b""
        self.begun = asyncio.get_running_loop().create_future()
        self.ended = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        if not self.begun.done():
            self.begun.set_result(None)
        self._missing -= (self._tail + data).count(LAST_EVENT)
        self._tail = (self._tail + data)[1 - len(LAST_EVENT) :]
        if self._missing <= 0 and not self.ended.done():
            self.ended.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error or EOFError("the stream has ended"))

    @property
    def body(self) -> bytes:
        """The content of all chunks. The last chunk can lack its line end."""
        _, _, rest = b"".join(self._parts).partition(b"\r\n\r\n")
        parts, place = [], 0
        while place < len(rest):
            found = CHUNK_SIZE.match(rest, place)
            assert found
            end = found.end() + int(found[1], 16)
            parts.append(rest[found.end() : end])
            assert b"\r\n".startswith(rest[end : end + 2])
            place = end + 2
        return b"".join(parts)


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = READERS + SILENT_CLIENTS + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"no more than {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
def test_1500_clients_get_all_events_while_500_others_never_read(tmp_path: Path, many_files: None) -> None:
    with ServerProcess(tmp_path / "orders.db") as server, ExitStack() as silent:
        for _ in range(SILENT_CLIENTS):
            silent.enter_context(connect_silent_client(server.port))
        before_mib = server.memory_kib() / 1024
        with ThreadPoolExecutor(1) as pool:
            readers = asyncio.run(receive_all_events(server, pool))
        after_mib = server.memory_kib() / 1024
        print(f"VmRSS {before_mib:.0f} MiB with {SILENT_CLIENTS} silent clients, {after_mib:.0f} MiB at the end")
        # A client that is idle for long also gets heartbeats. How many, depends on the speed of the machine.
        bodies = {HEARTBEAT.sub(b"", body) for body in {reader.body.partition(b"\n\n")[2] for reader in readers}}
        assert len(bodies) == 1, "the clients have received different events"
        parser = EventParser()
        messages = list(parser.feed(bodies.pop()))
        parser.end()
        check_ids([message.last_id for message in messages])
        received: dict[int, list[str]] = {}
        for order_id, status in statuses(messages):
            received.setdefault(order_id, []).append(status)
        assert received.keys() == set(range(1, ORDERS + 1))
        expected = ["Pending", "Processing", "Completed"]
        assert [each for each in received.values() if each not in (expected, expected[1:])] == []
        assert after_mib - before_mib < MAX_GROWTH_MIB
        silent.close()
        assert server.stop() == 0
        assert "Traceback" not in server.log


def connect_silent_client(port: int, request: bytes = REQUEST) -> socket.socket:
    """Sends the request on a new connection. The returned socket must not be read."""
    client = socket.socket()
    # The smallest receive buffer that the system allows, so that unread data has to stay in the server.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    client.connect(("127.0.0.1", port))
    client.send(request)
    return client


async def receive_all_events(server: ServerProcess, pool: ThreadPoolExecutor) -> list[EventClient]:
    loop = asyncio.get_running_loop()
    readers = []
    for _ in range(READERS):
        _, reader = await loop.create_connection(lambda: EventClient(ORDERS), "127.0.0.1", server.port)
        readers.append(reader)
    await asyncio.gather(*(reader.begun for reader in readers))
    posts = loop.run_in_executor(pool, post_all, server, range(1, ORDERS + 1))
    await asyncio.wait_for(asyncio.gather(posts, *(reader.ended for reader in readers)), HANGS_AFTER_S)
    for reader in readers:
        reader.transport.abort()
    return readers
