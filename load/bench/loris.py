"""Owns connections whose requests never end, as those of a slow loris; on the event loop's thread."""

import asyncio
import socket

from tornado.iostream import IOStream, StreamClosedError

from load.http.address import Address

LINE_INTERVAL_S = 1.0


class SlowLoris:
    """`count` connections, each of which sends a header line now and then; one that the server closes is made anew.

    `cut_off` says how many times the server has closed one.
    """

    def __init__(self, address: Address, *, count: int, interval_s: float = LINE_INTERVAL_S) -> None:
        self.cut_off = 0
        self._address = address
        self._count = count
        self._interval_s = interval_s
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def held(self) -> int:
        """How many go on; fewer than `count` once the server is gone."""
        return sum(not task.done() for task in self._tasks)

    async def open(self) -> None:
        """Connect all of them, and go on until `close`; StreamClosedError where the server refuses."""
        streams = await asyncio.gather(*(self._connect() for _ in range(self._count)))
        self._tasks = [asyncio.create_task(self._drip(stream)) for stream in streams]

    async def close(self) -> None:
        """Let go of all of them; may be called twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self) -> IOStream:
        stream = IOStream(socket.socket(self._address.family, socket.SOCK_STREAM))
        try:
            await stream.connect(self._address.sockaddr)
            url = self._address.url
            await stream.write(f"GET {url.path}/livez HTTP/1.1\r\nHost: {url.netloc}\r\n".encode())
        except BaseException:  # a `close` may come in between: else the connection would stay
            stream.close()
            raise
        return stream

    async def _drip(self, stream: IOStream) -> None:
        """Until the server is gone."""
        try:
            while True:
                await self._drip_one(stream)
                self.cut_off += 1
                stream = await self._connect()
        except StreamClosedError:
            return
        finally:
            stream.close()

    async def _drip_one(self, stream: IOStream) -> None:
        """Until the server closes the connection: what it says before is read, else its end would not be seen."""
        said = asyncio.ensure_future(stream.read_until_close())
        while not said.done():
            try:
                await stream.write(b"X-Slow: loris\r\n")
            except StreamClosedError:
                return
            await asyncio.wait([said], timeout=self._interval_s)
