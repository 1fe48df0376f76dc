"""The metrics of a real server in the formats for Prometheus."""

import itertools
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.live_orders import METRIC_NAMES, assert_counts, post_all, wait_for_status, wait_until_processed
from tests.process import ServerProcess, with_open_files
from tests.user_module import UserModule

Parse = Callable[[str], Iterable[Metric]]
FORMATS: dict[str, Parse] = {"text/plain": parse_text, "application/openmetrics-text": parse_openmetrics}


def scrape(server: ServerProcess, accept: str, path: str = "/metrics") -> dict[str, float]:
    """The samples. A key is the name of the metric and the values of its labels, separated by spaces."""
    with server.client() as client:
        client.request("GET", path, headers={"Accept": accept})
        response = client.getresponse()
        text = response.read().decode()
    assert response.status == 200
    assert response.headers["Content-Type"].partition(";")[0] == accept
    samples = [sample for family in FORMATS[accept](text) for sample in family.samples]
    return {" ".join([sample.name, *sample.labels.values()]): sample.value for sample in samples}


def assert_agrees(values: dict[str, float], expected: Any) -> None:
    """Checks the samples against the JSON metrics. The JSON metrics must have been requested first."""
    for status, name in METRIC_NAMES.items():
        assert values[f"orders_by_status {status}"] == expected[name]
    assert values["orders_turnaround_seconds_count"] == expected["completed_orders"]
    mean_s = values["orders_turnaround_seconds_sum"] / max(1, expected["completed_orders"])
    assert mean_s == pytest.approx(expected["avg_processing_time"])
    assert values["orders_oldest_pending_seconds"] >= expected["oldest_pending_seconds"]
    assert values["orders_uptime_seconds"] >= expected["uptime_seconds"]


@pytest.mark.slow
def test_prometheus_metrics_agree_with_the_json_metrics(tmp_path: Path) -> None:
    body = """
        if order.order_id == 4: raise Rejected("no flour")
        if order.order_id == 5: wait_at_gate()
    """
    with UserModule(tmp_path, body) as shop, shop.server("--workers", "1") as server:
        post_all(server, range(1, 8), clients=1)
        wait_for_status(server, 5, "Processing")
        with server.client() as client:
            assert client.ask("POST", "/order/7/cancel").status == 200
        assert_counts(server, Pending=1, Processing=1, Completed=3, Failed=1, Cancelled=1)
        for accept, path in itertools.product(FORMATS, ("/metrics", "/metrics/prometheus")):
            expected = server.get("/metrics").body
            assert_agrees(scrape(server, accept, path), expected)
        shop.open_gate()
        wait_until_processed(server)
        for accept in FORMATS:
            expected = server.get("/metrics").body
            values = scrape(server, accept)
            assert_agrees(values, expected)
            assert values["orders_intake_total accepted"] == values["orders_ack_seconds_count"] == 7
            assert values["orders_attempts_total completed"] == values["orders_queue_wait_seconds_count"] - 1 == 5
            assert values["orders_attempts_total failed"] == values["orders_cancelled_total"] == 1
            assert values["orders_processing_seconds_count"] == 6
            assert values["orders_commit_size_sum"] == 7
            assert values["orders_commit_seconds_count"] >= values["orders_commit_size_count"]


@pytest.mark.slow
def test_the_metrics_of_open_files_include_connections_and_the_limit(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path / "orders.db", before=with_open_files(soft=100, hard=200)) as server,
        ExitStack() as stack,
    ):
        before = scrape(server, "text/plain")
        assert before["process_max_fds"] == 200
        for _ in range(20):
            assert stack.enter_context(server.client()).ask("GET", "/livez").status == 200
        assert scrape(server, "text/plain")["process_open_fds"] == before["process_open_fds"] + 20
