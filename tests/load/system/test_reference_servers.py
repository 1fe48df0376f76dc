"""Tests the reference servers: the receivers, and a bare Tornado."""

import asyncio
from itertools import repeat
from pathlib import Path
from typing import cast

import pytest

from load.bench.measurement import Meter, expect
from load.http.address import reach
from load.system.reference_servers import BARE_TORNADO, RECEIVED, ReceiverConnection, reference_command
from load.system.server_process import ServerProcess
from tests.load.answers import parse_answer

REQUEST = b"POST /order HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nbody"


class StoringTransport:
    """A transport that stores what is written to it."""

    def __init__(self) -> None:
        self.data = b""
        self.written = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.data += data
        self.written.set()


@pytest.fixture(autouse=True)
def _five_requests_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReceiverConnection, "received", 5)


def _answers(*pieces: bytes) -> bytes:
    connection, transport = ReceiverConnection(delay_s=0.0), StoringTransport()
    connection.connection_made(cast(asyncio.BaseTransport, transport))
    for piece in pieces:
        connection.data_received(piece)
    return transport.data


@pytest.mark.parametrize("size", [1, 7, len(REQUEST), 2 * len(REQUEST) - 1, 3 * len(REQUEST)])
def test_each_complete_request_gets_one_response(size: int) -> None:
    sent = 3 * REQUEST
    answers = _answers(*(sent[place : place + size] for place in range(0, len(sent), size)))
    assert len(answers) == 3 * len(RECEIVED % 8)
    assert answers.endswith(RECEIVED % 8)


def test_an_incomplete_request_gets_no_response() -> None:
    assert _answers(REQUEST[:-1]) == b""
    assert _answers(b"GET / HTTP/1.1\r\n") == b""


def test_a_request_without_a_body_is_complete_with_its_head() -> None:
    assert _answers(b"GET / HTTP/1.1\r\n\r\n") == RECEIVED % 6


def test_a_receiver_counts_the_requests_of_all_connections_and_keeps_them() -> None:
    for expected in 6, 7:
        answer = parse_answer(_answers(REQUEST))
        assert answer is not None
        assert (answer.status, answer.keep_alive, int(answer.body)) == (202, True, expected)


@pytest.mark.gen_test
async def test_a_slow_receiver_answers_later() -> None:
    connection, transport = ReceiverConnection(delay_s=0.001), StoringTransport()
    connection.connection_made(cast(asyncio.BaseTransport, transport))
    connection.data_received(REQUEST)
    assert transport.data == b""
    await asyncio.wait_for(transport.written.wait(), 5)
    assert transport.data.startswith(b"HTTP/1.1 202 Accepted")


@pytest.mark.slow
@pytest.mark.gen_test
async def test_the_bare_tornado_answers_as_the_server_does(tmp_path: Path) -> None:
    command = reference_command(BARE_TORNADO)
    meter = Meter()
    with ServerProcess(command, log=tmp_path / "log") as bare:
        address = await reach(bare.url, timeout_s=5)
        posts = await meter.throughput(address, repeat(address.post("/order", b"{}"), 20), expect(202), clients=4)
        gets = await meter.throughput(address, repeat(address.get("/order/1"), 20), expect(200), clients=4)
        wrong = await meter.throughput(address, repeat(address.get("/nowhere"), 20), expect(200), clients=4)
    assert (posts.right, posts.wrong) == (20, {})
    assert (gets.right, gets.wrong) == (20, {})
    assert (wrong.right, wrong.wrong) == (0, {"status 404": 20})
