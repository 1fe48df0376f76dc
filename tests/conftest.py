"""What the tests of all rooms share: an event loop, a clock that only a test moves, and a database on disk."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from models.sqlite.database import RetryingSqliteDatabase
from tests.models.new_database import open_new_database
from tests.models.samples import Clock, SteppedStore


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group("slow"))


@pytest.fixture
def io_loop() -> Iterator[IOLoop]:
    """pytest-tornado's fixture, whose own version makes calls that Tornado has deprecated."""
    asyncio_loop = asyncio.new_event_loop()
    asyncio.set_event_loop(asyncio_loop)
    loop = IOLoop(make_current=False, asyncio_loop=asyncio_loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close(all_fds=True)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[RetryingSqliteDatabase]:
    """A new database with a connection of the test's own thread; gives up at once where it is locked."""
    database = open_new_database(tmp_path / "orders.db")
    database.connect()
    yield database
    database.close()


@pytest.fixture
def store(database: RetryingSqliteDatabase, clock: Clock) -> SteppedStore:
    return SteppedStore(database, clock=clock)
