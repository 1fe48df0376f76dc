"""The events of a whole server: a life in events, a stop, and a crowd of readers some of whom never read."""

import asyncio
import http.client
import re
import resource
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.live_orders import post_all
from tests.process import DEADLINE_S, Client, ServerProcess, order
from tests.sse import EventParser, Message
from tests.user_module import UserModule

READERS = 1_500
QUIET_READERS = 500
ORDERS = 4_000
REQUEST = b"GET /orders/events HTTP/1.1\r\nHost: test\r\n\r\n"
MAX_GROWTH_MIB = 80
MARK = b'"status":"Completed"'
"""Of the last event of each order; the first one, Pending, is left out where the order is begun at once."""
CHUNK_SIZE = re.compile(rb"([0-9a-f]+)\r\n")


@contextmanager
def events(server: ServerProcess, query: str = "") -> Iterator[http.client.HTTPResponse]:
    client = Client(server.port)
    try:
        client.request("GET", f"/orders/events{query}")
        yield client.getresponse()
    finally:
        client.close()


def read(response: http.client.HTTPResponse, parser: EventParser, count: int) -> list[Message]:
    """The next events; a stream that ends in between raises what http.client does."""
    messages: list[Message] = []
    # Comments keep the stream alive for ever.
    deadline_s = time.monotonic() + DEADLINE_S
    while len(messages) < count:
        assert time.monotonic() < deadline_s, "no more events come"
        data = response.read1()
        assert data, "the stream has ended"
        messages += parser.feed(data)
    return messages


def statuses(messages: list[Message]) -> list[tuple[int, str]]:
    return [(message.json["order_id"], message.json["status"]) for message in messages]


@pytest.mark.slow
def test_a_stop_tells_what_has_been_given_back_and_ends_the_stream(tmp_path: Path) -> None:
    with UserModule(tmp_path, "tell(order)\nwait_at_gate()") as module, ExitStack() as stack:
        server = stack.enter_context(module.server("--workers", "1", "--drain-timeout", "0.1"))
        response = stack.enter_context(events(server))
        parser = EventParser()
        assert server.post(order(1)).status == 202
        module.call()
        assert statuses(read(response, parser, 1)) == [(1, "Processing")]
        server.signal(signal.SIGTERM)
        # read() raises IncompleteRead where the last chunk is missing.
        [last] = parser.feed(response.read())
        parser.end()
        assert (last.json["status"], last.json["attempts"]) == ("Pending", 0)
        assert server.wait() == 0
        assert "Traceback" not in server.log


@pytest.mark.slow
def test_an_id_of_another_process_is_answered_with_a_reset(tmp_path: Path) -> None:
    ids: list[str] = []
    for number in range(2):
        with ServerProcess(tmp_path / "orders.db") as server, server.client() as client:
            parser = EventParser()
            headers = {"Last-Event-ID": ids[0]} if ids else {}
            client.request("GET", "/orders/events", headers=headers)
            response = client.getresponse()
            assert server.post(order(number + 1)).status == 202
            messages = read(response, parser, 2 + number)
            ids.append(parser.last_id)
            assert statuses(messages[number:]) == [
                (number + 1, "Processing"),
                (number + 1, "Completed"),
            ]
            assert [message.type for message in messages[:number]] == ["reset"] * number


def memory_mib(server: ServerProcess) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


class Chunks(asyncio.Protocol):
    """A reader that keeps what it is sent; `ended` is done when it has heard of so many orders' ends."""

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
        self._missing -= (self._tail + data).count(MARK)
        self._tail = (self._tail + data)[1 - len(MARK) :]
        if self._missing <= 0 and not self.ended.done():
            self.ended.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error or EOFError("the stream has ended"))

    @property
    def body(self) -> bytes:
        """What its chunks hold; all must be whole."""
        _, _, rest = b"".join(self._parts).partition(b"\r\n\r\n")
        parts, place = [], 0
        while place < len(rest):
            found = CHUNK_SIZE.match(rest, place)
            assert found
            end = found.end() + int(found[1], 16)
            parts.append(rest[found.end() : end])
            # The last one's end may be on its way still.
            assert b"\r\n".startswith(rest[end : end + 2])
            place = end + 2
        return b"".join(parts)


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = READERS + QUIET_READERS + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"no more than {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
def test_1500_readers_hear_everything_while_500_others_never_read(tmp_path: Path, many_files: None) -> None:
    with ServerProcess(tmp_path / "orders.db") as server:
        quiet = [quiet_reader(server.port) for _ in range(QUIET_READERS)]
        before_mib = memory_mib(server)
        with ThreadPoolExecutor(1) as pool:
            readers = asyncio.run(_hear(server, pool))
        after_mib = memory_mib(server)
        print(f"VmRSS {before_mib:.0f} MiB with {QUIET_READERS} readers, {after_mib:.0f} MiB at the end")
        bodies = {reader.body.partition(b"\n\n")[2] for reader in readers}
        assert len(bodies) == 1, "not all have heard the same"
        parser = EventParser()
        messages = list(parser.feed(bodies.pop()))
        parser.end()
        assert [int(message.last_id.partition("-")[2]) for message in messages] == list(range(1, len(messages) + 1))
        heard: dict[int, list[str]] = {}
        for order_id, status in statuses(messages):
            heard.setdefault(order_id, []).append(status)
        assert heard.keys() == set(range(1, ORDERS + 1))
        life = ["Pending", "Processing", "Completed"]
        assert [each for each in heard.values() if each not in (life, life[1:])] == []
        assert after_mib - before_mib < MAX_GROWTH_MIB
        for each in quiet:
            each.close()
        assert server.stop() == 0
        assert "Traceback" not in server.log


def quiet_reader(port: int, request: bytes = REQUEST) -> socket.socket:
    """The socket of a reader that takes nothing of what it is sent."""
    quiet = socket.socket()
    # As little as the system allows, so that it is the server that would have to keep what is not taken.
    quiet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    quiet.connect(("127.0.0.1", port))
    quiet.send(request)
    return quiet


async def _hear(server: ServerProcess, pool: ThreadPoolExecutor) -> list[Chunks]:
    loop = asyncio.get_running_loop()
    readers = []
    for _ in range(READERS):
        _, reader = await loop.create_connection(lambda: Chunks(ORDERS), "127.0.0.1", server.port)
        readers.append(reader)
    await asyncio.gather(*(reader.begun for reader in readers))
    posts = loop.run_in_executor(pool, post_all, server, range(1, ORDERS + 1))
    await asyncio.wait_for(asyncio.gather(posts, *(reader.ended for reader in readers)), 120)
    for reader in readers:
        reader.transport.abort()
    return readers
