"""Fixtures for tests of backups and restores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from models.sqlite.files.lock import DatabaseLock
from tests.models.sqlite.backup.killed import Killed
from tests.models.sqlite.stored_shop import StoredShop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[StoredShop]:
    (tmp_path / "shop").mkdir()
    shop = StoredShop(tmp_path / "shop" / "orders.db")
    yield shop
    shop.close()


@pytest.fixture
def served(shop: StoredShop) -> Iterator[StoredShop]:
    """The shop, locked as by a server."""
    lock = DatabaseLock(shop.path)
    lock.acquire()
    yield shop
    lock.release()


@pytest.fixture
def killed(tmp_path: Path) -> Killed:
    return Killed(tmp_path)
