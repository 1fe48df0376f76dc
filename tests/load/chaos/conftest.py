"""A shop as chaos knows it, whose server is the fake one."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from load.chaos.shop import Shop as ChaosShop
from load.http.address import Address, ServerUrl
from tests.load.shop import Shop


@pytest.fixture
def harmed(shop: Shop, tmp_path: Path) -> Iterator[ChaosShop]:
    harmed = ChaosShop(name="record", command=["no-server"], folder=tmp_path / "record", seed=1, clock_s=time.monotonic)
    harmed.address = Address(ServerUrl.parse(shop.url), socket.AF_INET, ("127.0.0.1", shop.port))
    yield harmed
    harmed.close()
