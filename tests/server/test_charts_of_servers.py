"""The charts of several servers on one PostgreSQL database: all servers show the orders of all."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.live_orders import post_all, wait_until_processed
from tests.postgresql.databases import temporary_database
from tests.process import ServerProcess
from tests.server.servers import StartServer, servers_on
from tests.server.test_metrics_stream import PATH, read_metrics

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

RATES = ("accepted_per_second", "completed_per_second")
ORDERS = 300


@pytest.fixture
def start() -> Iterator[StartServer]:
    with temporary_database() as url, servers_on(url) as start:
        yield start


def send_orders(to: ServerProcess, *, seen_by: ServerProcess) -> None:
    """Returns when the points of the server `seen_by` include all orders."""
    with read_metrics(seen_by) as page:
        page.next("point")
        post_all(to, range(1, ORDERS + 1))
        wait_until_processed(to)
        while page.next("metrics")["completed_orders"] < ORDERS:
            pass
        page.next("point")


def history_of(server: ServerProcess) -> dict[str, Any]:
    with read_metrics(server, path=f"{PATH}?range=1d") as page:
        history: dict[str, Any] = page.next("history")
        return history


def test_a_new_server_shows_what_a_stopped_server_has_measured(start: StartServer) -> None:
    first, second = start(), start()
    send_orders(first, seen_by=first)
    assert first.stop() == 0
    history = history_of(start())
    assert all(max(history[rate]) > 0 for rate in RATES)
    # Only the first server has accepted and processed orders.
    assert any(history["ack_p99_seconds"])
    assert any(history["processing_p99_seconds"])
    assert history_of(second)["ack_p99_seconds"].count(None) == len(history_of(second)["time"])


def test_the_orders_of_a_killed_server_stay_in_the_charts_of_all_others(start: StartServer) -> None:
    killed, other = start(), start()
    send_orders(killed, seen_by=other)
    killed.kill()
    before = history_of(other)
    assert all(max(before[rate]) > 0 for rate in RATES)
    assert other.stop() == 0
    after = history_of(start())
    assert all(max(after[rate]) > 0 for rate in RATES)
    assert after["time"][0] <= before["time"][0]
