"""Starting with a database file and the WAL of a killed server, or with a WAL of another database."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from models.errors import DatabaseRefusedError
from models.order import Order
from models.sqlite.files.opening import open_database, open_sqlite_store
from models.sqlite.store import SqliteStore
from models.writes.insertion import Insertion
from tests.examples import examples
from tests.models.old_schemas import SCHEMA_1, SCHEMA_2, SCHEMA_3
from tests.models.other_programs import another_program, create
from tests.models.samples import Clock, new_order
from tests.models.shorthand_store import ShorthandStore

PAGE = 4_096
SEED = 20_250_301
LAST_ID = 1_000


class Files(NamedTuple):
    """What a killed server left, and the orders that it had acknowledged."""

    database: bytes
    wal: bytes
    orders: list[Order]


class Server:
    """A store in `folder`, and other programs that use the store's file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "orders.db"
        self.database = open_database(self.path)
        self.database.connect()
        self.store = ShorthandStore(SqliteStore(self.database, clock=Clock()))
        self.store.recover()
        self.last_id = 0

    def insert(self, count: int = 1) -> None:
        self.store.insert(*(new_order(self.last_id + number) for number in range(1, count + 1)))
        self.last_id += count

    def run_elsewhere(self, statement: str) -> None:
        """Runs the statement as another program."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute(statement).fetchall()

    def killed(self) -> Files:
        orders = [order for order in self.store.find(list(range(1, self.last_id + 1))) if order]
        return Files(self.path.read_bytes(), Path(f"{self.path}-wal").read_bytes(), orders)

    def copied_by(self, copy: Callable[[sqlite3.Connection, Path], object]) -> bytes:
        target = self.path.with_name("copy.db")
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            copy(other, target)
        content = target.read_bytes()
        target.unlink()
        return content


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "running").mkdir()
    server = Server(tmp_path / "running")
    yield server
    server.database.close()


@pytest.fixture
def start(tmp_path: Path) -> Callable[[bytes, bytes], list[Order]]:
    """Opens a database and a WAL with these contents, and returns the orders. Raises DatabaseRefusedError."""
    (tmp_path / "left").mkdir()
    path = tmp_path / "left" / "orders.db"

    def start(database: bytes, wal: bytes) -> list[Order]:
        for file in path.parent.iterdir():
            file.unlink()
        path.write_bytes(database)
        Path(f"{path}-wal").write_bytes(wal)
        try:
            opened = open_database(path)
        except DatabaseRefusedError:
            assert (path.read_bytes(), Path(f"{path}-wal").read_bytes()) == (database, wal), "a refusal changes nothing"
            raise
        with opened.connection_context():
            assert opened.execute_sql("PRAGMA integrity_check").fetchall() == [("ok",)]
            store = ShorthandStore(SqliteStore(opened, clock=Clock()))
            assert store.insert(new_order(LAST_ID)) == [Insertion.ACCEPTED]
            orders = store.find(list(range(1, LAST_ID)))
            assert store.totals().orders == 1 + len([order for order in orders if order])
            return [order for order in orders if order]

    return start


Start = Callable[[bytes, bytes], list[Order]]


def back_up(source: sqlite3.Connection, target: Path) -> None:
    with closing(sqlite3.connect(target)) as copy:
        source.backup(copy)


def vacuum(source: sqlite3.Connection, target: Path) -> None:
    source.execute("VACUUM INTO ?", (str(target),))


def assert_refused(start: Start, database: bytes, wal: bytes) -> None:
    text = r"orders\.db-wal does not belong to .*/orders\.db, which may be a restored backup: to start from .* move "
    with pytest.raises(DatabaseRefusedError, match=text):
        start(database, wal)


# What belongs together


def test_every_combination_of_files_starts_with_the_orders_of_the_wal_or_is_refused(
    server: Server, start: Start
) -> None:
    states: list[Files] = [server.killed()]
    steps: list[Callable[[], object]] = [
        lambda: server.insert(30),
        lambda: server.store.claim(5),
        lambda: server.run_elsewhere("PRAGMA wal_checkpoint(PASSIVE)"),
        lambda: server.insert(1),
        lambda: server.insert(40),
        lambda: server.run_elsewhere("PRAGMA wal_checkpoint(TRUNCATE)"),
        lambda: server.insert(1),
        lambda: server.run_elsewhere("CREATE INDEX another ON orders (created_us)"),
        lambda: server.run_elsewhere("PRAGMA wal_checkpoint(RESTART)"),
        lambda: server.insert(2),
        lambda: server.run_elsewhere("VACUUM"),
        lambda: server.insert(3),
    ]
    for step in steps:
        step()
        states.append(server.killed())
    refused = 0
    for number, (database, _, _) in enumerate(states):
        for other, (_, wal, orders) in enumerate(states):
            if not wal:  # without a WAL, the server starts from the file alone
                continue
            try:
                assert start(database, wal) == orders
            except DatabaseRefusedError:
                assert number != other
                refused += 1
    assert refused > len(states)


def interrupted_checkpoints(before: bytes, after: bytes) -> Iterator[bytes]:
    """What a kill or a loss of power during a checkpoint leaves of the database file: some pages, some of them torn."""
    chance = Random(SEED)
    places = [place for place in range(0, len(after), PAGE) if after[place:][:PAGE] != before[place:][:PAGE]]
    for number in range(examples(30)):
        kind = number % 3
        written = places[: chance.randrange(len(places))] if kind == 0 else chance.sample(places, len(places) // 2)
        left = bytearray(before)
        for begin in written:
            page = after[begin : begin + PAGE]
            if kind == 2:
                cut = chance.randrange(PAGE)
                page = (page[:cut] + chance.randbytes(chance.choice([0, 8, 512])))[:PAGE]
            left.extend(bytes(max(0, begin + len(page) - len(left))))
            left[begin : begin + len(page)] = page
        yield bytes(left) + bytes(-len(left) % PAGE)


def test_a_checkpoint_that_was_interrupted_is_repaired(server: Server, start: Start) -> None:
    for _ in range(3):
        server.insert(60)
        server.store.claim(10)
        before = server.killed()
        server.run_elsewhere("PRAGMA wal_checkpoint(PASSIVE)")
        after = server.killed()
        assert before.wal == after.wal
        for left in interrupted_checkpoints(before.database, after.database):
            assert start(left, after.wal) == after.orders
        server.run_elsewhere("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize("schema", [[], SCHEMA_1, SCHEMA_2, SCHEMA_3], ids=["new", "1", "2", "3"])
def test_a_creation_or_migration_that_was_not_checkpointed_is_completed(
    tmp_path: Path, start: Start, schema: list[str]
) -> None:
    path = tmp_path / "orders.db"
    create(path, "PRAGMA journal_mode = wal", *schema)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        # While this connection is open, SQLite makes no checkpoint when other connections are closed.
        orders = other.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        open_database(path)
        before, wal = path.read_bytes(), Path(f"{path}-wal").read_bytes()
        other.execute("PRAGMA wal_checkpoint(PASSIVE)")
        after = path.read_bytes()
    assert before != after
    for left in (before, after, *interrupted_checkpoints(before, after)):
        assert len(start(left, wal)) == (3 if orders[0] else 0)


def test_the_wal_of_an_older_version_is_replayed(tmp_path: Path, start: Start) -> None:
    create(tmp_path / "orders.db", *SCHEMA_3)
    with another_program(tmp_path / "orders.db", "UPDATE orders SET user_id = 9"):
        database, wal = (tmp_path / "orders.db").read_bytes(), (tmp_path / "orders.db-wal").read_bytes()
    assert {order.user_id for order in start(database, wal)} == {9}


def test_a_wal_without_a_whole_commit_is_ignored(server: Server, start: Start) -> None:
    server.insert(5)
    server.run_elsewhere("PRAGMA wal_checkpoint(TRUNCATE)")
    before = server.killed()
    server.insert(50)
    wal = server.killed().wal
    for length in (0, 1, 31, 32, 56, 4_000, 32 + 24 + PAGE, len(wal) - 1):
        assert start(before.database, wal[:length]) == before.orders
    other = b"\xff" * len(wal)
    assert start(before.database, other) == before.orders


# What does not belong together


@pytest.mark.parametrize("copy", [back_up, vacuum])
def test_a_backup_from_before_the_wal_is_refused(
    server: Server, start: Start, copy: Callable[[sqlite3.Connection, Path], None]
) -> None:
    server.insert(5)
    backup = server.copied_by(copy)
    server.insert(1)
    server.run_elsewhere("PRAGMA wal_checkpoint(TRUNCATE)")
    server.insert(1)
    assert_refused(start, backup, server.killed().wal)
    assert len(start(backup, b"")) == 5


def test_a_backup_since_the_wal_began_is_brought_up_to_date(server: Server, start: Start) -> None:
    server.insert(5)
    backup, vacuumed = server.copied_by(back_up), server.copied_by(vacuum)
    server.insert(50)
    killed = server.killed()
    assert start(backup, killed.wal) == killed.orders
    # VACUUM has arranged the pages in another way.
    assert_refused(start, vacuumed, killed.wal)


def test_another_database_is_refused(tmp_path: Path, server: Server, start: Start) -> None:
    server.insert(5)
    (tmp_path / "other").mkdir()
    other = Server(tmp_path / "other")
    other.insert(7)
    killed = other.killed()
    other.database.close()
    assert_refused(start, other.path.read_bytes(), server.killed().wal)
    assert_refused(start, killed.database, server.killed().wal)
    assert len(start(killed.database, killed.wal)) == 7


def test_the_database_of_a_server_that_continued_from_a_copy_is_refused(server: Server, start: Start) -> None:
    server.insert(5)
    server.run_elsewhere("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = server.copied_by(back_up)
    server.insert(1)
    continued = server.path.with_name("continued")
    continued.mkdir()
    (continued / "orders.db").write_bytes(copy)
    other = Server(continued)
    other.database.close()
    assert_refused(start, other.path.read_bytes(), server.killed().wal)


@pytest.mark.parametrize("schema", [SCHEMA_1, SCHEMA_2, SCHEMA_3], ids=["1", "2", "3"])
def test_a_file_of_an_older_version_is_refused_with_a_later_wal(
    tmp_path: Path, server: Server, start: Start, schema: list[str]
) -> None:
    create(tmp_path / "old.db", *schema)
    server.insert(5)
    assert_refused(start, (tmp_path / "old.db").read_bytes(), server.killed().wal)


def test_a_missing_or_empty_file_with_a_wal_is_refused(tmp_path: Path, server: Server, start: Start) -> None:
    server.insert(5)
    wal = server.killed().wal
    text = r"\.db is missing or empty, but .*-wal has commits of it: put .*\.db back, or move .*-wal to another folder"
    with pytest.raises(DatabaseRefusedError, match=text):
        start(b"", wal)
    (tmp_path / "missing.db-wal").write_bytes(wal)
    with pytest.raises(DatabaseRefusedError, match=text):
        open_sqlite_store(tmp_path / "missing.db", clock=Clock())
    assert not (tmp_path / "missing.db").exists()
    assert (tmp_path / "missing.db-wal").read_bytes() == wal
