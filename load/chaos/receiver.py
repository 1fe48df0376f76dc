"""Owns the receiver of webhooks, which fails its senders when told to; it runs on a thread of its own."""

import asyncio
import threading
from collections import Counter
from types import TracebackType
from typing import Self

import msgspec
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpserver import TCPServer

from load.chaos.plan import Manner
from load.chaos.shop import HOST, reserve_port

HEAD_END = b"\r\n\r\n"
START_S = 10.0
TAKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
FAILURES = {
    Manner.ERROR: b"HTTP/1.1 500 Failed\r\nContent-Length: 0\r\n\r\n",
    Manner.BUSY: b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
}


class Delivered(msgspec.Struct):
    """What is read of a webhook."""

    order_id: int


class Receiver:
    """A context manager: inside it webhooks are taken at `url`, in whatever `manner` is set.

    `taken` has the orders that got a 200; `repeats` counts those that came again after it.
    `disturbed` counts what each manner did to its senders, `wrong` has what they did wrong.
    """

    def __init__(self) -> None:
        self.taken: set[int] = set()
        self.repeats = 0
        self.disturbed: Counter[Manner] = Counter()
        self.wrong: list[tuple[str, int]] = []
        self._names: dict[int, str] = {}
        self._place = reserve_port()
        self._port: int = self._place.getsockname()[1]
        self.url = f"http://{HOST}:{self._port}/orders"
        self._manner: Manner | None = None
        self._streams: set[IOStream] = set()
        self._server: TCPServer | None = None
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="receiver", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait(START_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(START_S)
        self._place.close()

    def behave(self, manner: Manner | None) -> None:
        """Fail senders in this manner from now on; None: take what they send. From any other thread."""
        done = threading.Event()

        def change() -> None:
            self._behave(manner)
            done.set()

        self._loop.call_soon_threadsafe(change)
        done.wait(START_S)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._listen()
        self._listening.set()
        await self._end.wait()
        self._go()

    def _behave(self, manner: Manner | None) -> None:
        before, self._manner = self._manner, manner
        if manner is Manner.GONE:
            self.disturbed[manner] += len(self._streams)
            self._go()
        elif self._server is None:
            self._listen()
        if before is Manner.HANG:
            self._cut()

    def _listen(self) -> None:
        self._server = Listener(self)
        self._server.listen(self._port, HOST)

    def _go(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None
        self._cut()

    def _cut(self) -> None:
        for stream in list(self._streams):
            stream.close()

    async def serve_stream(self, stream: IOStream) -> None:
        """Take webhook after webhook until the connection ends."""
        if self._server is None:
            # It was taken right before the receiver went away.
            stream.close()
            return
        self._streams.add(stream)
        try:
            while True:
                head = (await stream.read_until(HEAD_END)).decode("latin-1")
                fields = (line.partition(":") for line in head.split("\r\n")[1:])
                headers = {name.lower(): value.strip() for name, _, value in fields}
                body = await stream.read_bytes(int(headers["content-length"]))
                order_id = msgspec.json.decode(body, type=Delivered).order_id
                self._note_name(order_id, headers["webhook-id"])
                await self._answer(stream, order_id)
        except StreamClosedError:
            pass
        except (KeyError, ValueError) as problem:
            self.wrong.append((f"what came is no webhook: {problem!r}", 0))
        finally:
            self._streams.discard(stream)
            stream.close()

    def _note_name(self, order_id: int, name: str) -> None:
        if self._names.setdefault(order_id, name) != name:
            self.wrong.append(("the webhook-id is another one for a repeat", order_id))

    async def _answer(self, stream: IOStream, order_id: int) -> None:
        manner = self._manner
        if manner is None:
            self.repeats += order_id in self.taken
            self.taken.add(order_id)
            await stream.write(TAKEN)
            return
        self.disturbed[manner] += 1
        if manner in FAILURES:
            await stream.write(FAILURES[manner])
        else:
            # Until the sender leaves, or is made to.
            await stream.read_until_close()


class Listener(TCPServer):
    """Hands every connection to the receiver."""

    def __init__(self, receiver: Receiver) -> None:
        super().__init__()
        self._receiver = receiver

    async def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        stream.set_nodelay(True)
        await self._receiver.serve_stream(stream)
