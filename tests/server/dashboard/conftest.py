"""Fixtures for tests of the dashboard: a browser for all tests of this folder, and servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import chromium
from tests.process import DEADLINE_S, ServerProcess
from tests.server.dashboard.pages import SHOP
from tests.user_module import UserModule


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=DEADLINE_S * 1_000)
    with chromium() as browser:
        yield browser


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "orders.db") as server:
        yield server


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[ServerProcess]:
    """`wish` in the metadata of an order makes the order fail or wait. No order fails once the file `mended` exists."""
    with UserModule(tmp_path, SHOP) as module, module.server() as server:
        yield server


@pytest.fixture(scope="package")
def shared_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A shop like `shop`, for tests that do not mind the orders of other tests. Each test has its own users and ids."""
    with UserModule(tmp_path_factory.mktemp("shared_shop"), SHOP) as module, module.server() as server:
        yield server
