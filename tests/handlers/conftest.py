"""A running API for each test, and a check that nothing unexpected is logged."""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from handlers.metrics.instruments import IntakeOutcome
from tests.handlers.running_api import RunningApi
from tests.io_loops import current, new_io_loop
from tests.models.samples import Clock
from tests.process import DEADLINE_S

LONG_LINGER_S = 100.0

StartApi = Callable[..., Awaitable[RunningApi]]


class _Recorder(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def log() -> Iterator[list[logging.LogRecord]]:
    """The warnings and errors in the log. A test must remove the entries that it expects, and fails if any remain."""
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
def long_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes lingering connections last `LONG_LINGER_S`, so that a slow machine does not use up that time by itself."""
    monkeypatch.setattr("handlers.transport.lingering_close.LINGER_S", LONG_LINGER_S)


@pytest.fixture(scope="module")
def io_loop_of_module() -> Iterator[IOLoop]:
    with new_io_loop() as loop:
        yield loop


@pytest.fixture
def io_loop(request: pytest.FixtureRequest) -> Iterator[IOLoop]:
    """The event loop of the test. Tests with `shared_api` have the loop of this API."""
    with contextlib.ExitStack() as closed_at_end:
        if "shared_api" in request.fixturenames:
            loop = request.getfixturevalue("io_loop_of_module")
        else:
            loop = closed_at_end.enter_context(new_io_loop())
        yield closed_at_end.enter_context(current(loop))


@pytest.fixture(scope="module")
def api_of_module(io_loop_of_module: IOLoop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    api = RunningApi(tmp_path_factory.mktemp("api") / "orders.db", Clock())
    io_loop_of_module.run_sync(api.open, timeout=DEADLINE_S)
    yield api
    io_loop_of_module.run_sync(api.close, timeout=DEADLINE_S)


@pytest.fixture
def shared_api(api_of_module: RunningApi) -> Iterator[RunningApi]:
    """An API without orders, which all tests of a module share if they store no orders and change nothing else."""
    yield api_of_module
    assert api_of_module.instruments.intake[IntakeOutcome.ACCEPTED] == 0, "use the fixture `api`"
    assert not api_of_module.in_flight.draining, "use the fixture `api`"


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
        io_loop.run_sync(api.close, timeout=DEADLINE_S)


@pytest.fixture
def api(start_api: StartApi, io_loop: IOLoop) -> RunningApi:
    started: RunningApi = io_loop.run_sync(start_api)
    return started
