"""Tests the load balancer: its configuration, and how real Caddy passes requests on."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tornado.iostream import IOStream
from tornado.tcpserver import TCPServer
from tornado.testing import bind_unused_port

from load.chaos.servers.balancer import Balancer
from load.chaos.servers.node import RunFailed, address_of
from load.http.address import Address
from load.http.connection import NoResponse, Response, send_once
from load.system.ports import reserve_port
from tests.process import DEADLINE_S, need


@pytest.fixture
def addresses() -> Iterator[list[Address]]:
    """Three addresses at which no server listens."""
    with ExitStack() as stack:
        yield [address_of(stack.enter_context(reserve_port())) for _ in range(3)]


def test_the_configuration_has_the_addresses_and_the_health_check(addresses: list[Address], tmp_path: Path) -> None:
    balancer = Balancer(tmp_path, addresses)
    lines = [*map(str.strip, balancer.configuration.splitlines())]
    assert f"{balancer.address.url} {{" in lines
    assert f"reverse_proxy {' '.join(address.url.netloc for address in addresses)} {{" in lines
    assert {"admin off", "health_uri /readyz"} <= {*lines}
    balancer.close()


def test_a_response_names_its_server(addresses: list[Address], tmp_path: Path) -> None:
    balancer = Balancer(tmp_path, addresses)
    heads = [b"http/1.1 200 ok\r\nx-node: %s\r\ndate: x" % address.url.netloc.encode() for address in addresses]
    heads.append(b"http/1.1 502 bad gateway\r\nserver: caddy")
    assert [balancer.node_of(Response(200, head, b"", keep_alive=True)) for head in heads] == [0, 1, 2, None]
    balancer.close()


class LoneServer(TCPServer):
    """A server that responds to each request with a 200, or closes the connection if the path is /breaks."""

    async def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        while b"/breaks" not in await stream.read_until(b"\r\n\r\n"):
            await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        stream.close()


@pytest.mark.slow
@pytest.mark.gen_test(timeout=DEADLINE_S)
async def test_requests_reach_the_server_that_listens_and_a_broken_one_gets_a_502(
    addresses: list[Address], tmp_path: Path
) -> None:
    need("caddy")
    listener, _ = bind_unused_port()
    server = LoneServer()
    server.add_socket(listener)
    balancer = Balancer(tmp_path, [*addresses, address_of(listener)])
    try:
        await balancer.start()
        for _ in range(20):
            found = await send_once(balancer.address, balancer.address.get("/order/1"))
            assert (found.status, balancer.node_of(found)) == (200, 3)
        broken = await send_once(balancer.address, balancer.address.post("/breaks", b"{}"))
        assert (broken.status, balancer.node_of(broken)) == (502, None)
    finally:
        server.stop()
        balancer.close()
    with pytest.raises(NoResponse):
        await send_once(balancer.address, balancer.address.get("/"))


def test_a_balancer_that_ends_fails_the_run(
    addresses: list[Address], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Caddy would not start with another configuration.
    monkeypatch.setattr("load.chaos.servers.balancer.PROGRAM", "false")
    balancer = Balancer(tmp_path, addresses)
    with pytest.raises(RunFailed, match="the load balancer has ended"):
        asyncio.run(balancer.start())
    balancer.close()
