"""A webhook receiver on real sockets, with a thread for each connection. A script answers each delivery."""

import contextlib
import http.client
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple

from tests.process import DEADLINE_S

SHORT_S = 0.2
"""A time-out short enough for a test to wait for."""
DRIPS = 500
DRIP_S = 0.02


class Delivery(NamedTuple):
    """A received request. The names of its headers are in lower case; `connection` counts from 1."""

    connection: int
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """The receiver's end of a connection, for scripts."""

    def __init__(self, sock: socket.socket, closing: threading.Event) -> None:
        self._sock = sock
        self._closing = closing

    def send(self, data: bytes) -> None:
        """Raises OSError if the other end has closed the connection."""
        self._sock.sendall(data)

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def hold(self, seconds: float = DEADLINE_S) -> None:
        """Waits for this time, or until the receiver closes."""
        self._closing.wait(seconds)

    def deliveries(self, connection: int) -> Iterator[Delivery]:
        with contextlib.suppress(OSError), self._sock.makefile("rb") as stream:
            while request := re.fullmatch(r"(\S+) (\S+) HTTP/1\.1\r\n", stream.readline(65_536).decode("latin-1")):
                headers = {name.lower(): value for name, value in http.client.parse_headers(stream).items()}
                yield Delivery(connection, request[1], request[2], headers, stream.read(int(headers["content-length"])))


Script = Callable[[Wire], None]


def reply(status: int, body: bytes = b"", *lines: str) -> bytes:
    """A complete response. `lines` are additional headers."""
    framing = [] if status in (204, 304) else [f"Content-Length: {len(body)}"]
    return "\r\n".join([f"HTTP/1.1 {status} Something", *framing, *lines, "", ""]).encode() + body


def answer(status: int, body: bytes = b"", *lines: str) -> Script:
    return send(reply(status, body, *lines))


def send(data: bytes) -> Script:
    return lambda wire: wire.send(data)


def send_and_hang_up(data: bytes = b"") -> Script:
    def script(wire: Wire) -> None:
        wire.send(data)
        wire.hang_up()

    return script


def hold(wire: Wire) -> None:
    """A script that never responds."""
    wire.hold()


def drip(beginning: bytes) -> Script:
    """Sends `beginning`, then a byte every 20 ms, for ten seconds or until the client closes the connection."""

    def script(wire: Wire) -> None:
        wire.send(beginning)
        for _ in range(DRIPS):
            wire.hold(DRIP_S)
            wire.send(b"x")

    return script


def in_turn(*scripts: Script) -> Script:
    """Runs the scripts one after another: the first script for the first delivery, and so on."""
    left = iter(scripts)
    return lambda wire: next(left)(wire)


class Flood:
    """An endless response. `ended` is set when the client closes the connection. `sent` counts the bytes sent."""

    MAX_BYTES = 256 * 1024 * 1024

    def __init__(self, head: bytes, piece: bytes) -> None:
        self.ended = threading.Event()
        self.sent = 0
        self._head = head
        self._piece = piece

    def __call__(self, wire: Wire) -> None:
        try:
            wire.send(self._head)
            while self.sent < self.MAX_BYTES:
                wire.send(self._piece)
                self.sent += len(self._piece)
        finally:
            self.ended.set()


class Receiver:
    """Listens on a free port of `host` until the `with` block ends. Uses https if `tls` is given.

    Answers 200 without a script. `script` can be changed at any time.
    """

    def __init__(
        self, script: Script | None = None, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.script = script or answer(200)
        self.deliveries: list[Delivery] = []
        self.connections = 0
        self._tls = tls
        self._host = host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self._closing = threading.Event()
        self._wires: list[Wire] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}/hook"

    @property
    def bodies(self) -> Sequence[bytes]:
        return [delivery.body for delivery in self.deliveries]

    def hang_up(self) -> None:
        """Closes all open connections, like a receiver that closes idle connections."""
        while self._wires:
            self._wires.pop().hang_up()

    def __enter__(self) -> "Receiver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(DEADLINE_S)
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(sock, self.connections))
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(sock)
            if self._tls:
                sock.settimeout(DEADLINE_S)
                sock = stack.enter_context(self._tls.wrap_socket(sock, server_side=True))
            wire = Wire(sock, self._closing)
            self._wires.append(wire)
            if self._closing.is_set():
                return
            for delivery in wire.deliveries(number):
                self.deliveries.append(delivery)
                self.script(wire)
