"""Owns connections that read the server's events and look at none of them, on the thread that calls it.

They share the machine with the server that is measured, so they cost next to nothing: a system call for what has come,
into one buffer, and a sum.
"""

import selectors
import socket
from typing import Any

from load.http.address import Address

CONNECT_S = 10.0
BUFFER_BYTES = 1 << 20
QUIET_S = 0.5


class NoEvents(Exception):
    """The server does not answer with a stream of events; the text says what it does."""


class EventReaders:
    """`count` connections that read every event; `bytes_read` counts for each what has come since `open` returned.

    `ended` is how many streams have come to their end.
    """

    def __init__(self, address: Address, *, count: int, quiet_s: float = QUIET_S) -> None:
        self.bytes_read = [0] * count
        self.ended = 0
        self._address = address
        self._quiet_s = quiet_s
        self._sockets: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._buffer = bytearray(BUFFER_BYTES)

    def open(self) -> None:
        """Return when every stream has begun; NoEvents when the server has another answer, OSError when it has none."""
        request = self._address.get("/orders/events")
        for number in range(len(self.bytes_read)):
            reader = socket.socket(self._address.family, socket.SOCK_STREAM)
            self._sockets.append(reader)
            reader.settimeout(CONNECT_S)
            reader.connect(self._address.sockaddr)
            reader.sendall(request)
            self._selector.register(reader, selectors.EVENT_READ, number)
        for reader in self._sockets:
            status_line = reader.recv(BUFFER_BYTES).partition(b"\r\n")[0]
            if b" 200 " not in status_line:
                raise NoEvents(f"GET /orders/events: {status_line.decode('latin-1') or 'no answer'}")
            reader.setblocking(False)

    def read_until_readable(self, end: Any) -> None:
        """Read until the file `end` has something to be read, or is at its end, and then until nothing comes."""
        self._selector.register(end, selectors.EVENT_READ, None)
        ends = False
        while ready := self._selector.select(self._quiet_s if ends else None):
            for key, _ in ready:
                if key.data is None:
                    self._selector.unregister(end)
                    ends = True
                else:
                    self._read(key)

    def close(self) -> None:
        """Close every connection; may be called twice."""
        self._selector.close()
        for reader in self._sockets:
            reader.close()

    def _read(self, key: selectors.SelectorKey) -> None:
        try:
            count = key.fileobj.recv_into(self._buffer)  # type: ignore[union-attr]
        except BlockingIOError:
            return
        except ConnectionError:
            count = 0
        if count:
            self.bytes_read[key.data] += count
        else:
            self._selector.unregister(key.fileobj)
            self.ended += 1
