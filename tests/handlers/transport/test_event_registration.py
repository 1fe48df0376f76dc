"""What the loop is told of a stream that listens, stops listening and listens again."""

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


class Loop:
    """An IOLoop that writes down what it is told, and calls the handler as the kernel would have it."""

    add_callback = add_future = time = None

    def __init__(self) -> None:
        self.told: list[int | None] = []
        self.seen: list[int] = []

    def add_handler(self, file: int, handler: Any, events: int) -> None:
        self.told.append(events)
        self._handler = handler

    def update_handler(self, file: int, events: int) -> None:
        self.told.append(events)

    def remove_handler(self, file: int) -> None:
        self.told.append(None)

    def come(self, events: int) -> None:
        self._handler(FILE, events)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def registration(loop: Loop) -> EventRegistration:
    registration = EventRegistration(cast(Any, loop))
    registration.add_handler(FILE, lambda file, events: loop.seen.append(events), READ | ERROR)
    return registration


def test_who_stops_reading_and_begins_again_before_anything_came_costs_the_loop_nothing(
    loop: Loop, registration: EventRegistration
) -> None:
    for _ in range(3):
        registration.update_handler(FILE, ERROR)
        registration.update_handler(FILE, READ | ERROR)
    loop.come(READ)
    assert loop.told == [READ | ERROR]
    assert loop.seen == [READ]


def test_what_comes_while_nobody_reads_is_not_told_and_the_loop_listens_no_more(
    loop: Loop, registration: EventRegistration
) -> None:
    registration.update_handler(FILE, ERROR)
    loop.come(READ)
    assert loop.seen == []
    assert loop.told == [READ | ERROR, ERROR]


def test_who_reads_again_after_something_came_is_listened_for_again(
    loop: Loop, registration: EventRegistration
) -> None:
    registration.update_handler(FILE, ERROR)
    loop.come(READ)
    registration.update_handler(FILE, READ | ERROR)
    loop.come(READ)
    assert loop.told == [READ | ERROR, ERROR, READ | ERROR]
    assert loop.seen == [READ]


def test_what_comes_together_with_an_unwanted_read_is_told(loop: Loop, registration: EventRegistration) -> None:
    registration.update_handler(FILE, ERROR)
    loop.come(READ | ERROR)
    assert loop.seen == [ERROR]


@pytest.mark.parametrize("reads", [READ, 0])
def test_writes_are_told_at_once(loop: Loop, registration: EventRegistration, reads: int) -> None:
    registration.update_handler(FILE, WRITE | ERROR | reads)
    registration.update_handler(FILE, ERROR | reads)
    assert loop.told == [READ | ERROR, WRITE | ERROR | reads, ERROR | reads]


def test_a_file_that_is_removed_is_removed_from_the_loop(loop: Loop, registration: EventRegistration) -> None:
    registration.remove_handler(FILE)
    assert loop.told == [READ | ERROR, None]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with theirs:
        yield ours, theirs


def test_a_stream_leaves_in_the_socket_what_comes_while_nobody_reads_and_reads_it_later(
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
