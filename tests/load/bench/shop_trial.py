"""Creates trials that measure shops instead of real servers. A shop is a fake server (tests/load/shop.py)."""

import os
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import NoReturn

from load.bench.measurement import Meter
from load.bench.trial import Server, Trial
from load.http.address import ServerUrl, reach
from tests.load.shop import Shop


async def shop_trial(
    shops: dict[str, Shop],
    *,
    runs: int = 1,
    seconds: float = 0.1,
    print_line: Callable[[str], None] = lambda line: None,
    cpu_clock_ns: Callable[[], int] = time.process_time_ns,
) -> Trial:
    """Return a trial of short runs; `shops` maps the names of the servers to shops."""
    addresses = [await reach(ServerUrl.parse(shop.url), timeout_s=5) for shop in shops.values()]
    return Trial(
        runs=runs,
        seconds=seconds,
        servers=[
            Server(name, address, count(1), count(1), pid=os.getpid())
            for name, address in zip(shops, addresses, strict=True)
        ],
        start_server=_start_nothing,
        meter=Meter(cpu_clock_ns=cpu_clock_ns),
        print_line=print_line,
        folder=Path(),
        database="",
    )


def _start_nothing(*flags: str) -> NoReturn:
    raise AssertionError("a trial of shops starts no server")
