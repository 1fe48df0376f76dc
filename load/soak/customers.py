"""Owns the customers of a soak: who runs errands, and who listens to streams; on the event loop's thread.

All of them go on until they are cancelled. What goes wrong is told as a reason to `complain`.
"""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from random import Random

from load.http.address import Address, reason_of
from load.http.connection import Connection, NoResponse, send_request
from load.soak.amid import run_whole
from load.soak.errands import Errand, with_header

ANSWER_S = 30.0
SILENCE_S = 5.0
"""Of the stream of metrics, which has something each second."""
PIECE_BYTES = 64 * 1024
LONGEST_STAY_S, LONGEST_PAUSE_S = 10.0, 3.0
SLOW_BUFFER_BYTES = 4096
LONGEST_SLEEP_S = 60.0
"""The server drops a reader that takes nothing for 30 seconds."""
NUMBER = re.compile(r"\d+")
Complain = Callable[[str], None]


async def run_errands(
    address: Address, errands: Iterator[Errand], *, pause_s: float, chance: Random, complain: Complain, stays: bool
) -> None:
    """Ask, wait for the answer and pause for `pause_s` on average; unless it `stays`, on a new connection each time.

    An errand that has begun when this is cancelled is run to its end: the orders of it may be stored.
    """
    connection = Connection(address)
    try:
        for errand in errands:
            await run_whole(_run_errand(connection, errand, complain))
            if not stays:
                connection.close()
            await asyncio.sleep(chance.expovariate(1 / pause_s))
    finally:
        connection.close()


async def _run_errand(connection: Connection, errand: Errand, complain: Complain) -> None:
    request, fault = errand
    try:
        reason = fault(await send_request(connection, request, limit_s=ANSWER_S))
    except NoResponse as problem:
        reason = str(problem)
    if reason:
        complain(f"{_kind_of(request)}: {reason}")


async def come_and_go(address: Address, *, chance: Random, complain: Complain) -> None:
    """Read events for a while, leave, and come back with the id of the last one, as a browser does."""
    last_id = b""
    while True:
        resume = b"Last-Event-ID: %s\r\n" % last_id if last_id else b""
        async with _stream(address, "/orders/events", resume, complain=complain) as own:
            with suppress(TimeoutError):
                async with asyncio.timeout(chance.uniform(0, LONGEST_STAY_S)):
                    while own and (piece := await _receive(own)):
                        last_id = last_id_in(piece) or last_id
        await asyncio.sleep(chance.uniform(0, LONGEST_PAUSE_S))


async def take_nothing(address: Address, *, chance: Random, complain: Complain) -> None:
    """Ask for events and take none of them, until the server has dropped this reader or for a while."""
    while True:
        async with _stream(address, "/orders/events", receive_bytes=SLOW_BUFFER_BYTES, complain=complain):
            await asyncio.sleep(chance.uniform(0, LONGEST_SLEEP_S))


async def follow(address: Address, path: str, *, complain: Complain) -> None:
    """Read a stream as it comes, which has something each second; its end is a fault, and its silence."""
    while True:
        async with _stream(address, path, complain=complain) as own:
            if own:
                complain(f"{path}: {await _end_of(own)}")
        await asyncio.sleep(LONGEST_PAUSE_S)


async def pass_by(address: Address, *, pause_s: float, chance: Random, complain: Complain) -> None:
    """Connect, and leave without a word or in the middle of a request."""
    requests = (b"", b"GET /livez HTTP/1.1\r\nHo", address.post("/order", b"{}")[:-1], address.get("/orders?limit=200"))
    while True:
        with socket.socket(address.family, socket.SOCK_STREAM) as own:
            own.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(own, address.sockaddr)
                await asyncio.get_running_loop().sock_sendall(own, chance.choice(requests))
            except OSError as problem:
                complain(f"passing by: {reason_of(problem, 'no connection')}")
        await asyncio.sleep(chance.expovariate(1 / pause_s))


def _kind_of(request: bytes) -> str:
    """Give its method and path, the same for all ids, so that the reasons are few."""
    return NUMBER.sub("N", request.partition(b" HTTP/")[0].decode())


async def _end_of(own: socket.socket) -> str:
    """Read until nothing comes any more, and say how that was."""
    try:
        while True:
            async with asyncio.timeout(SILENCE_S):
                if not await _receive(own):
                    return "the stream ended"
    except TimeoutError:
        return f"nothing came for {SILENCE_S:g} s"


async def _receive(own: socket.socket) -> bytes:
    """Give what comes next; nothing where the server has ended it."""
    try:
        return await asyncio.get_running_loop().sock_recv(own, PIECE_BYTES)
    except ConnectionError:
        return b""


@asynccontextmanager
async def _stream(
    address: Address, path: str, headers: bytes = b"", *, complain: Complain, receive_bytes: int = 0
) -> AsyncIterator[socket.socket | None]:
    """Give a connection on which a stream has begun, or None where it has not."""
    loop = asyncio.get_running_loop()
    with socket.socket(address.family, socket.SOCK_STREAM) as own:
        own.setblocking(False)
        if receive_bytes:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        try:
            async with asyncio.timeout(ANSWER_S):
                await loop.sock_connect(own, address.sockaddr)
                await loop.sock_sendall(own, with_header(address.get(path), headers))
                status_line = (await loop.sock_recv(own, 512)).partition(b"\r\n")[0].decode("latin-1")
            fault = "" if " 200 " in status_line else status_line or "no answer"
        except TimeoutError:
            fault = f"no answer within {ANSWER_S:g} s"
        except OSError as problem:
            fault = reason_of(problem, "no connection")
        if fault:
            complain(f"{path}: {fault}")
        yield None if fault else own


def last_id_in(piece: bytes) -> bytes:
    """Give the last whole id in a piece of a stream; an empty text where there is none."""
    before, found, _ = piece.rpartition(b"\nevent: order\n")
    _, at, last = before.rpartition(b"\nid: ")
    return last if found and at else b""
