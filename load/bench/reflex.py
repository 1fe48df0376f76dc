"""`python -m load.bench.reflex`: answers a fixed 202 to every request as soon as it is whole, and does nothing else.

Faster than any client of the benchmark, so that it shows what a client can send where no server holds it up. One
process, on the kind of event loop that the server has. It reads just enough of HTTP for the benchmark's requests.
"""

import argparse
import asyncio
import signal
import sys
from typing import cast

from load.bench.bare import ACCEPTED, JSON
from load.system.machine import run_to_end

BLANK_LINE = b"\r\n\r\n"
LENGTH = b"content-length:"
# As long as what Tornado answers, so that a client has as much to read.
ANSWER = (
    f"HTTP/1.1 202 Accepted\r\nServer: reflex\r\nContent-Type: {JSON}\r\nDate: Sat, 01 Mar 2025 12:00:00 GMT\r\n"
    f"Content-Length: {len(ACCEPTED)}\r\n\r\n"
).encode() + ACCEPTED


class Reflex(asyncio.Protocol):
    """One connection; what has come of a request that is not whole yet waits in it."""

    def __init__(self) -> None:
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        whole = 0
        while length := _length_of_first(self._rest):
            self._rest = self._rest[length:]
            whole += 1
        if whole:
            self._transport.write(ANSWER * whole)


async def serve(port: int) -> None:
    """Serve on the loopback until SIGTERM; port 0 takes a free one, the line on stderr says which."""
    server = await asyncio.get_running_loop().create_server(Reflex, "127.0.0.1", port, backlog=2048)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", file=sys.stderr, flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()


def main() -> None:
    """Serve until a signal ends the process."""
    parser = argparse.ArgumentParser(prog="python -m load.bench.reflex", description=__doc__)
    parser.add_argument("--port", type=int, default=8082)
    run_to_end(serve(parser.parse_args().port))


def _length_of_first(data: bytes) -> int:
    """Give the length of the first request, or 0 while bytes of it are missing; a body needs a Content-Length."""
    head_end = data.find(BLANK_LINE)
    if head_end < 0:
        return 0
    length = head_end + len(BLANK_LINE)
    _, found, rest = data[:head_end].lower().partition(LENGTH)
    if found:
        length += int(rest.partition(b"\r\n")[0])
    return length if len(data) >= length else 0


if __name__ == "__main__":
    main()
