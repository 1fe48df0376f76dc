"""How the loop is updated when a stream starts and stops to listen."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest
from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError

from handlers.transport.connection_stream import ConnectionStream, Timeouts
from handlers.transport.event_registration import EventRegistration
from tests.handlers.running_api import turn_of_the_loop

FILE = 7
READ, WRITE, ERROR = IOLoop.READ, IOLoop.WRITE, IOLoop.ERROR


class FakeLoop:
    """Records the calls of an IOLoop, and calls the handler when the test says so."""

    add_callback = add_future = time = None

    def __init__(self) -> None:
        self.calls: list[int | None] = []
        self.handled: list[int] = []

    def add_handler(self, file: int, handler: Any, events: int) -> None:
        self.calls.append(events)
        self._handler = handler

    def update_handler(self, file: int, events: int) -> None:
        self.calls.append(events)

    def remove_handler(self, file: int) -> None:
        self.calls.append(None)

    def raise_events(self, events: int) -> None:
        self._handler(FILE, events)


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


@pytest.fixture
def registration(loop: FakeLoop) -> EventRegistration:
    registration = EventRegistration(cast(Any, loop))
    registration.add_handler(FILE, lambda file, events: loop.handled.append(events), READ | ERROR)
    return registration


def test_a_pause_without_data_does_not_update_the_loop(loop: FakeLoop, registration: EventRegistration) -> None:
    for _ in range(3):
        registration.update_handler(FILE, ERROR)
        registration.update_handler(FILE, READ | ERROR)
    loop.raise_events(READ)
    assert loop.calls == [READ | ERROR]
    assert loop.handled == [READ]


def test_data_during_a_pause_updates_the_loop_and_is_not_handled(
    loop: FakeLoop, registration: EventRegistration
) -> None:
    registration.update_handler(FILE, ERROR)
    loop.raise_events(READ)
    assert loop.handled == []
    assert loop.calls == [READ | ERROR, ERROR]


def test_reading_again_after_data_updates_the_loop(loop: FakeLoop, registration: EventRegistration) -> None:
    registration.update_handler(FILE, ERROR)
    loop.raise_events(READ)
    registration.update_handler(FILE, READ | ERROR)
    loop.raise_events(READ)
    assert loop.calls == [READ | ERROR, ERROR, READ | ERROR]
    assert loop.handled == [READ]


def test_other_events_are_handled_together_with_an_unrequested_read(
    loop: FakeLoop, registration: EventRegistration
) -> None:
    registration.update_handler(FILE, ERROR)
    loop.raise_events(READ | ERROR)
    assert loop.handled == [ERROR]


@pytest.mark.parametrize("reads", [READ, 0])
def test_changes_for_writing_update_the_loop_immediately(
    loop: FakeLoop, registration: EventRegistration, reads: int
) -> None:
    registration.update_handler(FILE, WRITE | ERROR | reads)
    registration.update_handler(FILE, ERROR | reads)
    assert loop.calls == [READ | ERROR, WRITE | ERROR | reads, ERROR | reads]


def test_removing_the_handler_removes_it_from_the_loop(loop: FakeLoop, registration: EventRegistration) -> None:
    registration.remove_handler(FILE)
    assert loop.calls == [READ | ERROR, None]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with theirs:
        yield ours, theirs


def test_a_paused_stream_leaves_data_in_the_socket_and_reads_it_later(
    io_loop: IOLoop, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair

    async def read() -> None:
        stream = ConnectionStream(ours, timeouts=Timeouts())
        try:
            first = stream.read_until(b"\n")
            theirs.sendall(b"first\nsec")
            assert await first == b"first\n"
            theirs.sendall(b"ond\n")
            for _ in range(5):
                await turn_of_the_loop()
            assert ours.recv(10, socket.MSG_PEEK) == b"ond\n"
            assert await asyncio.wait_for(stream.read_until(b"\n"), 10) == b"second\n"
            theirs.close()
            with pytest.raises(StreamClosedError):
                await asyncio.wait_for(stream.read_until(b"\n"), 10)
        finally:
            stream.close()

    io_loop.run_sync(read)
