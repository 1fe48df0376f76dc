"""A database file with orders, which tests damage."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from models.errors import StorageDamagedError
from models.order import Order
from models.sqlite.store import SqliteStore
from models.writes.insertion import NewOrder
from tests.models.damage import change_row, damage_rows
from tests.models.new_database import open_new_database
from tests.models.samples import Clock, new_order
from tests.models.shorthand_store import ShorthandStore

FIRST = 0x7A7B7C7D7E00
"""The lowest id of the stored orders."""
BAD = FIRST + 10
"""The order that most tests damage."""


def marker(order_id: int) -> str:
    return f"MARKER-{order_id}-"


def padded(order_id: int) -> NewOrder:
    """An order that needs about a page of its own."""
    return new_order(order_id, metadata=f'{{"a": "{marker(order_id)}{"x" * 2_500}"}}')


class Shop:
    """A database file that is opened, closed and damaged in turn."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock

    @contextmanager
    def opened(self) -> Iterator[ShorthandStore]:
        database = open_new_database(self.path)
        with closing(database), database.connection_context():
            yield ShorthandStore(SqliteStore(database, clock=self._clock))


def is_damage(result: object) -> bool:
    return isinstance(result, StorageDamagedError)


def ids(orders: Sequence[Order]) -> list[int]:
    return [order.order_id for order in orders]


def damage_row(path: Path) -> None:
    damage_rows(path, marker(BAD))


def set_column(column: str, value: str) -> Callable[[Path], None]:
    return lambda path: change_row(path, BAD, column, value)


DAMAGE = pytest.mark.parametrize(
    "damage",
    [
        pytest.param(damage_row, id="page"),
        pytest.param(set_column("item_ids", "'[1,'"), id="not JSON"),
        pytest.param(set_column("item_ids", "'{}'"), id="no list"),
        pytest.param(set_column("metadata", "'{\"a\":'"), id="metadata not JSON"),
        pytest.param(set_column("metadata", "CAST(x'7bff7d' AS TEXT)"), id="not UTF-8"),
        pytest.param(set_column("error", "CAST(x'ff' AS TEXT)"), id="error not UTF-8"),
        pytest.param(set_column("user_id", "'x'"), id="no number"),
    ],
)
