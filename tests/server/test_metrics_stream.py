"""`GET /metrics/events` of a real server: the points, reconnecting, a stop, and clients that never read."""

import http.client
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.live_orders import post_all, wait_until_processed
from tests.process import DEADLINE_S, Client, ServerProcess
from tests.server.test_events import connect_silent_client
from tests.sse import EventParser, Message

SILENT_CLIENTS = 400
MAX_CLIENTS = 500
MAX_GROWTH_MIB = 4
PATH = "/metrics/events"
REQUEST = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


class MetricsReader:
    """Reads one response of `GET /metrics/events`."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.response = response
        self.parser = EventParser()
        self._messages: list[Message] = []

    def next(self, kind: str) -> Any:
        """The data of the next event of this type. Skips other events."""
        while True:
            while not self._messages:
                data = self.response.read1()
                assert data, "the stream has ended"
                self._messages += self.parser.feed(data)
            message = self._messages.pop(0)
            if message.type == kind:
                return message.json


@contextmanager
def read_metrics(server: ServerProcess, *, path: str = PATH) -> Iterator[MetricsReader]:
    client = Client(server.port)
    try:
        client.request("GET", path)
        response = client.getresponse()
        assert response.status == 200
        yield MetricsReader(response)
    finally:
        client.close()


def points_of(history: dict[str, Any]) -> list[tuple[float, ...]]:
    """The points of a history. A history is sent as lists, one for each value of a point."""
    return list(zip(*(column for column in history.values() if isinstance(column, list)), strict=True))


@pytest.mark.slow
def test_the_points_count_all_orders_and_a_reload_keeps_the_history(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server:
        with read_metrics(server) as page:
            first = points_of(page.next("history"))
            seen = [page.next("point")]
            post_all(server, range(1, 301))
            wait_until_processed(server)
            # Once the metrics count all orders, the next point counts them too.
            metrics = page.next("metrics")
            while metrics["completed_orders"] < 300 and len(seen) < DEADLINE_S:
                seen.append(page.next("point"))
                metrics = page.next("metrics")
            seen.append(page.next("point"))
            assert (metrics["total_orders"], metrics["completed_orders"]) == (300, 300)
            assert metrics.keys() == server.get("/metrics").body.keys()
            spans_s = [later["time"] - earlier["time"] for earlier, later in pairwise(seen)]
            for rate in ("accepted_per_second", "completed_per_second"):
                orders = sum(span_s * point[rate] for span_s, point in zip(spans_s, seen[1:], strict=True))
                assert orders == pytest.approx(300, rel=0.05)
            for point in seen:
                if point["ack_p99_seconds"] is not None:
                    assert 0 < point["ack_p50_seconds"] <= point["ack_p99_seconds"] < 10
            assert any(point["processing_p99_seconds"] is not None for point in seen)
        with read_metrics(server) as page:
            again = points_of(page.next("history"))
        assert again[: len(first)] == first
        assert [point for point in seen if tuple(point.values()) not in again] == []
        assert all(earlier[0] < later[0] for earlier, later in pairwise(again))


@pytest.mark.slow
@pytest.mark.parametrize("chosen", ["1h", "1d", "10m"])
def test_a_restart_keeps_the_history(tmp_path: Path, chosen: str) -> None:
    path = f"{PATH}?range={chosen}"
    with ServerProcess(tmp_path / "orders.db") as server, read_metrics(server) as page:
        post_all(server, range(1, 301))
        wait_until_processed(server)
        while page.next("metrics")["completed_orders"] < 300:
            pass
        page.next("point")
        assert server.stop() == 0
    with ServerProcess(tmp_path / "orders.db") as server, read_metrics(server, path=path) as page:
        history = page.next("history")
        point = page.next("point")
    # The new process has neither accepted nor completed an order.
    assert max(history["accepted_per_second"]) > 0
    assert max(history["completed_per_second"]) > 0
    assert any(history["ack_p99_seconds"])
    assert history["time"] == sorted(history["time"])
    assert history["time"][0] < point["time"]
    assert point["seconds"] == history["interval_seconds"] == 1


@pytest.mark.slow
def test_a_stop_ends_the_stream_with_its_last_chunk(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server, read_metrics(server) as page:
        page.next("point")
        server.signal(signal.SIGTERM)
        # read() raises IncompleteRead if the last chunk is missing.
        list(page.parser.feed(page.response.read()))
        page.parser.end()
        assert server.wait() == 0
        assert "Traceback" not in server.log


@pytest.mark.slow
def test_memory_does_not_grow_while_clients_never_read(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server, ExitStack() as stack:
        page = stack.enter_context(read_metrics(server))
        for _ in range(SILENT_CLIENTS):
            stack.callback(connect_silent_client(server.port, REQUEST).close)
        for _ in range(2):
            page.next("point")
        before_mib = server.memory_kib() / 1024
        for _ in range(8):
            page.next("point")
        after_mib = server.memory_kib() / 1024
        print(f"VmRSS {before_mib:.1f} MiB with {SILENT_CLIENTS} clients, {after_mib:.1f} MiB 8 s later")
        assert after_mib - before_mib < MAX_GROWTH_MIB
        for _ in range(MAX_CLIENTS - SILENT_CLIENTS - 1):
            stack.callback(connect_silent_client(server.port, REQUEST).close)
        assert server.get(PATH).status == 503
        assert server.stop() == 0
