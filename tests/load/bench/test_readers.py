"""Connections that read the server's events and only count their bytes."""

import os
import socket
from collections.abc import Iterator
from itertools import count, islice

import pytest

from load.bench.readers import EventReaders, NoEvents
from load.bench.requests import posts
from load.http.address import Address, ServerUrl
from tests.load.event_streams import events_of
from tests.load.shop import Shop
from tests.load.steps import DEADLINE_S

QUIET_S = 0.05


@pytest.fixture
def address(shop: Shop) -> Address:
    return Address(ServerUrl.parse(shop.url), socket.AF_INET, ("127.0.0.1", shop.port))


@pytest.fixture
def readers(address: Address) -> Iterator[EventReaders]:
    readers = EventReaders(address, count=3, quiet_s=QUIET_S)
    yield readers
    readers.close()
    readers.close()


@pytest.fixture
def end() -> Iterator[int]:
    """A file that is at its end."""
    end, other = os.pipe()
    os.close(other)
    yield end
    os.close(end)


def _send_orders(address: Address, orders: int) -> None:
    with socket.create_connection(address.sockaddr, DEADLINE_S) as client:
        for request in islice(posts(address, count(1)), orders):
            client.sendall(request)
            assert client.recv(65_536).startswith(b"HTTP/1.1 202")


def test_every_reader_counts_what_it_gets_up_to_the_end(address: Address, readers: EventReaders, end: int) -> None:
    readers.open()
    _send_orders(address, 5)
    readers.read_until_readable(end)
    assert readers.bytes_read == [5 * len(events_of(1))] * 3
    assert readers.ended == 0


def test_the_answers_head_is_no_event(readers: EventReaders, end: int) -> None:
    readers.open()
    readers.read_until_readable(end)
    assert readers.bytes_read == [0, 0, 0]


def test_a_stream_that_ends_is_counted(shop: Shop, readers: EventReaders, end: int) -> None:
    readers.open()
    shop.end_events()
    readers.read_until_readable(end)
    assert readers.ended == 3


def test_a_server_without_events_is_told(shop: Shop, readers: EventReaders) -> None:
    shop.has_events = False
    with pytest.raises(NoEvents, match=r"GET /orders/events: HTTP/1\.1 404 Not Found"):
        readers.open()


def test_a_server_that_is_gone_is_told(shop: Shop, address: Address, readers: EventReaders) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = Address(address.url, socket.AF_INET, listener.getsockname())
    gone = EventReaders(nobody, count=1)
    with pytest.raises(ConnectionRefusedError):
        gone.open()
    gone.close()
