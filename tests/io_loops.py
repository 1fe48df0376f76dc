"""Event loops for tests."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from tornado.ioloop import IOLoop


@contextmanager
def new_io_loop() -> Iterator[IOLoop]:
    """A new event loop, which is closed at the end of the block."""
    io_loop = IOLoop(make_current=False, asyncio_loop=asyncio.new_event_loop())
    try:
        yield io_loop
    finally:
        io_loop.close(all_fds=True)


@contextmanager
def current(io_loop: IOLoop) -> Iterator[IOLoop]:
    """Sets `io_loop` as the event loop of this thread until the end of the block."""
    asyncio.set_event_loop(cast(Any, io_loop).asyncio_loop)
    try:
        yield io_loop
    finally:
        asyncio.set_event_loop(None)
