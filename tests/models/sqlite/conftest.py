"""Fixtures for tests of file permissions and of damaged files."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.samples import Clock
from tests.models.shop import FIRST, Shop, padded


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that all users can read, and only the owner can write. No folder above it is private."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@pytest.fixture
def shop(tmp_path: Path, clock: Clock) -> Shop:
    """Contains 20 padded orders."""
    shop = Shop(tmp_path / "orders.db", clock)
    with shop.opened() as store:
        store.insert(*map(padded, range(FIRST, FIRST + 20)))
    return shop
