"""When the metrics say that all orders are processed, and whether the time of that is exact."""

from contextlib import closing
from itertools import count

import pytest

from load.backlog import Backlog, BacklogState
from load.http.address import ServerUrl, reach
from load.http.connections import Timeouts
from tests.load.shop import Shop

S = 1_000_000_000


async def _wait(shop: Shop, *, tick_ns: int, timeouts: Timeouts) -> tuple[BacklogState, int | None]:
    """Wait with a clock that goes on by a tick whenever it is asked."""
    address = await reach(ServerUrl.parse(shop.url), timeout_s=5)
    clock_ns = count(S, tick_ns).__next__
    with closing(Backlog(address, timeouts=timeouts, clock_ns=clock_ns)) as backlog:
        return await backlog.wait(before=0, limit_s=timeouts.connection_s), backlog.processed_ns


@pytest.mark.gen_test
async def test_the_time_is_that_of_the_poll_that_found_all_processed(shop: Shop) -> None:
    state, processed_ns = await _wait(shop, tick_ns=1, timeouts=Timeouts())
    assert state is BacklogState.PROCESSED
    assert processed_ns is not None
    assert S < processed_ns < S + 10


@pytest.mark.gen_test
async def test_a_poll_that_took_longer_than_a_second_gives_no_time(shop: Shop) -> None:
    assert await _wait(shop, tick_ns=2 * S, timeouts=Timeouts()) == (BacklogState.PROCESSED, None)


@pytest.mark.gen_test
async def test_metrics_that_stop_answering_end_the_waiting(shop: Shop) -> None:
    shop.holds_metrics = True
    timeouts = Timeouts(connection_s=0.05)
    assert await _wait(shop, tick_ns=S // 20, timeouts=timeouts) == (BacklogState.UNKNOWN, None)
