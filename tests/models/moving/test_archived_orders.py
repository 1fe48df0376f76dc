"""The fingerprints of archived and erased orders are moved to PostgreSQL, too."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.database.address import PostgresqlUrl
from models.errors import MoveError
from models.order import Status
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.store import PostgresqlStore
from models.sqlite.store import SqliteStore
from models.transactions.archiving import archive_orders
from models.writes.archiving import ArchiveMember
from models.writes.attempts import Outcome
from models.writes.insertion import Insertion
from tests.models.moving.shops import Lines, emptied_target, move_file
from tests.models.new_database import open_new_database
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.shorthand_store import ShorthandStore
from tests.postgresql.databases import connect, execute

pytestmark = pytest.mark.postgresql


def make_file(path: Path, clock: Clock) -> None:
    """Stores 4 orders, of which 1 and 2 are archived, and 3 is erased."""
    database = open_new_database(path)
    with database.connection_context():
        store = ShorthandStore(SqliteStore(database, clock=clock))
        store.insert(*(new_order(order_id, metadata='{"a": 1}') for order_id in range(1, 5)))
        store.cancel(2)
        claimed = store.claim()
        clock.now_us += SECOND_US
        store.finish(*(Outcome(order.sequence, 1, Status.COMPLETED) for order in claimed))
        store.erase(3)
        orders = [store.find_one(1), store.find_one(2)]
        assert store.write([archive_orders(orders, ArchiveMember(7, 70))]) == [True]
    database.close()


@contextmanager
def opened(url: str, clock: Clock) -> Iterator[ShorthandStore]:
    database = RetryingPostgresqlDatabase(PostgresqlUrl(url), deadline_s=0)
    store = ShorthandStore(PostgresqlStore(database, clock=clock))
    store.connect()
    try:
        store.recover()
        yield store
    finally:
        store.disconnect()


def test_archived_and_erased_orders_are_moved(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "orders.db"
    make_file(path, clock)
    with emptied_target() as url:
        move_file(path, url, clock.now_us)
        with opened(url, clock) as store:
            totals = store.totals()
            assert (totals.orders, totals.completed, totals.cancelled, totals.archived) == (4, 3, 1, 2)
            assert totals.processing_us == 3 * SECOND_US
            assert store.last_member(7) == 70
            same = [new_order(order_id, metadata='{"a": 1}') for order_id in (1, 2, 3)]
            assert store.insert(*same, *map(new_order, (1, 2, 3))) == [Insertion.REPLAYED] * 3 + [1, 2, 3]


def test_fingerprints_that_are_missing_after_the_move_are_found(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "orders.db"
    make_file(path, clock)
    with emptied_target() as url, connect(url) as connection:
        execute(
            connection,
            "CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.fingerprint := NEW.fingerprint + 1; RETURN NEW; END $$",
        )
        execute(
            connection,
            "CREATE TRIGGER change BEFORE INSERT ON fingerprints FOR EACH ROW EXECUTE FUNCTION change()",
        )
        try:
            with pytest.raises(MoveError, match="lacks archived orders, or has wrong ones"):
                move_file(path, url, clock.now_us, lines=Lines())
        finally:
            execute(connection, "DROP FUNCTION change CASCADE")
