"""Receives webhooks, and passes them to the checker. While a fault is set, requests fail. Runs on the event loop."""

import socket
from collections import Counter
from contextlib import ExitStack

from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, StreamClosedError
from tornado.netutil import add_accept_handler

from load.chaos.faults import ReceiverFault
from load.chaos.report import WRONG, Findings
from load.chaos.servers.node import RunFailed
from load.chaos.webhooks.checker import WebhookChecker
from load.system.ports import HOST, reserve_port

DELIVERED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
FAILURES = {
    ReceiverFault.ERROR: b"HTTP/1.1 500 Failed\r\nContent-Length: 0\r\n\r\n",
    ReceiverFault.BUSY: b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    ReceiverFault.LIMIT: b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n",
}
PAUSES_S = {ReceiverFault.BUSY: 1, ReceiverFault.LIMIT: 2}  # Retry-After: for so many seconds, no webhook is sent.


class Receiver:
    """Receives webhooks at `url`. `answered` counts, by order id, all webhooks that got a response.

    `delivered` counts only those that got a 200.
    `newest` is the highest id in `delivered`. `failed_requests` counts the requests that failed because of each fault.
    `refused` has the ids of the orders whose webhook failed because of the latest fault.
    """

    def __init__(self, checker: WebhookChecker, *, findings: Findings) -> None:
        self.answered: Counter[int] = Counter()
        self.delivered: Counter[int] = Counter()
        self.failed_requests: Counter[ReceiverFault] = Counter()
        self.refused: set[int] = set()
        self.newest = 0
        self._checker = checker
        self._findings = findings
        self._reserved_port = reserve_port()
        self._port: int = self._reserved_port.getsockname()[1]
        self.url = f"http://{HOST}:{self._port}/orders"
        self._fault: ReceiverFault | None = None
        self._streams: set[IOStream] = set()
        self._listening: ExitStack | None = None

    def listen(self) -> None:
        """Receive webhooks from now on. Raises RunFailed if another program uses the port."""
        try:
            listening = socket.create_server((HOST, self._port))
        except OSError as problem:
            raise RunFailed(f"the receiver can't listen: {problem}") from problem
        listening.setblocking(False)
        self._listening = ExitStack()
        self._listening.enter_context(listening)
        self._listening.callback(add_accept_handler(listening, self._accept))

    def close(self) -> None:
        self._stop()
        self._reserved_port.close()

    def set_fault(self, fault: ReceiverFault | None) -> None:
        """Set the fault of all requests from now on, or None for no fault. Raises RunFailed if the port is in use."""
        before, self._fault = self._fault, fault
        if fault is not None:
            self.refused.clear()
        if fault is ReceiverFault.GONE:
            self.failed_requests[fault] += len(self._streams)
            self._stop()
        elif self._listening is None:
            self.listen()
        if before is ReceiverFault.HANG:
            self._close_streams()

    def _accept(self, connection: socket.socket, address: object) -> None:
        stream = IOStream(connection)
        stream.set_nodelay(True)
        IOLoop.current().add_callback(self._serve, stream)

    async def _serve(self, stream: IOStream) -> None:
        if self._listening is None:
            # The connection was accepted just before the receiver stopped.
            stream.close()
            return
        self._streams.add(stream)
        try:
            while True:
                head = (await stream.read_until(b"\r\n\r\n")).decode("latin-1")
                lines = (line.partition(":") for line in head.split("\r\n")[1:])
                headers = {name.lower(): value.strip() for name, _, value in lines}
                body = await stream.read_bytes(int(headers["content-length"]))
                order_id, problems = self._checker.check(headers, body)
                for problem in problems:
                    self._findings.add(WRONG, problem, order_id)
                await self._answer(stream, order_id)
        except StreamClosedError:
            pass
        except (KeyError, ValueError, OverflowError) as problem:
            self._findings.add(WRONG, f"a request that is not a webhook: {problem!r}")
        finally:
            self._streams.discard(stream)
            stream.close()

    async def _answer(self, stream: IOStream, order_id: int) -> None:
        fault = self._fault
        self.answered[order_id] += fault is None or fault in FAILURES
        if fault is None:
            self.delivered[order_id] += 1
            self.newest = max(self.newest, order_id)
            await stream.write(DELIVERED)
            return
        self.failed_requests[fault] += 1
        self.refused.add(order_id)
        if fault in FAILURES:
            await stream.write(FAILURES[fault])
        else:
            # Hang until the sender closes the connection, or the fault ends.
            await stream.read_until_close()

    def _stop(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        self._close_streams()

    def _close_streams(self) -> None:
        for stream in list(self._streams):
            stream.close()
