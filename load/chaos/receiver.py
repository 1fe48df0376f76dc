"""Owns the receiver of webhooks, which fails its senders when told to; it runs on a thread of its own."""

import asyncio
import socket
import threading
from collections import Counter
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpserver import TCPServer

from load.chaos.deliveries import Deliveries
from load.chaos.plan import Manner
from load.chaos.shop import HOST, reserve_port

HEAD_END = b"\r\n\r\n"
START_S = 10.0
BACKLOG = 128
TAKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
FAILURES = {
    Manner.ERROR: b"HTTP/1.1 500 Failed\r\nContent-Length: 0\r\n\r\n",
    Manner.BUSY: b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
}


class ReceiverLost(Exception):
    """The receiver can't listen, or does not do what it is told; the text says why."""


class Receiver:
    """A context manager: inside it webhooks are taken at `url`, in whatever `manner` is set.

    `taken` has the orders that got a 200.
    `disturbed` counts what each manner did to its senders, `wrong` has what they did wrong, with the order's id or 0,
    as `deliveries` judges it.
    """

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self.taken: set[int] = set()
        self.disturbed: Counter[Manner] = Counter()
        self.wrong: list[tuple[str, int]] = []
        self._place = reserve_port()
        self._port: int = self._place.getsockname()[1]
        self.url = f"http://{HOST}:{self._port}/orders"
        self._manner: Manner | None = None
        self._streams: set[IOStream] = set()
        self._server: TCPServer | None = None
        self._listening: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="receiver", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            _result_of(self._listening)
        except BaseException:
            self._place.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(START_S)
        self._place.close()

    def behave(self, manner: Manner | None) -> None:
        """Fail senders in this manner from now on; None: take what they send. From any other thread, which it blocks.

        ReceiverLost where it can't.
        """
        _result_of(asyncio.run_coroutine_threadsafe(self._behave(manner), self._loop))

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        try:
            self._listen()
        except OSError as problem:
            self._listening.set_exception(problem)
            return
        self._listening.set_result(None)
        await self._end.wait()
        self._go()

    async def _behave(self, manner: Manner | None) -> None:
        before, self._manner = self._manner, manner
        if manner is Manner.GONE:
            self.disturbed[manner] += len(self._streams)
            self._go()
        elif self._server is None:
            self._listen()
        if before is Manner.HANG:
            self._cut()

    def _listen(self) -> None:
        # Unlike TCPServer.listen it leaves no socket open where the port is taken.
        listening = socket.create_server((HOST, self._port), backlog=BACKLOG)
        listening.setblocking(False)
        self._server = Listener(self)
        self._server.add_socket(listening)

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
                order_id, faults = self._deliveries.judge(headers, body)
                self.wrong += [(fault, order_id) for fault in faults]
                await self._answer(stream, order_id)
        except StreamClosedError:
            pass
        except (KeyError, ValueError) as problem:
            self.wrong.append((f"what came is no webhook: {problem!r}", 0))
        finally:
            self._streams.discard(stream)
            stream.close()

    async def _answer(self, stream: IOStream, order_id: int) -> None:
        manner = self._manner
        if manner is None:
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


def _result_of(done: Future[None]) -> None:
    try:
        done.result(START_S)
    except TimeoutError:
        raise ReceiverLost(f"the receiver did not answer within {START_S:g} s") from None
    except OSError as problem:
        raise ReceiverLost(f"the receiver can't listen: {problem}") from problem
