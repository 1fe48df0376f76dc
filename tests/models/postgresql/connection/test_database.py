"""Connecting is retried until the deadline. No server listens in these tests."""

import socket
from collections.abc import Iterator

import pytest

from models.database.address import PostgresqlUrl
from models.errors import DatabaseRefusedError, StorageUnavailableError
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.connection.errors import storage_errors


class Time:
    """A clock that only `sleep` advances."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        self.now_s += delay_s


@pytest.fixture
def url() -> Iterator[PostgresqlUrl]:
    """The URL of a port on which no program listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield PostgresqlUrl(f"postgresql://shop:hunter2@127.0.0.1:{bound.getsockname()[1]}/orders")


def new_database(url: PostgresqlUrl, time: Time, *, jitter: float = 0.5) -> RetryingPostgresqlDatabase:
    return RetryingPostgresqlDatabase(
        url, deadline_s=10, clock=lambda: time.now_s, sleep=time.sleep, jitter=lambda: jitter
    )


def test_connecting_is_retried_with_growing_delays_until_the_deadline(url: PostgresqlUrl) -> None:
    time = Time()
    with pytest.raises(StorageUnavailableError, match="Connection refused") as raised, storage_errors():
        new_database(url, time).connect()
    assert sum(time.slept) == pytest.approx(10)
    assert time.slept[:4] == pytest.approx([0.02, 0.04, 0.08, 0.16])
    assert max(time.slept) <= 0.5
    assert "hunter2" not in str(raised.value)


def test_the_delays_have_jitter(url: PostgresqlUrl) -> None:
    first = []
    for jitter in (0.0, 1.0):
        time = Time()
        with pytest.raises(StorageUnavailableError), storage_errors():
            new_database(url, time, jitter=jitter).connect()
        first.append(time.slept[0])
    assert first == pytest.approx([0.01, 0.03])


def test_calls_during_an_outage_share_one_deadline(url: PostgresqlUrl) -> None:
    time = Time()
    database = new_database(url, time)
    for expected_s in (10, 0, 0):
        before_s = time.now_s
        with pytest.raises(StorageUnavailableError), storage_errors():
            database.connect()
        assert time.now_s - before_s == pytest.approx(expected_s)
    time.now_s += 60
    with pytest.raises(StorageUnavailableError), storage_errors():
        database.connect()
    assert time.now_s == pytest.approx(80)


@pytest.mark.parametrize("url_text", ["postgresql://db:hunter2/orders", "postgresql://db/?colour=hunter2"])
def test_an_invalid_url_is_refused_without_showing_what_can_be_a_password(url_text: str) -> None:
    with pytest.raises(DatabaseRefusedError, match="the URL is invalid") as raised:
        RetryingPostgresqlDatabase(PostgresqlUrl(url_text))
    assert "hunter2" not in str(raised.value)
