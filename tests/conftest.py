"""Fixtures for all tests: an event loop, a clock that a test sets, a database file and a store. Orders the tests."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.store import SqliteStore
from tests.models.new_database import open_new_database
from tests.models.samples import Clock
from tests.models.shorthand_store import ShorthandStore


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts slow tests first and timed tests last, and groups them; pytest-xdist runs a group in one process.

    A slow test is in the group of its file, so that its file's fixtures are made once. Timed tests are one group. It
    starts when no other test is left for its process, so that little else runs beside it.
    """
    for item in items:
        if item.get_closest_marker("timed"):
            item.add_marker(pytest.mark.xdist_group("timed"))
        elif item.get_closest_marker("slow") and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(str(item.path)))
    items.sort(key=_place)  # stable: within a place the order stays


def _place(item: pytest.Item) -> int:
    if item.get_closest_marker("timed"):
        return 2
    return 0 if item.get_closest_marker("slow") else 1


@pytest.fixture
def io_loop() -> Iterator[IOLoop]:
    """Replaces the fixture of pytest-tornado, which makes calls that Tornado has deprecated."""
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
    """A new database, connected on the test's thread. Does not wait for locks."""
    database = open_new_database(tmp_path / "orders.db")
    database.connect()
    yield database
    database.close()


@pytest.fixture
def store(database: RetryingSqliteDatabase, clock: Clock) -> ShorthandStore:
    return ShorthandStore(SqliteStore(database, clock=clock))
