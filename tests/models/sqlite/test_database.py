"""How the database class waits for locks. A second connection holds real locks; time is fake."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import peewee
import pytest

from models.database.health import Work
from models.errors import StorageBusyError
from models.order import Status
from models.sqlite.database import TRUNCATION_BYTES, RetryingSqliteDatabase, is_busy
from models.sqlite.files.opening import open_database
from models.sqlite.store import SqliteStore
from models.writes.attempts import Outcome
from models.writes.insertion import Insertion
from tests.cases import cases
from tests.models.samples import Clock, new_order
from tests.models.shorthand_store import ShorthandStore

DEADLINE_S = 10.0


class Sleeper:
    """A clock that advances only in `sleep`. The call of `sleep` with the number `wake_at` calls `on_wake`."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept: list[float] = []
        self.wake_at = 3
        self.on_wake: Callable[[], object] = lambda: None

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.now_s += seconds
        if len(self.slept) == self.wake_at:
            self.on_wake()


PAGE_BYTES = 4_096


@pytest.fixture
def sleeper() -> Sleeper:
    return Sleeper()


@pytest.fixture
def connect(tmp_path: Path, sleeper: Sleeper) -> Iterator[Callable[..., RetryingSqliteDatabase]]:
    """Connects to `tmp_path`/orders.db with a fake clock and sleep."""
    opened: list[RetryingSqliteDatabase] = []

    def connect(**options: Any) -> RetryingSqliteDatabase:
        database = RetryingSqliteDatabase(
            str(tmp_path / "orders.db"),
            clock=sleeper.clock,
            sleep=sleeper.sleep,
            **({"jitter": lambda: 0.5} | options),
        )
        opened.append(database)
        database.connect()
        return database

    yield connect
    for database in opened:
        database.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another program's connection to the server's database, which is in WAL mode."""
    open_database(tmp_path / "orders.db")
    connection = sqlite3.connect(tmp_path / "orders.db", isolation_level=None, timeout=0)
    yield connection
    connection.close()


@pytest.fixture
def other_without_wal(other: sqlite3.Connection) -> sqlite3.Connection:
    """A connection to a database with a rollback journal instead of a WAL: readers and writers block each other."""
    other.execute("PRAGMA journal_mode = delete")
    return other


@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
def test_begin_waits_until_the_lock_is_released(
    connect: Callable[..., RetryingSqliteDatabase], other: sqlite3.Connection, sleeper: Sleeper, lock: str
) -> None:
    database = connect()
    other.execute(f"BEGIN {lock}")
    sleeper.on_wake = other.rollback
    with database.atomic():
        database.execute_sql("UPDATE totals SET pending = 7")
    assert len(sleeper.slept) == sleeper.wake_at
    assert other.execute("SELECT pending FROM totals").fetchone() == (7,)


@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_statement_outside_a_transaction_is_retried(
    connect: Callable[..., RetryingSqliteDatabase], other: sqlite3.Connection, sleeper: Sleeper, lock: str
) -> None:
    database = connect()
    other.execute(f"BEGIN {lock}")
    sleeper.on_wake = other.rollback
    database.execute_sql("UPDATE totals SET pending = 7")
    assert len(sleeper.slept) == sleeper.wake_at
    assert other.execute("SELECT pending FROM totals").fetchone() == (7,)


def test_a_read_that_a_writer_locks_out_is_retried(
    connect: Callable[..., RetryingSqliteDatabase], other_without_wal: sqlite3.Connection, sleeper: Sleeper
) -> None:
    database = connect()
    other_without_wal.execute("BEGIN EXCLUSIVE")
    sleeper.on_wake = other_without_wal.rollback
    assert database.execute_sql("SELECT pending FROM totals").fetchone() == (0,)
    assert len(sleeper.slept) == sleeper.wake_at


def test_connect_is_retried(
    connect: Callable[..., RetryingSqliteDatabase], other_without_wal: sqlite3.Connection, sleeper: Sleeper
) -> None:
    other_without_wal.execute("BEGIN EXCLUSIVE")
    sleeper.on_wake = other_without_wal.rollback
    assert connect(pragmas={"journal_mode": "wal"}).journal_mode == "wal"
    assert len(sleeper.slept) == sleeper.wake_at


def test_reads_do_not_wait_for_a_writer_in_wal_mode(
    connect: Callable[..., RetryingSqliteDatabase], other: sqlite3.Connection, sleeper: Sleeper
) -> None:
    database = connect()
    other.execute("BEGIN EXCLUSIVE")
    assert database.execute_sql("SELECT pending FROM totals").fetchone() == (0,)
    assert sleeper.slept == []


def test_run_retries_the_whole_transaction(
    connect: Callable[..., RetryingSqliteDatabase], other_without_wal: sqlite3.Connection, sleeper: Sleeper
) -> None:
    database = connect()
    # A reader blocks the commit of a write transaction, but not its beginning.
    other_without_wal.execute("BEGIN")
    other_without_wal.execute("SELECT * FROM totals").fetchall()
    sleeper.on_wake = other_without_wal.rollback
    runs = []

    def work() -> int:
        runs.append(database.execute_sql("SELECT pending FROM totals").fetchone()[0])
        database.execute_sql("UPDATE totals SET pending = pending + 1")
        return len(runs)

    assert database.run(work) == 4
    assert runs == [0, 0, 0, 0]
    assert len(sleeper.slept) == sleeper.wake_at
    assert other_without_wal.execute("SELECT pending FROM totals").fetchone() == (1,)


def test_a_statement_inside_a_transaction_is_not_retried(
    connect: Callable[..., RetryingSqliteDatabase], other: sqlite3.Connection, sleeper: Sleeper
) -> None:
    database = connect()
    # A transaction that has read can't write after another transaction has written. Only the whole transaction can be
    # retried.
    with database.atomic("DEFERRED"):
        database.execute_sql("SELECT * FROM totals").fetchall()
        other.execute("UPDATE totals SET failed = 1")
        with pytest.raises(peewee.OperationalError) as raised:
            database.execute_sql("UPDATE totals SET pending = 7")
    assert is_busy(raised.value)
    assert sleeper.slept == []
    assert not database.in_transaction()


def test_delays_double_up_to_the_maximum(
    connect: Callable[..., RetryingSqliteDatabase], other: sqlite3.Connection, sleeper: Sleeper
) -> None:
    database = connect()
    other.execute("BEGIN IMMEDIATE")
    sleeper.wake_at, sleeper.on_wake = 10, other.rollback
    database.execute_sql("UPDATE totals SET pending = 7")
    expected = [0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.25, 0.25]
    assert sleeper.slept == pytest.approx(expected)


@pytest.mark.parametrize(("jitter", "factor"), [(0.0, 0.5), (0.999, 1.499)])
def test_delays_have_a_jitter_of_50_percent(
    connect: Callable[..., RetryingSqliteDatabase],
    other: sqlite3.Connection,
    sleeper: Sleeper,
    jitter: float,
    factor: float,
) -> None:
    database = connect(jitter=lambda: jitter)
    other.execute("BEGIN IMMEDIATE")
    sleeper.on_wake = other.rollback
    database.execute_sql("UPDATE totals SET pending = 7")
    assert sleeper.slept == pytest.approx([0.002 * factor, 0.004 * factor, 0.008 * factor])


def test_each_wait_begins_with_the_shortest_delay(
    connect: Callable[..., RetryingSqliteDatabase], other: sqlite3.Connection, sleeper: Sleeper
) -> None:
    database = connect()
    for wake_at in (3, 6):
        other.execute("BEGIN IMMEDIATE")
        sleeper.wake_at, sleeper.on_wake = wake_at, other.rollback
        database.execute_sql("UPDATE totals SET pending = 7")
    assert sleeper.slept[:3] == sleeper.slept[3:]


def test_a_later_lock_has_its_own_deadline(
    connect: Callable[..., RetryingSqliteDatabase], other: sqlite3.Connection, sleeper: Sleeper
) -> None:
    database = connect()
    other.execute("BEGIN IMMEDIATE")
    for _ in range(2):
        sleeper.slept.clear()
        with pytest.raises(peewee.OperationalError, match="database is locked"):
            database.begin()
        assert sum(sleeper.slept) == pytest.approx(DEADLINE_S)
        sleeper.now_s += 2.0
    other.rollback()


@pytest.mark.parametrize("way", ["begin", "statement", "run"])
def test_after_the_deadline_the_error_of_sqlite_is_raised(
    connect: Callable[..., RetryingSqliteDatabase], other: sqlite3.Connection, sleeper: Sleeper, way: str
) -> None:
    database = connect()
    other.execute("BEGIN IMMEDIATE")
    attempts: dict[str, Callable[[], object]] = {
        "begin": database.begin,
        "statement": lambda: database.execute_sql("UPDATE totals SET pending = 7"),
        "run": lambda: database.run(lambda: database.execute_sql("UPDATE totals SET pending = 7")),
    }
    for waited_s in (DEADLINE_S, 0):
        sleeper.slept.clear()
        with pytest.raises(peewee.OperationalError, match="database is locked") as raised:
            attempts[way]()
        assert is_busy(raised.value)
        assert sum(sleeper.slept) == pytest.approx(waited_s)
    other.rollback()
    database.run(lambda: database.execute_sql("UPDATE totals SET pending = 8"))
    assert other.execute("SELECT pending FROM totals").fetchone() == (8,)


def test_the_deadline_applies_to_the_whole_transaction(
    connect: Callable[..., RetryingSqliteDatabase], other_without_wal: sqlite3.Connection, sleeper: Sleeper
) -> None:
    database = connect(deadline_s=1.0)
    other_without_wal.execute("BEGIN IMMEDIATE")

    def allow_begin_but_not_commit() -> None:
        other_without_wal.rollback()
        other_without_wal.execute("BEGIN")
        other_without_wal.execute("SELECT * FROM totals").fetchall()

    sleeper.wake_at, sleeper.on_wake = 6, allow_begin_but_not_commit
    with pytest.raises(peewee.OperationalError, match="locked"):
        database.run(lambda: database.execute_sql("UPDATE totals SET pending = 7"))
    assert sum(sleeper.slept) == pytest.approx(1.0)
    assert not database.in_transaction()
    other_without_wal.rollback()
    assert other_without_wal.execute("SELECT pending FROM totals").fetchone() == (0,)


def test_the_deadline_includes_waiting_for_begin_after_a_failed_commit(
    connect: Callable[..., RetryingSqliteDatabase], other_without_wal: sqlite3.Connection, sleeper: Sleeper
) -> None:
    database = connect(deadline_s=1.0)
    other_without_wal.execute("BEGIN")
    other_without_wal.execute("SELECT * FROM totals").fetchall()

    def forbid_begin() -> None:
        other_without_wal.rollback()
        other_without_wal.execute("BEGIN IMMEDIATE")

    sleeper.wake_at, sleeper.on_wake = 6, forbid_begin
    with pytest.raises(peewee.OperationalError, match="locked"):
        database.run(lambda: database.execute_sql("UPDATE totals SET pending = 7"))
    assert sum(sleeper.slept) == pytest.approx(1.0)


def test_a_deadline_of_zero_means_one_attempt(
    connect: Callable[..., RetryingSqliteDatabase], other: sqlite3.Connection, sleeper: Sleeper
) -> None:
    database = connect(deadline_s=0)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(peewee.OperationalError):
        database.begin()
    assert sleeper.slept == []


def test_other_errors_are_not_retried(
    connect: Callable[..., RetryingSqliteDatabase], other: sqlite3.Connection, sleeper: Sleeper
) -> None:
    database = connect()
    runs: list[int] = []

    def work() -> None:
        runs.append(1)
        database.execute_sql("UPDATE totals SET pending = 7")
        database.execute_sql("SELECT * FROM no_such_table")

    with pytest.raises(peewee.OperationalError, match="no such table"):
        database.run(work)
    with pytest.raises(peewee.OperationalError, match="syntax error"):
        database.execute_sql("no SQL")
    with pytest.raises(peewee.IntegrityError):
        database.execute_sql("INSERT INTO totals SELECT * FROM totals")
    assert (runs, sleeper.slept) == ([1], [])
    assert other.execute("SELECT pending FROM totals").fetchone() == (0,)


def test_run_rolls_back_and_does_not_retry_if_the_work_raises(
    connect: Callable[..., RetryingSqliteDatabase], other: sqlite3.Connection
) -> None:
    database = connect()
    runs: list[int] = []

    def work() -> None:
        runs.append(database.execute_sql("UPDATE totals SET pending = 7").rowcount)
        raise KeyError("not an error of SQLite")

    with pytest.raises(KeyError):
        database.run(work)
    assert runs == [1]
    assert other.execute("SELECT pending FROM totals").fetchone() == (0,)
    other.execute("UPDATE totals SET pending = 8")


def test_a_rollback_by_sqlite_itself_raises_the_original_error(
    connect: Callable[..., RetryingSqliteDatabase], other: sqlite3.Connection
) -> None:
    database = connect()
    other.execute("CREATE TRIGGER broken BEFORE UPDATE ON totals BEGIN SELECT RAISE(ROLLBACK, 'broken'); END")
    with pytest.raises(peewee.IntegrityError, match="broken"):
        database.run(lambda: database.execute_sql("UPDATE totals SET pending = 7"))
    other.execute("DROP TRIGGER broken")
    database.run(lambda: database.execute_sql("UPDATE totals SET pending = 8"))
    assert other.execute("SELECT pending FROM totals").fetchone() == (8,)


@cases("name", ["BUSY", "BUSY_RECOVERY", "BUSY_SNAPSHOT", "BUSY_TIMEOUT", "LOCKED", "LOCKED_VTAB"])
def test_is_busy_accepts_every_extended_result_code(name: str) -> None:
    error = sqlite3.OperationalError("any text")
    error.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{name}")
    assert is_busy(error)
    assert is_busy(peewee.OperationalError(error))


@cases("name", ["FULL", "IOERR", "IOERR_LOCK", "READONLY", "CANTOPEN", "ERROR", "PROTOCOL"])
def test_is_busy_ignores_the_text_of_the_error(name: str) -> None:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{name}")
    assert not is_busy(error)
    assert not is_busy(peewee.OperationalError("database is locked"))


def test_after_the_deadline_the_store_raises_storage_busy_and_is_unchanged(
    connect: Callable[..., RetryingSqliteDatabase], other: sqlite3.Connection, sleeper: Sleeper, clock: Clock
) -> None:
    store = ShorthandStore(SqliteStore(connect(), clock=clock))
    store.insert(new_order(1), new_order(2))
    [order] = store.claim(1)
    before, totals = store.find([1, 2]), store.totals()
    other.execute("BEGIN IMMEDIATE")
    done = Outcome(order.sequence, order.claims, Status.COMPLETED)
    writes: list[Callable[[], object]] = [
        lambda: store.insert(new_order(3)),
        lambda: store.finish_and_claim([done], 1),
        store.recover,
        lambda: store.probe(Work.WRITES),
    ]
    for write in writes:
        with pytest.raises(StorageBusyError):
            write()
    assert sum(sleeper.slept) == pytest.approx(DEADLINE_S), "calls in quick succession share the deadline"
    assert (store.find([1, 2]), store.totals()) == (before, totals)
    assert store.find([3]) == [None]
    other.rollback()
    assert store.insert(new_order(3)) == [Insertion.ACCEPTED]
    assert [each.order_id for each in store.finish_and_claim([done], 1).orders] == [2]


def test_a_thread_that_did_not_connect_gets_an_error(tmp_path: Path) -> None:
    database = open_database(tmp_path / "orders.db")
    database.connect()
    with ThreadPoolExecutor(1) as thread:
        for call in (lambda: database.execute_sql("SELECT 1"), lambda: database.run(lambda: None), database.begin):
            with pytest.raises(peewee.InterfaceError, match="not opened"):
                thread.submit(call).result()
        assert thread.submit(database.is_closed).result()
        thread.submit(database.connect).result()
        assert thread.submit(lambda: database.execute_sql("SELECT 1").fetchone()).result() == (1,)
        thread.submit(database.close).result()
    database.close()


def test_each_connection_syncs_the_wal_at_every_commit(tmp_path: Path) -> None:
    database = open_database(tmp_path / "orders.db")

    def modes() -> tuple[Any, ...]:
        with database.connection_context():
            return database.journal_mode, database.synchronous, database.pragma("fullfsync")

    assert modes() == ("wal", 2, 1)
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(modes).result() == ("wal", 2, 1)


def test_only_threads_that_look_up_orders_use_a_large_page_cache(tmp_path: Path) -> None:
    database = open_database(tmp_path / "orders.db")
    store = SqliteStore(database, clock=Clock())

    def cache_sizes() -> list[Any]:
        with database.connection_context():
            before = database.pragma("cache_size")
            store.find([1])
            return [before, database.pragma("cache_size")]

    with database.connection_context(), ThreadPoolExecutor(1) as thread:
        store.write([new_order(1)])
        for _ in range(2):
            assert thread.submit(cache_sizes).result() == [-2_000, -8_192]
        assert database.pragma("cache_size") == -2_000


def test_checkpoints_that_copy_nothing_wait_until_the_wal_has_grown(
    connect: Callable[..., RetryingSqliteDatabase], other: sqlite3.Connection, tmp_path: Path
) -> None:
    # If SQLite ran a checkpoint in each commit, each of them would sort all pages of the WAL.
    pages, commits = 20, 100
    database = connect(checkpoint_pages=pages)

    def commit() -> int:
        """Returns the number of pages at which SQLite will run the next checkpoint."""
        database.run(lambda: database.execute_sql("UPDATE totals SET pending = pending + 1"))
        return int(database.execute_sql("PRAGMA wal_autocheckpoint").fetchone()[0])

    def read() -> None:
        other.execute("BEGIN")
        other.execute("SELECT * FROM totals").fetchone()

    def pages_of_wal() -> int:
        return (tmp_path / "orders.db-wal").stat().st_size // PAGE_BYTES

    read()
    left = [(pages_of_wal(), threshold - pages_of_wal()) for threshold in (commit() for _ in range(commits))]
    longest = pages_of_wal()
    assert longest >= commits
    assert all(0 < pages_left <= length / 8 for length, pages_left in left if length > pages + 1)
    # A reader that begins anew lets the next checkpoint copy pages. Then each commit tries a checkpoint again.
    other.rollback()
    read()
    assert pages in [commit() for _ in range(longest // 8 + 2)]
    # Without a reader, the WAL begins anew, and does not become longer.
    other.rollback()
    length = pages_of_wal()
    assert [commit() for _ in range(length // 8 + 2 * pages)][-1] == pages
    assert pages_of_wal() <= length + length // 8 + 1


def test_no_commit_shortens_a_long_wal_by_much(
    connect: Callable[..., RetryingSqliteDatabase], other: sqlite3.Connection, tmp_path: Path
) -> None:
    # Truncating hundreds of megabytes takes hundreds of milliseconds, and the orders of the commit would wait for it.
    kept_bytes, commits = 1_000_000, 80
    database = connect(checkpoint_pages=20, kept_wal_bytes=kept_bytes)
    database.run(lambda: database.execute_sql("CREATE TABLE large (content)"))

    def size_after_commit(content_bytes: int) -> int:
        database.run(lambda: database.execute_sql("INSERT INTO large VALUES (zeroblob(?))", (content_bytes,)))
        return (tmp_path / "orders.db-wal").stat().st_size

    other.execute("BEGIN")
    other.execute("SELECT * FROM totals").fetchone()
    while (longest := size_after_commit(500_000)) < 3 * TRUNCATION_BYTES:
        pass
    other.rollback()
    sizes = [longest, *(size_after_commit(100_000) for _ in range(commits))]
    assert sizes[-1] <= kept_bytes
    assert max(before - after for before, after in pairwise(sizes)) <= TRUNCATION_BYTES
