"""Fixtures: two servers on one PostgreSQL database."""

from collections.abc import Iterator

import pytest

from tests.models.postgresql.engine import PostgresqlEngine
from tests.models.postgresql.two_servers import Server, two_servers
from tests.models.samples import Clock


@pytest.fixture
def engine() -> PostgresqlEngine:
    return PostgresqlEngine()


@pytest.fixture
def servers(engine: PostgresqlEngine, clock: Clock) -> Iterator[tuple[Server, Server]]:
    with two_servers(engine, clock) as servers:
        yield servers
