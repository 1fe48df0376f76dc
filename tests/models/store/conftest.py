"""An empty database and its store, for the tests of every kind of store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.engines import Engine
from tests.models.samples import Clock
from tests.models.shorthand_store import ShorthandStore
from tests.models.sqlite.engine import SqliteEngine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = SqliteEngine(tmp_path / "orders.db")
    yield engine
    engine.close()


@pytest.fixture
def store(engine: Engine, clock: Clock) -> ShorthandStore:
    return ShorthandStore(engine.open(clock))
