"""After an erasure, no byte of the personal data is left in the file or in its WAL.

There are exceptions: `tests/docs/test_readme_erasure.py` stores orders of which traces are left until a VACUUM.
"""

from pathlib import Path

import pytest
from msgspec import structs

from models.order import Ending, Status
from models.sqlite.files.opening import open_database
from models.sqlite.store import SqliteStore
from models.writes.attempts import Outcome
from models.writes.insertion import NewOrder
from tests.models.samples import Clock, new_order
from tests.models.shorthand_store import ShorthandStore

TEXT = "Zq7pepper"
USER = 0x7A7B_7C7D_7E7F_7172
"""A number whose bytes occur nowhere else in the file."""
COUNT = 400


def personal(order_id: int, length: int) -> NewOrder:
    order = new_order(order_id, user_id=USER, metadata=f'{{"name": "{TEXT * length}"}}')
    return structs.replace(order, trace_headers=f'{{"x-request-id": "{TEXT}"}}')


def occurrences(path: Path) -> int:
    content = b"".join(each.read_bytes() for each in (path, Path(f"{path}-wal")) if each.exists())
    return content.count(TEXT.encode()) + content.count(USER.to_bytes(8))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.db"


@pytest.fixture
def file_store(path: Path, clock: Clock) -> ShorthandStore:
    store = ShorthandStore(SqliteStore(open_database(path), clock=clock))
    store.connect()
    store.recover()
    return store


@pytest.mark.parametrize("length", [1, 40, 1_500])  # the longest metadata needs pages of its own
def test_nothing_is_left(path: Path, file_store: ShorthandStore, clock: Clock, length: int) -> None:
    store = file_store
    places = range(3, COUNT, 7)
    # Updates and splits of pages move rows, so pages could contain old copies of them.
    for order_id in range(1, COUNT):
        store.insert(personal(order_id, length) if order_id in places else new_order(order_id))
    for error in (f"first {TEXT}", f"second {TEXT * 3}"):
        claimed = store.claim()
        store.finish(
            *(
                Outcome(each.sequence, each.claims, Status.PENDING, error, 0, Ending.FAILED)
                for each in claimed
                if each.order_id in places
            )
        )
        store.finish(
            *(Outcome(each.sequence, each.claims, Status.COMPLETED) for each in claimed if each.order_id not in places)
        )
        assert store.scrub()
    store.finish(
        *(
            Outcome(each.sequence, each.claims, Status.FAILED, f"third {TEXT}", ending=Ending.FAILED)
            for each in store.claim()
        )
    )
    assert occurrences(path) > 5 * len(places)
    store.erase(*places)
    assert store.scrub()
    assert occurrences(path) == 0
    store.disconnect()
    assert occurrences(path) == 0


def test_a_reader_of_the_wal_prevents_the_removal(path: Path, file_store: ShorthandStore, clock: Clock) -> None:
    store = file_store
    store.insert(personal(1, 1), new_order(2))
    [claimed, _] = store.claim()
    store.finish_attempt(claimed, Status.COMPLETED)
    reader = open_database(path)
    reader.connect()
    with reader.atomic("DEFERRED"):
        reader.execute_sql("SELECT count(*) FROM orders").fetchone()
        store.erase(1)
        assert not store.scrub()
        assert occurrences(path) > 0
    reader.close()
    assert store.scrub()
    assert occurrences(path) == 0
    store.disconnect()
