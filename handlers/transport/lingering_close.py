"""Lingering close: after a response, the server reads and discards bytes until the client closes the connection.

If the server closed a socket with unread bytes, TCP would send a reset. The reset can overtake the response: a proxy
then sends its client a 502 instead of the response (RFC 9112 §9.6). Runs on the event loop.
"""

import asyncio
import contextlib
import os
import socket

LINGER_S = 5.0
"""How long a client has to read the response and to close the connection."""
MAX_LINGER_BYTES = 64 * 1024 * 1024
"""How many bytes the server discards per connection. After this many bytes, the server stops reading, but keeps the
connection open until `LINGER_S` is over."""
READ_BYTES = 64 * 1024
"""How many bytes of a connection are read before the event loop runs other callbacks."""


class LingeringSockets:
    """Sockets in a lingering close. Each socket stays open until its client closes it, at most `LINGER_S` seconds."""

    def __init__(self) -> None:
        self._sockets: set[_LingeringSocket] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._sockets)

    def add(self, file: int) -> None:
        """Begins the lingering close of the connection with this file descriptor, which the caller must then close.

        Shuts down sending, and reads from a duplicate of `file`. Does nothing if the connection is broken, or if the
        process has no file descriptor left.
        """
        with contextlib.suppress(OSError):
            self._sockets.add(_LingeringSocket(file, others=self))
            self._empty.clear()

    def discard(self, closed: "_LingeringSocket") -> None:
        """Removes a socket that is closed."""
        self._sockets.discard(closed)
        if not self._sockets:
            self._empty.set()

    async def wait_until_closed(self, timeout_s: float) -> None:
        """Waits until all sockets are closed, at most `timeout_s` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), timeout_s)

    def close(self) -> None:
        """Closes all sockets now."""
        for each in list(self._sockets):
            each.close()


class _LingeringSocket:
    def __init__(self, file: int, *, others: LingeringSockets) -> None:
        self._others = others
        self._loop = asyncio.get_running_loop()
        self._unread_bytes = MAX_LINGER_BYTES
        # A plain socket even for TLS, because the discarded bytes need not be decrypted.
        self._socket = socket.socket(fileno=os.dup(file))
        try:
            self._socket.setblocking(False)
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket, self._read)
        self._timer = self._loop.call_later(LINGER_S, self.close)

    def close(self) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._others.discard(self)

    def _read(self) -> None:
        try:
            count = len(self._socket.recv(READ_BYTES))
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self.close()
            return
        self._unread_bytes -= count
        if self._unread_bytes <= 0:
            self._loop.remove_reader(self._socket)
