"""Wakes a thread that waits for sockets."""

import contextlib
import socket


class Wakeup:
    """A socket that becomes readable when another thread calls `wake`. One thread waits for the socket."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        for each in (self._receiver, self._sender):
            each.setblocking(False)
        self._is_set = False

    def wake(self) -> None:
        """Makes the socket readable. Usable on any thread, also after `close`."""
        if not self._is_set:
            self._is_set = True
            with contextlib.suppress(OSError):  # closed
                self._sender.send(b"\0")

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._receiver.fileno()

    def clear(self) -> None:
        """Must be called when the socket is readable. From now on, `wake` makes the socket readable again."""
        self._receiver.recv(64)
        self._is_set = False

    def close(self) -> None:
        """Closes the socket. Can be called twice."""
        self._receiver.close()
        self._sender.close()
