"""Tests reading the counts of orders from GET /metrics, and waiting until all orders are processed."""

import json
from contextlib import closing
from itertools import count

import pytest

from load.http.address import ServerUrl, reach
from load.http.connection import Response
from load.http.connections import Timeouts
from load.readback.backlog import Backlog, BacklogState
from load.readback.metrics import Metrics, NoMetrics, read_metrics
from tests.cases import cases
from tests.load.shop import Shop

S = 1_000_000_000
COUNTS = {"pending_orders": 3, "processing_orders": 2, "completed_orders": 5}


def _answer(counts: object) -> Response:
    return Response(200, b"", json.dumps(counts).encode(), True)


def test_counts_of_failed_and_cancelled_orders_are_optional() -> None:
    assert Metrics.parse(_answer(COUNTS)) == Metrics(3, 2, 5)
    assert Metrics.parse(_answer({**COUNTS, "failed_orders": 1, "cancelled_orders": 2})).finished == 8


@cases("count", ["3", [3], -1, 1.5, True, None, {}, 2**63])
@cases("name", ["pending_orders", "processing_orders", "completed_orders", "failed_orders"])
def test_an_invalid_count_is_an_error(name: str, count: object) -> None:
    with pytest.raises(NoMetrics, match=rf"GET /metrics: Expected `int`.* - at `\$\.{name}`$"):
        Metrics.parse(_answer({**COUNTS, name: count}))


@cases("counts", [[], "x", 1, None])
def test_metrics_that_are_no_object_are_an_error(counts: object) -> None:
    with pytest.raises(NoMetrics, match=r"GET /metrics: Expected `object`, got `\w+`$"):
        Metrics.parse(_answer(counts))


@pytest.mark.gen_test
async def test_orders_in_any_status_are_counted(shop: Shop) -> None:
    shop.waiting = [7]
    assert (await read_metrics(await reach(ServerUrl.parse(shop.url), timeout_s=5))).orders == 7


async def _wait(shop: Shop, *, tick_ns: int, timeouts: Timeouts) -> tuple[BacklogState, int | None]:
    """Wait until the shop has processed all orders, with a clock that advances by `tick_ns` whenever it is read."""
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
