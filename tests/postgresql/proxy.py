"""A proxy between a client and a PostgreSQL server that cuts or stops a connection at a chosen message of the protocol.

Protocol: https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

import contextlib
import enum
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

_ENCRYPTION_REQUESTS = (80877103, 80877104)
"""SSLRequest and GSSENCRequest."""

_FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
_FATAL_ERROR = b"E" + struct.pack("!i", 4 + len(_FIELDS)) + _FIELDS


class Side(enum.Enum):
    """Who has sent a message."""

    CLIENT = "client"
    SERVER = "server"


class Ending(enum.Enum):
    """The state of the two ends of a connection after a cut."""

    CLOSED = "closed"
    """Both ends are closed. The server does not get the rest of the client's messages."""
    SILENT = "silent"
    """The client's end is closed. The server waits for more messages until the proxy is closed."""
    STALLED = "stalled"
    """Both ends wait until the proxy is closed, as if a network lost all packets: nothing more is forwarded."""
    FATAL = "fatal"
    """Like STALLED, but the client first gets the error with which a server ends a connection, in place of the
    message."""


class Proxy:
    """Accepts connections on a loopback port, and connects each to the server in `folder`.

    Messages are counted over all connections, from the last call of `cut_at` or `count`.
    """

    def __init__(self, folder: Path) -> None:
        self._target = str(folder / ".s.PGSQL.5432")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(Side, 0)
        self._cut: tuple[Side, int, Ending] | None = None
        self._is_closed = False
        self._is_refusing = False
        self._is_stalling = False
        self._links: list[_Link] = []
        self._threads = [threading.Thread(target=self._accept)]
        self.was_cut = threading.Event()
        """Set right before the connection is cut at the chosen message. After `count`, the event is not set any
        more."""
        self._threads[0].start()

    def url(self, database: str) -> str:
        return f"postgresql://orders@127.0.0.1:{self._listener.getsockname()[1]}/{database}"

    def cut_at(self, side: Side, number: int, ending: Ending = Ending.CLOSED) -> None:
        """Cuts the connection on which the message with this number (1 is the next message) arrives. Drops the message.

        The messages before it have been forwarded. So the server has not acted on a dropped message of the client. If a
        message of the server is dropped, the server has acted, but the client does not know this. Later connections are
        not cut.
        """
        with self._lock:
            self._counts = dict.fromkeys(Side, 0)
            self._cut = (side, number, ending)
            self.was_cut.clear()

    def count(self) -> dict[Side, int]:
        """The number of messages since the last call, or since the last call of `cut_at`. Cancels a cut."""
        with self._lock:
            counts, self._counts = self._counts, dict.fromkeys(Side, 0)
            self._cut = None
        return counts

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        """Cuts all connections, and until the end of the block refuses new ones."""
        with self._lock:
            self._is_refusing = True
            links = list(self._links)
        for link in links:
            link.close()
        yield
        self._is_refusing = False

    @contextlib.contextmanager
    def stall(self) -> Iterator[None]:
        """Stops forwarding on all connections for ever, and until the end of the block also on new connections."""
        with self._lock:
            self._is_stalling = True
            links = list(self._links)
        for link in links:
            link.is_stalled = True
        yield
        self._is_stalling = False

    def is_cut_at(self, side: Side) -> Ending | None:
        """Counts a message. Returns how the connection is cut at this message, or None if it is not cut."""
        with self._lock:
            self._counts[side] += 1
            if self._cut is None or self._cut[:2] != (side, self._counts[side]):
                return None
            ending = self._cut[2]
            self._cut = None
            self.was_cut.set()
        return ending

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._is_closed = True
            links = list(self._links)
        self._listener.shutdown(socket.SHUT_RDWR)
        for link in links:
            link.close()
        for thread in self._threads:
            thread.join()
        for link in links:
            link.dispose()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # the proxy is closed
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                if self._is_refusing:
                    raise ConnectionRefusedError
                if self._is_stalling:
                    self._links.append(_Link(self, client, server))
                    continue
                server.connect(self._target)
            except OSError:  # the server is down
                client.close()
                server.close()
                continue
            link = _Link(self, client, server)
            with self._lock:
                self._links.append(link)
                if self._is_closed:
                    link.close()
                threads = [threading.Thread(target=link.forward, args=[side]) for side in Side]
                self._threads += threads
            for thread in threads:
                thread.start()


class _Link:
    """A connection of a client, and the connection to the server that belongs to it."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._is_silent = False
        self.is_stalled = False
        """Whether nothing is forwarded any more."""
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def forward(self, side: Side) -> None:
        """Forwards the messages of one side until the connection ends or is cut."""
        source, target = (self._client, self._server) if side is Side.CLIENT else (self._server, self._client)
        with contextlib.suppress(OSError):  # the other end is closed
            for message in self._messages(source, side):
                if self.is_stalled:
                    break
                if ending := self._proxy.is_cut_at(side):
                    if ending is Ending.FATAL:
                        self._client.sendall(_FATAL_ERROR)
                    self._is_silent = ending is Ending.SILENT
                    self.is_stalled = ending in (Ending.STALLED, Ending.FATAL)
                    if not self.is_stalled:
                        _end(self._client)
                    break
                target.sendall(message)
        if not (self._is_silent or self.is_stalled):
            self.close()

    def close(self) -> None:
        _end(self._client)
        _end(self._server)

    def dispose(self) -> None:
        """Must be called last, when no thread uses the connections."""
        self._client.close()
        self._server.close()

    def _messages(self, source: socket.socket, side: Side) -> Iterator[bytes]:
        with source.makefile("rb") as stream:
            if side is Side.CLIENT:
                while (first := stream.read(4)) and (body := stream.read(struct.unpack("!i", first)[0] - 4)):
                    if len(body) != 4 or struct.unpack("!i", body)[0] not in _ENCRYPTION_REQUESTS:
                        yield first + body
                        break
                    source.sendall(b"N")
            while len(head := stream.read(5)) == 5:
                yield head + stream.read(struct.unpack("!i", head[1:])[0] - 4)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
