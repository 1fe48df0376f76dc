"""Tests a primary with a synchronous standby, which replaces it, and the fault that makes it do so."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from signal import SIGQUIT

import psycopg
import pytest

from load.chaos.databases.cluster import connect
from load.chaos.databases.postgresql import PostgresqlDatabase
from load.chaos.faults import RECORD, Fault, FaultKind
from load.chaos.injection.injector import Effect
from load.chaos.injection.postgresql_faults import PostgresqlFaults
from load.chaos.report import WRONG, Findings
from load.chaos.target import Target
from tests.load.steps import meanwhile
from tests.postgresql.databases import execute
from tests.postgresql.programs import installed_programs
from tests.postgresql.server import need_postgresql
from tests.process import wait_until

pytestmark = pytest.mark.postgresql

WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def database(open_folder: Path, runner: asyncio.Runner) -> Iterator[PostgresqlDatabase]:
    """A primary and its standby. The proxies forward while the runner runs."""
    need_postgresql()
    programs = installed_programs()
    assert programs is not None
    folder = open_folder / "run" / "record"
    folder.mkdir(parents=True)
    database = PostgresqlDatabase(folder, programs=programs, has_standby=True)
    try:
        runner.run(database.open())
        yield database
    finally:
        database.close()


@pytest.fixture
def target(database: PostgresqlDatabase, tmp_path: Path) -> Target:
    """A target without servers."""
    return Target(findings=Findings(target=RECORD), nodes=[], database=database, folder=tmp_path, seed=1)


async def fail_over(database: PostgresqlDatabase, target: Target) -> Effect:
    method = PostgresqlFaults(databases={RECORD: database}, rng=Random(1)).methods[FaultKind.FAILOVER]
    return await method(target, Fault(kind=FaultKind.FAILOVER, target=RECORD, pause_s=0))


async def accept_orders(database: PostgresqlDatabase, target: Target) -> None:
    """As a server does, commit on the server that accepts writes, and then respond with a 202."""
    url = f"{database.addresses[0]}&target_session_attrs=read-write"
    while True:
        with suppress(psycopg.OperationalError):
            connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
            # The end of `async with` would not close the connection if this task were cancelled during the commit.
            try:
                await connection.execute("INSERT INTO numbers SELECT count(*) FROM numbers")
            finally:
                await connection.close()
            target.acceptance_times.note()


def test_each_commit_waits_for_the_standby(database: PostgresqlDatabase) -> None:
    standby = database.cluster.standby.server
    standby.stop(SIGQUIT)

    def commit() -> None:
        with database.connect() as connection:
            execute(connection, "CREATE TABLE waiting ()")

    with database.connect() as observer, meanwhile(commit):
        wait_until(lambda: execute(observer, WAITS) == [(1,)])
        standby.start()
    with connect(standby) as reader:
        assert execute(reader, "SELECT count(*) FROM pg_class WHERE relname = 'waiting'") == [(1,)]


def test_failovers_keep_every_commit_and_can_be_repeated(
    runner: asyncio.Runner, database: PostgresqlDatabase, target: Target
) -> None:
    first = database.server

    async def run() -> None:
        with database.connect() as connection:
            execute(connection, "CREATE TABLE numbers (number bigint)")
        accepting = asyncio.create_task(accept_orders(database, target))
        effects = [await fail_over(database, target) for _ in range(2)]
        accepting.cancel()
        await asyncio.wait([accepting])
        assert all(effect.made for effect in effects)

    runner.run(run())
    assert database.server is first
    with database.connect() as connection:
        [(stored, highest)] = execute(connection, "SELECT count(*), max(number) FROM numbers")
        assert stored == highest + 1 >= 2
        assert execute(connection, "SELECT sync_state FROM pg_stat_replication") == [("sync",)]
    assert len(target.findings.outages) == 2
    assert not any(target.findings.problems.values())


def test_a_failover_after_which_no_order_is_accepted_is_found(
    runner: asyncio.Runner, database: PostgresqlDatabase, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("load.chaos.injection.postgresql_faults.ACCEPTANCE_LIMIT_S", 0.0)  # makes the test fast
    runner.run(fail_over(database, target))
    assert [text for text, _ in target.findings.problems[WRONG]] == ["no 202 in 0 s after a failover"]
