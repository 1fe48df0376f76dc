"""A running API for each test, and a check that nothing unexpected is logged."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from tests.handlers.running_api import RunningApi
from tests.models.samples import Clock

StartApi = Callable[..., Awaitable[RunningApi]]


class _Recorder(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def log() -> Iterator[list[logging.LogRecord]]:
    """The warnings and errors in the log. A test must remove those that it expects, and fails if any remain."""
    recorder = _Recorder()
    logging.getLogger().addHandler(recorder)
    yield recorder.records
    logging.getLogger().removeHandler(recorder)
    assert [record.getMessage() for record in recorder.records] == []


@pytest.fixture
def failing_storage(log: list[logging.LogRecord]) -> Iterator[None]:
    """Allows warnings about failing storage in the log, for tests in which the storage fails."""
    yield
    assert {record.name for record in log} == {"orders.storage"}
    log.clear()


@pytest.fixture
def start_api(log: list[logging.LogRecord], io_loop: IOLoop, tmp_path: Path, clock: Clock) -> Iterator[StartApi]:
    """A function that starts an API on the database `name`, with any arguments of `RunningApi`."""
    started: list[RunningApi] = []

    async def start(*, name: str = "orders.db", **options: Any) -> RunningApi:
        api = RunningApi(tmp_path / name, clock, **options)
        await api.open()
        started.append(api)
        return api

    yield start
    for api in started:
        io_loop.run_sync(api.close, timeout=10)


@pytest.fixture
def api(start_api: StartApi, io_loop: IOLoop) -> RunningApi:
    started: RunningApi = io_loop.run_sync(start_api)
    return started
