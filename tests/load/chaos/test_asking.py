"""A client that asks until it is answered."""

import asyncio
from itertools import chain

from tornado.iostream import IOStream
from tornado.tcpserver import TCPServer
from tornado.testing import bind_unused_port

from load.chaos.asking import Client, Told
from load.chaos.shop import Shop as ChaosShop
from load.http.address import Address, ServerUrl

BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
FULL_BODY = b'{"type":"/problems/storage-unavailable"}'
FULL = b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n%b" % (len(FULL_BODY), FULL_BODY)
DONE = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


class Moody(TCPServer):
    """Answers each request with the next of its answers; where that is empty, it drops the connection."""

    def __init__(self, *answers: bytes) -> None:
        super().__init__()
        self._answers = chain(answers)

    async def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        for answer in self._answers:
            await stream.read_until(b"\r\n\r\n")
            if not answer:
                break
            await stream.write(answer)
        stream.close()


def ask(harmed: ChaosShop, *answers: bytes) -> Told:
    async def run() -> Told:
        listener, port = bind_unused_port()
        server = Moody(*answers)
        server.add_socket(listener)
        url = f"http://127.0.0.1:{port}"
        harmed.address = Address(ServerUrl.parse(url), listener.family, ("127.0.0.1", port))
        client = Client(harmed)
        try:
            return await client.ask(harmed.address.post("/order", b""))
        finally:
            client.close()
            server.stop()

    return asyncio.run(run())


def test_a_503_and_a_broken_connection_are_followed_by_another_try(harmed: ChaosShop) -> None:
    told = ask(harmed, b"", BUSY, DONE)
    assert (told.answer.status, told.unanswered, told.put_off) == (202, 1, 1)
    assert harmed.seen == {"dropped": 1, "503": 1, "disk full": 0}
    assert harmed.wrong == []


def test_a_503_without_retry_after_is_wrong_and_one_for_a_full_disk_is_told_from_others(harmed: ChaosShop) -> None:
    ask(harmed, FULL, DONE)
    assert harmed.seen == {"503": 1, "disk full": 1}
    assert harmed.wrong == [("a 503 without Retry-After", 0)]
