"""Registers a stream's socket with the event loop, and skips updates that are rarely needed. Runs on the event loop.

Tornado's streams stop listening for READ once a request's body is in their buffer, and listen again while the request
is served: two system calls per request, although hardly any client sends something in between.
"""

from collections.abc import Callable
from typing import Any

from tornado.ioloop import IOLoop

Handler = Callable[[Any, int], None]
"""Called with the file descriptor or socket, and its events."""


class EventRegistration:
    """Wraps the IOLoop for one stream and its file descriptor.

    When the stream stops listening for READ, the loop is updated only if data arrives before the stream listens again;
    the data stays in the socket. Every other change is passed on immediately.
    """

    READ = IOLoop.READ
    WRITE = IOLoop.WRITE
    ERROR = IOLoop.ERROR

    def __init__(self, io_loop: IOLoop) -> None:
        self._io_loop = io_loop
        self._handler: Handler = _ignore
        self._requested_events = 0
        self._registered_events = 0
        self.add_callback = io_loop.add_callback
        self.add_future = io_loop.add_future
        self.time = io_loop.time

    def add_handler(self, file: Any, handler: Handler, events: int) -> None:
        """Starts to call `handler` for these events."""
        self._handler = handler
        self._requested_events = self._registered_events = events
        self._io_loop.add_handler(file, self._handle, events)

    def update_handler(self, file: Any, events: int) -> None:
        """Calls the handler for these events only."""
        self._requested_events = events
        if self._registered_events not in (events, events | self.READ):
            self._update(file)

    def remove_handler(self, file: Any) -> None:
        """Stops calling the handler."""
        self._handler = _ignore  # the handler refers to the stream, which refers to this: a cycle
        self._io_loop.remove_handler(file)

    def _update(self, file: Any) -> None:
        self._registered_events = self._requested_events
        self._io_loop.update_handler(file, self._registered_events)

    def _handle(self, file: Any, events: int) -> None:
        if events & self.READ and not self._requested_events & self.READ:
            self._update(file)
            events &= ~self.READ
        if events:
            self._handler(file, events)


def _ignore(file: Any, events: int) -> None:
    """The handler before one is added and after it is removed."""
