"""Fixtures for all tests: an event loop, a clock that a test sets, a database file, and a store in it."""

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
    """A new database, connected on the test's thread. Does not wait for locks."""
    database = open_new_database(tmp_path / "orders.db")
    database.connect()
    yield database
    database.close()


@pytest.fixture
def store(database: RetryingSqliteDatabase, clock: Clock) -> ShorthandStore:
    return ShorthandStore(SqliteStore(database, clock=clock))
