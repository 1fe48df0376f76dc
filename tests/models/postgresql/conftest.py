"""Fixtures: two servers on one PostgreSQL database, and a proxy before PostgreSQL."""

from collections.abc import Iterator

import pytest

from tests.models.postgresql.engine import PostgresqlEngine
from tests.models.postgresql.two_servers import Server, two_servers
from tests.models.samples import Clock
from tests.postgresql.proxy import Proxy
from tests.postgresql.server import need_postgresql, shared_server


@pytest.fixture
def engine() -> PostgresqlEngine:
    return PostgresqlEngine()


@pytest.fixture
def servers(engine: PostgresqlEngine, clock: Clock) -> Iterator[tuple[Server, Server]]:
    with two_servers(engine, clock) as servers:
        yield servers


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    need_postgresql()
    with Proxy(shared_server()) as proxy:
        yield proxy
