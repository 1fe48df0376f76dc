"""Moves that are refused or that fail, and why. No server starts on a database with a part of the orders."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from models.clock import Clock as RealClock
from models.database.address import PostgresqlUrl
from models.errors import DatabaseRefusedError, MoveError, StartRefusedError
from models.moving.move import move
from models.store import open_store
from tests.models.damage import change_row
from tests.models.moving.shops import (
    Lines,
    all_kinds,
    answers_of_database,
    answers_of_file,
    emptied_target,
    make_file,
    move_file,
    options,
    starts,
)
from tests.models.old_schemas import SCHEMA_1, SCHEMA_2, SCHEMA_3, SCHEMA_4, SCHEMA_5
from tests.models.other_programs import create
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.shop import BAD, DAMAGE, FIRST, Shop, padded
from tests.models.shorthand_store import ShorthandStore
from tests.postgresql.databases import connect, execute, temporary_database

pytestmark = pytest.mark.postgresql

ORDERS = all_kinds()
NOW_US = Clock().now_us + 7_200 * SECOND_US


@pytest.fixture
def url() -> Iterator[str]:
    with emptied_target() as url:
        yield url


@pytest.fixture
def path(tmp_path: Path) -> Path:
    make_file(tmp_path / "orders.db", ORDERS, Clock())
    return tmp_path / "orders.db"


def refusal(path: Path, url: str) -> str:
    """Why the move is refused. Fails if the move changes the file."""
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(StartRefusedError) as refused:
        move_file(path, url, NOW_US)
    assert (path.read_bytes() if path.exists() else None) == before
    return str(refused.value)


def interrupt(path: Path, url: str, lines: int) -> None:
    with suppress(KeyboardInterrupt):
        move_file(path, url, NOW_US, lines=Lines(lines))


def change(url: str, statement: str) -> None:
    with connect(url) as connection:
        execute(connection, statement)


def add_order(store: ShorthandStore, order_id: int) -> None:
    store.connect()
    store.recover()
    store.insert(new_order(order_id))
    store.disconnect()
    store.close()


def test_a_database_of_another_program_is_refused(path: Path) -> None:
    with temporary_database() as url:
        change(url, "CREATE TABLE move (id integer)")
        assert "another program's database" in refusal(path, url)
        change(url, "SELECT id FROM move")


def test_a_database_with_orders_is_refused(path: Path, url: str) -> None:
    add_order(ShorthandStore(open_store(PostgresqlUrl(url), clock=RealClock())), 7)
    assert "contains the orders of a shop" in refusal(path, url)
    assert starts(url)


def test_a_database_that_a_server_uses_is_refused(path: Path, url: str) -> None:
    store = open_store(PostgresqlUrl(url), clock=RealClock())
    store.connect()
    store.recover(lambda attempt: pytest.fail(f"{attempt}"))
    assert "a server uses it" in refusal(path, url)
    store.disconnect()
    move_file(path, url, NOW_US)


def test_a_database_with_a_part_of_another_file_is_refused(path: Path, url: str, tmp_path: Path) -> None:
    make_file(tmp_path / "other.db", ORDERS[:5], Clock())
    interrupt(tmp_path / "other.db", url, 3)
    assert "a part of the orders of" in refusal(path, url)
    move_file(tmp_path / "other.db", url, NOW_US)
    assert "contains the orders that were moved from" in refusal(path, url)


@pytest.mark.parametrize("content", [None, b"", b"not a database"])
def test_a_file_without_orders_is_refused(tmp_path: Path, url: str, content: bytes | None) -> None:
    path = tmp_path / "orders.db"
    if content is not None:
        path.write_bytes(content)
    refusal(path, url)
    assert list(tmp_path.iterdir()) == ([] if content is None else [path])
    assert starts(url)


def test_the_file_of_another_program_is_refused(tmp_path: Path, url: str) -> None:
    create(tmp_path / "orders.db", "CREATE TABLE orders (a)")
    assert "another program" in refusal(tmp_path / "orders.db", url)


def test_a_file_that_a_server_uses_is_refused(path: Path, url: str) -> None:
    with (
        closing(open_store(path, clock=RealClock())),
        pytest.raises(DatabaseRefusedError, match="in use by another server"),
    ):
        move_file(path, url, NOW_US)
    move_file(path, url, NOW_US)


def test_a_database_that_can_not_be_reached_is_named(path: Path) -> None:
    text = refusal(path, "postgresql://shop:secret@127.0.0.1:1/orders")
    assert re.fullmatch(r"postgresql://shop@127\.0\.0\.1:1/orders: .*: run the same command again to go on", text)


def test_no_server_starts_on_a_part_of_the_orders(path: Path, url: str) -> None:
    interrupt(path, url, 3)
    with pytest.raises(DatabaseRefusedError, match="only a part of the orders that --move-to moves to it") as refused:
        open_store(PostgresqlUrl(url), clock=RealClock())
    assert "\n" not in str(refused.value)


def test_a_file_that_was_moved_is_refused_and_names_the_database(path: Path, url: str) -> None:
    move_file(path, url.replace("orders@", "orders:secret@"), NOW_US)
    shown = str(PostgresqlUrl(url))
    with pytest.raises(DatabaseRefusedError, match=f"were moved: start the server with --database {shown} ") as refused:
        open_store(path, clock=RealClock())
    assert "secret" not in str(refused.value)
    with temporary_database() as other:
        assert f"were moved already, to {shown}" in refusal(path, other)
        assert starts(other)


def test_a_finished_move_says_so(path: Path, url: str) -> None:
    move_file(path, url, NOW_US)
    add_order(ShorthandStore(open_store(PostgresqlUrl(url), clock=RealClock())), 10**15)
    assert "have been moved already" in move_file(path, url, NOW_US)[0]


def test_a_file_that_was_taken_back_is_not_moved_to_the_same_database(path: Path, url: str) -> None:
    move_file(path, url, NOW_US)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("DROP TABLE moved; PRAGMA application_id = 1330791506")
    add_order(ShorthandStore(open_store(path, clock=RealClock())), 10**15)
    assert "it must be empty" in refusal(path, url)
    with temporary_database() as other:
        move_file(path, other, NOW_US)


@pytest.mark.parametrize("lines", [3, 12, 19])
def test_a_move_begins_again_if_the_file_has_changed(path: Path, url: str, lines: int) -> None:
    interrupt(path, url, lines)
    change_row(path, ORDERS[0].order.order_id, "user_id", "77")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE totals SET state = 65521")
    expected = answers_of_file(path, ORDERS, NOW_US)
    assert any("the move begins again" in line for line in move_file(path, url, NOW_US))
    assert answers_of_database(url, ORDERS, NOW_US) == expected


def test_a_file_that_changes_during_the_move_is_not_marked(path: Path, url: str) -> None:
    class ChangingLines(Lines):
        def __call__(self, line: str) -> None:
            if line.startswith("counted"):
                with closing(sqlite3.connect(path)) as connection, connection:
                    connection.execute("UPDATE totals SET state = 65521")

    with pytest.raises(MoveError, match="has changed during the move"):
        move_file(path, url, NOW_US, lines=ChangingLines())
    assert (starts(path), starts(url)) == (True, False)
    move_file(path, url, NOW_US)
    assert (starts(path), starts(url)) == (False, True)


def test_another_command_that_fills_the_database_at_the_same_time_is_noticed(
    path: Path, url: str, tmp_path: Path
) -> None:
    make_file(tmp_path / "other.db", ORDERS[:5], Clock())

    def take_over() -> int:
        move_file(tmp_path / "other.db", url, NOW_US)
        return NOW_US

    with pytest.raises(MoveError, match="another command has begun to fill the database"):
        move(path, PostgresqlUrl(url), report=Lines(), options=options(NOW_US)._replace(database_us=take_over))
    assert (starts(path), starts(tmp_path / "other.db"), starts(url)) == (True, False, True)


def change_and_go_on(path: Path, url: str, statement: str) -> str:
    """Changes the database when all orders are copied. Returns why the move then fails."""
    with connect(url) as connection:
        for lines in range(2, 100):
            interrupt(path, url, lines)
            if execute(connection, "SELECT copied FROM move") == [(len(ORDERS),)]:
                break
    change(url, statement)
    return refusal(path, url)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE orders SET user_id = 77 WHERE sequence = 5", "in the table orders, user_id of the order with the seq"),
        ("UPDATE attempts SET error = 'x' WHERE sequence = 1", "in the table attempts, error of the order with the se"),
        ("UPDATE orders SET total_amount = 7 WHERE sequence = 5", "the file has "),
        ("DELETE FROM orders WHERE sequence = 5", "35 orders, but 36 of them have a status"),
        ("UPDATE attempts SET claim = 40 WHERE sequence = 1 AND claim = 1", "only on one side"),
        ("UPDATE ends SET sequence = 999 WHERE sequence = (SELECT max(sequence) FROM ends)", "rows in a part"),
        ("UPDATE blocks SET last_us = 7", "rows of the table blocks are wrong"),
        (
            "INSERT INTO nodes (node, beat, started, name, schema) VALUES (9, now(), now(), '', 1000)",
            "a server was started",
        ),
    ],
)
def test_a_difference_is_found(path: Path, url: str, statement: str, reason: str) -> None:
    assert reason in change_and_go_on(path, url, statement)
    assert (starts(path), starts(url)) == (True, False)


def test_wrong_totals_of_the_file_are_found(path: Path, url: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE totals SET completed = completed + 1")
    with pytest.raises(MoveError, match="but its totals are"):
        move_file(path, url, NOW_US)


@DAMAGE
def test_a_damaged_order_is_named(tmp_path: Path, url: str, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "orders.db"
    with Shop(path, Clock()).opened() as store:
        store.insert(*(padded(FIRST + number) for number in range(20)))
    damage(path)
    with pytest.raises(
        MoveError, match=r": (the order with the|an order with a) sequence (11|above 10) can't be read: "
    ) as refused:
        move_file(path, url, NOW_US)
    assert BAD == FIRST + 10
    assert "\n" not in str(refused.value)
    assert not starts(url)


def test_a_damaged_attempt_is_reported(path: Path, url: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE attempts SET ending = 'x'")
    with pytest.raises(MoveError, match="an attempt can't be read or written"):
        move_file(path, url, NOW_US)


def test_an_error_that_postgresql_can_not_store_is_converted(path: Path, url: str) -> None:
    change_row(path, ORDERS[0].order.order_id, "error", "'a' || char(0) || 'b'")
    move_file(path, url, NOW_US)
    with connect(url) as connection:
        assert execute(
            connection, "SELECT error FROM work WHERE sequence = 1 UNION SELECT error FROM ends WHERE sequence = 1"
        ) == [("a\ufffdb",)]


@pytest.mark.parametrize("schema", [SCHEMA_1, SCHEMA_2, SCHEMA_3, SCHEMA_4, SCHEMA_5])
def test_a_file_of_an_older_version_is_moved(tmp_path: Path, url: str, schema: list[str]) -> None:
    path = tmp_path / "orders.db"
    create(path, *schema)
    move_file(path, url, NOW_US)
    assert (starts(path), starts(url)) == (False, True)
