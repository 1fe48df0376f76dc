"""Connections whose requests never end, against a server that looks on for a while."""

import pytest
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpserver import TCPServer
from tornado.testing import bind_unused_port

from load.bench.loris import SlowLoris
from load.http.address import ServerUrl, reach
from tests.handlers.service import turn_of_the_loop


class Impatient(TCPServer):
    """Closes a connection after some lines; `seen` are the lines of those that it has closed."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self.seen: list[list[bytes]] = []
        self._lines = lines

    async def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        try:
            self.seen.append([await stream.read_until(b"\n") for _ in range(self._lines)])
        except StreamClosedError:
            return
        stream.close()


@pytest.mark.gen_test
async def test_every_connection_drips_and_is_made_anew_when_it_is_cut_off() -> None:
    server = Impatient(4)
    listener, port = bind_unused_port()
    server.add_socket(listener)
    address = await reach(ServerUrl.parse(f"http://127.0.0.1:{port}"), timeout_s=5)
    loris = SlowLoris(address, count=5, interval_s=0.001)
    await loris.open()
    while loris.cut_off < 20:
        await turn_of_the_loop()
    await loris.close()
    await loris.close()
    request_line, host, *dripped = server.seen[0]
    assert request_line == b"GET /livez HTTP/1.1\r\n"
    assert host == b"Host: 127.0.0.1:%d\r\n" % port
    assert set(dripped) == {b"X-Slow: loris\r\n"}
    server.stop()


@pytest.mark.gen_test
async def test_it_ends_by_itself_when_the_server_is_gone() -> None:
    server = Impatient(3)
    listener, port = bind_unused_port()
    server.add_socket(listener)
    address = await reach(ServerUrl.parse(f"http://127.0.0.1:{port}"), timeout_s=5)
    loris = SlowLoris(address, count=3, interval_s=0.001)
    await loris.open()
    server.stop()
    while loris.held:
        await turn_of_the_loop()
    await loris.close()
