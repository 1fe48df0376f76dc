"""An empty database and its store, for the tests of every kind of store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.engines import Engine
from tests.models.samples import Clock
from tests.models.shorthand_store import ShorthandStore
from tests.models.sqlite.engine import SqliteEngine


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks all cases of a test on PostgreSQL as slow, except the first one."""
    seen = set()
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("postgresql"):
            test = (item.path, getattr(item, "originalname", item.name))
            if test in seen:
                item.add_marker(pytest.mark.slow)
            seen.add(test)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    engine: Engine
    if request.param == "sqlite":
        engine = SqliteEngine(tmp_path / "orders.db")
    else:
        # Imported only here, because the tests on SQLite do not need psycopg.
        from tests.models.postgresql.engine import PostgresqlEngine

        engine = PostgresqlEngine()
    yield engine
    engine.close()


@pytest.fixture
def store(engine: Engine, clock: Clock) -> ShorthandStore:
    return ShorthandStore(engine.open(clock))
