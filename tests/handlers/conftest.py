"""A service for each test, and a log in which nothing unexpected may turn up."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from tests.handlers.service import Service
from tests.models.samples import Clock

Serve = Callable[..., Awaitable[Service]]


class _Keeper(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def log() -> Iterator[list[logging.LogRecord]]:
    """Warnings and errors in the log; a test clears those that it expects, any other fails it."""
    keeper = _Keeper()
    logging.getLogger().addHandler(keeper)
    yield keeper.records
    logging.getLogger().removeHandler(keeper)
    assert [record.getMessage() for record in keeper.records] == []


@pytest.fixture
def serve(log: list[logging.LogRecord], io_loop: IOLoop, tmp_path: Path, clock: Clock) -> Iterator[Serve]:
    """Opens a service; takes what `Service` takes."""
    services: list[Service] = []

    async def serve(**options: Any) -> Service:
        service = Service(tmp_path / "orders.db", clock, **options)
        await service.open()
        services.append(service)
        return service

    yield serve
    for service in services:
        io_loop.run_sync(service.close, timeout=10)


@pytest.fixture
def service(serve: Serve, io_loop: IOLoop) -> Service:
    opened: Service = io_loop.run_sync(serve)
    return opened
