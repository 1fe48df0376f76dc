"""What a stream has registered with the event loop, which is told no more of it than it has to know. On the event loop.

Tornado's streams stop listening once a request's body is in their buffer, and begin again while it is served: two
system calls an order, though hardly any client sends something meanwhile.
"""

from collections.abc import Callable
from typing import Any

from tornado.ioloop import IOLoop

Handler = Callable[[Any, int], None]


class LazyIOLoop:
    """The IOLoop as one stream sees it, for one file.

    Where the stream listens for READ no more, the loop learns so only if something comes before it listens again; that
    stays in the socket. Everything else is told at once.
    """

    READ = IOLoop.READ
    WRITE = IOLoop.WRITE
    ERROR = IOLoop.ERROR

    def __init__(self, io_loop: IOLoop) -> None:
        self._io_loop = io_loop
        self._handler: Handler = _nobody
        self._wanted = 0
        self._told = 0
        self.add_callback = io_loop.add_callback
        self.add_future = io_loop.add_future
        self.time = io_loop.time

    def add_handler(self, file: Any, handler: Handler, events: int) -> None:
        """Has `handler` called for these events."""
        self._handler = handler
        self._wanted = self._told = events
        self._io_loop.add_handler(file, self._handle, events)

    def update_handler(self, file: Any, events: int) -> None:
        """Has it called for these events alone."""
        self._wanted = events
        if self._told not in (events, events | self.READ):
            self._tell(file)

    def remove_handler(self, file: Any) -> None:
        """Has it called no more."""
        self._handler = _nobody  # which held the stream that holds this
        self._io_loop.remove_handler(file)

    def _tell(self, file: Any) -> None:
        self._told = self._wanted
        self._io_loop.update_handler(file, self._told)

    def _handle(self, file: Any, events: int) -> None:
        if events & self.READ and not self._wanted & self.READ:
            self._tell(file)
            events &= ~self.READ
        if events:
            self._handler(file, events)


def _nobody(file: Any, events: int) -> None:
    """Where there is no handler, or none any more."""
