"""Forwards connections between a server and PostgreSQL, or stops doing so. Runs on the event loop."""

import asyncio
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from functools import partial
from pathlib import Path

READ_BYTES = 1 << 16


class Proxy:
    """Forwards connections to Unix sockets.

    After `cut`, the next answer of PostgreSQL is lost, so the server does not know what PostgreSQL has done.
    """

    def __init__(self) -> None:
        self._connections: set[asyncio.Task[None]] = set()
        self._cuts = 0
        self._stalls = self._refusals = 0
        self._is_flowing = asyncio.Event()
        self._is_flowing.set()

    async def listen(self, socket: Path, *, target: Path) -> asyncio.Server:
        """Forward the connections to `socket` to the socket `target`. Can be called for several targets."""
        return await asyncio.start_unix_server(partial(self._accept, target), str(socket))

    def cut(self) -> int:
        """Instead of forwarding the next answer, close its connection. Return 1."""
        self._cuts += 1
        return 1

    def forget_cuts(self) -> int:
        """Forward all answers from now on. Return how many cuts had not been made."""
        left, self._cuts = self._cuts, 0
        return left

    async def stall(self, length_s: float) -> int:
        """Forward nothing for `length_s`. Return the number of connections that stalled."""
        self._stalls += 1
        self._is_flowing.clear()
        try:
            await asyncio.sleep(length_s)
            return len(self._connections)
        finally:
            self._stalls -= 1
            if not self._stalls:
                self._is_flowing.set()

    async def refuse(self, length_s: float) -> int:
        """Close all connections, and for `length_s` each new one. Return the number of connections at the beginning."""
        count = len(self._connections)
        for connection in self._connections:
            connection.cancel()
        self._refusals += 1
        try:
            await asyncio.sleep(length_s)
            return count
        finally:
            self._refusals -= 1

    def _accept(self, target: Path, reader: StreamReader, writer: StreamWriter) -> None:
        if self._refusals:
            writer.close()
            return
        task = asyncio.create_task(self._serve(target, reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, target: Path, reader: StreamReader, writer: StreamWriter) -> None:
        streams, pumps = [writer], []
        try:
            answers, to_server = await asyncio.open_unix_connection(str(target))
            streams.append(to_server)
            pumps = [
                asyncio.create_task(self._forward(reader, to_server, is_answer=False)),
                asyncio.create_task(self._forward(answers, writer, is_answer=True)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            # PostgreSQL does not run.
            pass
        finally:
            for pump in pumps:
                pump.cancel()
            for stream in streams:
                stream.close()

    async def _forward(self, reader: StreamReader, writer: StreamWriter, *, is_answer: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                await self._is_flowing.wait()
                if is_answer and self._cuts:
                    self._cuts -= 1
                    return
                writer.write(data)
                await writer.drain()
