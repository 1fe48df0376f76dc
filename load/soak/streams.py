"""Sessions that read streams of events, until they are cancelled. Runs on the event loop.

Sessions call `report` with a text for each problem. `rng` makes all random choices.
"""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from random import Random

from load.http.address import Address, reason_of

ANSWER_LIMIT_S = 30.0
SILENCE_LIMIT_S = 5.0  # The limit for the stream of metrics, which sends something every second.
READ_BYTES, SMALL_BUFFER_BYTES = 64 * 1024, 4096
LONGEST_STREAM_S, LONGEST_PAUSE_S = 10.0, 3.0
LONGEST_STALL_S = 60.0  # The server disconnects a client that reads nothing for 30 s.
EVENT_ID = re.compile(rb"\nid: (.*)\nevent: order\n")
Report = Callable[[str], None]


async def resume_events(address: Address, *, rng: Random, report: Report) -> None:
    """Read events for a while, disconnect, and resume after the last event, as a browser does."""
    last_id = b""
    while True:
        header = f"Last-Event-ID: {last_id.decode()}\r\n" if last_id else ""
        async with _stream(address, "/orders/events", header, report=report) as stream:
            with suppress(TimeoutError):
                async with asyncio.timeout(rng.uniform(0, LONGEST_STREAM_S)):
                    while stream and (data := await _receive(stream)):
                        last_id = last_id_in(data) or last_id
        await asyncio.sleep(rng.uniform(0, LONGEST_PAUSE_S))


async def stall_events(address: Address, *, rng: Random, report: Report) -> None:
    """Request events and read none of them for up to 60 seconds. The server may close the connection earlier."""
    while True:
        async with _stream(address, "/orders/events", receive_buffer_bytes=SMALL_BUFFER_BYTES, report=report):
            await asyncio.sleep(rng.uniform(0, LONGEST_STALL_S))


async def follow_metrics(address: Address, *, rng: Random, report: Report) -> None:
    """Read the stream of metrics. Report if it ends, or sends nothing for 5 seconds."""
    path = "/metrics/events"
    while True:
        async with _stream(address, path, report=report) as stream:
            try:
                while stream:
                    async with asyncio.timeout(SILENCE_LIMIT_S):
                        if not await _receive(stream):
                            report(f"{path}: the stream ended")
                            break
            except TimeoutError:
                report(f"{path}: nothing came for {SILENCE_LIMIT_S:g} s")
        await asyncio.sleep(rng.uniform(0, LONGEST_PAUSE_S))


async def _receive(stream: socket.socket) -> bytes:
    """Return the next received bytes; no bytes if the connection is closed."""
    with suppress(ConnectionError):
        return await asyncio.get_running_loop().sock_recv(stream, READ_BYTES)
    return b""


@asynccontextmanager
async def _stream(
    address: Address, path: str, header: str = "", *, report: Report, receive_buffer_bytes: int = 0
) -> AsyncIterator[socket.socket | None]:
    """Yield a connection on which a stream has begun. If no stream has begun, report why and yield None."""
    loop = asyncio.get_running_loop()
    with socket.socket(address.family, socket.SOCK_STREAM) as own:
        own.setblocking(False)
        if receive_buffer_bytes:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await loop.sock_connect(own, address.sockaddr)
                await loop.sock_sendall(own, address.get(path, header=header))
                status_line = (await loop.sock_recv(own, 512)).partition(b"\r\n")[0].decode("latin-1")
            problem = "" if " 200 " in status_line else status_line or "no answer"
        except TimeoutError:
            problem = f"no answer within {ANSWER_LIMIT_S:g} s"
        except OSError as error:
            problem = reason_of(error, "no connection")
        if problem:
            report(f"{path}: {problem}")
        yield None if problem else own


def last_id_in(data: bytes) -> bytes:
    """Return the last complete event id in a part of a stream, or no bytes if there is none."""
    ids = EVENT_ID.findall(data)
    return ids[-1] if ids else b""
