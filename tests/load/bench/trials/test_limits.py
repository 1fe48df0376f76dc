"""Tests the trial that measures what limits several servers, and the counters of PostgreSQL that it reads."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from load.bench.database_meter import RUNNING, DatabaseMeter, Waits
from load.system.machine import MachineTime
from tests.load.bench.short_trial import run_trial
from tests.postgresql.databases import connect, execute, temporary_database
from tests.process import wait_until

pytestmark = pytest.mark.postgresql

BURN_CPU = "SELECT sum(each) FROM generate_series(1, 1000000) AS each"


@pytest.fixture
def url() -> Iterator[str]:
    with temporary_database() as url:
        yield url


def create_tables(url: str) -> None:
    with connect(url) as connection:
        for table in ("orders", "ends"):
            execute(connection, f"CREATE TABLE {table} (sequence bigint PRIMARY KEY)")


@pytest.fixture
def meter(url: str) -> Iterator[DatabaseMeter]:
    create_tables(url)
    with connect(url) as connection, connect(url) as sampling:
        yield DatabaseMeter(connection, sampling)


@pytest.mark.slow
def test_one_two_and_three_servers_are_measured(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in run_trial("postgresql-limits", tmp_path, capsys, "--database", url)["rows"]}
    one, three = (rows[f"{name}: orders/s until all are Completed"] for name in ("one server", "three servers"))
    ratio = rows["orders/s until all are Completed: three servers against one"]
    assert ratio["median"] == pytest.approx(three["median"] / one["median"])
    for name in ("one server", "two servers", "three servers"):
        assert rows[f"{name}: CPU time of PostgreSQL for an order"]["median"] > 0
        assert rows[f"{name}: bytes of WAL for an order"]["median"] > 200
        assert 0 < rows[f"{name}: share of the machine's CPU time in use"]["median"] <= 1
    assert all(not row["wrong_answers"] for row in rows.values())


def test_the_write_ahead_log_its_syncs_and_the_tables_are_measured(url: str, meter: DatabaseMeter) -> None:
    before, syncs = meter.read(), meter.wal_syncs()
    with connect(url) as other:
        execute(other, "CREATE TABLE texts AS SELECT repeat('a', 1000) FROM generate_series(1, 100)")
        execute(other, "INSERT INTO orders SELECT generate_series(1, 10000)")
    used = meter.read()
    assert used.wal_bytes - before.wal_bytes > 100_000
    assert used.stored_bytes - before.stored_bytes > 10_000 * 40
    wait_until(lambda: meter.wal_syncs() > syncs)


def test_the_cpu_time_of_running_and_of_ended_processes_counts(url: str, meter: DatabaseMeter) -> None:
    def cpu_s() -> float:
        used = meter.read().cpu_s
        assert used is not None
        return used

    before = cpu_s()
    with connect(url) as other:
        burned = 0
        while cpu_s() == before:
            execute(other, BURN_CPU)
            burned += 1
        during = cpu_s()
    # The process of the connection has ended, or ends soon.
    assert cpu_s() >= during
    assert burned < 1_000


def test_the_processes_of_another_machine_are_not_looked_for(url: str, tmp_path: Path) -> None:
    create_tables(url)
    with connect(url) as connection, connect(url) as sampling:
        assert DatabaseMeter(connection, sampling, proc=tmp_path).read().cpu_s is None
        # The number of a process of another machine can be that of a different program here.
        (process := tmp_path / str(connection.info.backend_pid)).mkdir()
        (process / "cmdline").write_bytes(b"sleep\x001\x00")
        assert DatabaseMeter(connection, sampling, proc=tmp_path).read().cpu_s is None


def test_the_times_of_processes_are_added(url: str, tmp_path: Path) -> None:
    def add(pid: int, parent: int, *ticks: int) -> None:
        (process := tmp_path / str(pid)).mkdir()
        (process / "cmdline").write_bytes(b"postgres: orders")
        (process / "stat").write_text(f"{pid} (a) b) S {parent} {'0 ' * 9}{' '.join(map(str, ticks))} 0 0\n")

    create_tables(url)
    with connect(url) as connection, connect(url) as sampling:
        own, other = (each.info.backend_pid for each in (connection, sampling))
        first = 1
        assert first not in (own, other)
        add(first, 0, 10, 20, 300, 400)
        add(own, first, 5_000, 0, 0, 0)
        add(other, first, 5_000, 0, 0, 0)
        add(own + other, first, 1_000, 2_000, 7, 7)
        add(own + other + 1, own + other, 9_000, 0, 0, 0)
        (tmp_path / "self").mkdir()
        used = DatabaseMeter(connection, sampling, proc=tmp_path).read()
    assert used.cpu_s == 3_730 / os.sysconf("SC_CLK_TCK")


def test_waiting_connections_of_servers_are_sampled(url: str, meter: DatabaseMeter) -> None:
    waits = Waits()
    with ExitStack() as stack:
        for name in ("orders", "orders", "psql"):
            connection = stack.enter_context(psycopg.connect(url, application_name=name))
            connection.execute("SELECT 1")
        idle = stack.enter_context(psycopg.connect(url, application_name="orders", autocommit=True))
        idle.execute("SELECT 1")
        with meter.waits(waits):
            wait_until(lambda: waits.samples >= 3)
    # The last of these connections can still be running in the first sample.
    assert waits.counts["Client ClientRead"] >= 2 * waits.samples - 3
    assert waits.counts.total() == 2 * waits.samples


def test_shares_are_of_the_time_of_one_connection_for_each_server() -> None:
    waits = Waits()
    for sample in ({RUNNING: 1}, {RUNNING: 2, "IO WALSync": 1}, {}, {}):
        waits.add(sample)
    assert waits.shares(servers=2) == {RUNNING: 3 / 8, "IO WALSync": 1 / 8}
    assert Waits().shares(servers=1) == {}


def test_the_busy_share_of_the_machine_grows_with_work() -> None:
    before = MachineTime.read()
    wait_until(lambda: MachineTime.read().since(before).busy > 0)
    assert 0 < MachineTime.read().since(before).busy_share <= 1
    assert MachineTime(50, 200).since(MachineTime(20, 80)) == (30, 120)
    assert MachineTime(30, 120).busy_share == 0.25
