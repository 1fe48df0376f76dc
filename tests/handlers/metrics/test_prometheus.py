"""Prometheus text and OpenMetrics of a running API, read by the parsers of both formats."""

import itertools
from math import inf
from pathlib import Path

import pytest
from msgspec.structs import replace
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from handlers.metrics.histogram import Histogram
from handlers.metrics.instruments import AttemptOutcome, IntakeOutcome
from handlers.metrics.prometheus import OPEN_METRICS, TEXT
from models.database.health import StorageStatus, Work
from models.errors import StorageUnavailableError
from models.order import Status
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.commands import Cancel, StatusChanged
from models.writes.insertion import Insertion
from tests.handlers.conftest import StartApi
from tests.handlers.event_stream import open_stream
from tests.handlers.processing import claim, end
from tests.handlers.running_api import RunningApi, Way, get_text
from tests.models.samples import SECOND_US, SERVERS, claimed_order, new_order, order_text
from tests.process import is_on_postgresql

FORMATS = pytest.mark.parametrize("media_type", [TEXT, OPEN_METRICS])
FAMILIES = {
    "orders_build": ("info", ""),
    "orders_by_status": ("gauge", ""),
    "orders_oldest_pending_seconds": ("gauge", "seconds"),
    "orders_waiting_for_retry": ("gauge", ""),
    "orders_archived": ("counter", ""),
    "orders_processing_paused": ("gauge", ""),
    "orders_uptime_seconds": ("gauge", "seconds"),
    "orders_busy_workers": ("gauge", ""),
    "orders_overdue_attempts": ("gauge", ""),
    "orders_deliveries_paused": ("gauge", ""),
    "orders_delivery_pauses": ("counter", ""),
    "orders_turnaround_seconds": ("summary", "seconds"),
    "orders_storage_up": ("gauge", ""),
    "orders_storage_errors": ("counter", ""),
    "orders_database_bytes": ("gauge", "bytes"),
    "orders_intake": ("counter", ""),
    "orders_http_responses": ("counter", ""),
    "orders_attempts": ("counter", ""),
    "orders_cancelled": ("counter", ""),
    "orders_retried": ("counter", ""),
    "orders_log_lines_dropped": ("counter", ""),
    "orders_ack_seconds": ("histogram", "seconds"),
    "orders_queue_wait_seconds": ("histogram", "seconds"),
    "orders_processing_seconds": ("histogram", "seconds"),
    "orders_commit_seconds": ("histogram", "seconds"),
    "orders_commit_size": ("histogram", ""),
}
if not is_on_postgresql():
    FAMILIES |= {"orders_wal_bytes": ("gauge", "bytes"), "orders_free_disk_bytes": ("gauge", "bytes")}
else:
    FAMILIES |= {
        "orders_servers": ("gauge", ""),
        "orders_server_processing_orders": ("gauge", ""),
        "orders_server_lease_age_seconds": ("gauge", "seconds"),
        "orders_server_start_time_seconds": ("gauge", "seconds"),
    }
OF_EVERY_PROCESS = {
    "process_cpu_seconds": ("counter", "seconds"),
    "process_resident_memory_bytes": ("gauge", "bytes"),
    "process_virtual_memory_bytes": ("gauge", "bytes"),
    "process_start_time_seconds": ("gauge", "seconds"),
    "process_open_fds": ("gauge", ""),
    "process_max_fds": ("gauge", ""),
    "python_info": ("gauge", ""),
    "python_gc_objects_collected": ("counter", ""),
    "python_gc_objects_uncollectable": ("counter", ""),
    "python_gc_collections": ("counter", ""),
}


async def scrape(api: RunningApi, media_type: str = OPEN_METRICS) -> dict[str, Metric]:
    """The metric families by name."""
    answer = await api.get("/metrics", {"Accept": media_type})
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (200, media_type)
    families = list((parse_text if media_type == TEXT else parse_openmetrics)(answer.body.decode()))
    by_name = {family.name: family for family in families}
    assert len(by_name) == len(families)
    return by_name


def values(family: Metric) -> dict[str, float]:
    """The values of the samples by their first label, or by name if they have no label."""
    return {next(iter(sample.labels.values()), sample.name): sample.value for sample in family.samples}


def counters(families: dict[str, Metric]) -> dict[tuple[str, str], float]:
    """The values that must never decrease."""
    return {
        (sample.name, str(sample.labels)): sample.value
        for family in families.values()
        for sample in family.samples
        if family.type in ("counter", "histogram", "summary")
    }


def record_some(api: RunningApi, rounds: int = 1) -> None:
    instruments, order = api.instruments, claimed_order(new_order(1), 1, api.clock.now_us - SECOND_US)
    cancelled = replace(order, status=Status.CANCELLED)
    for number in range(rounds):
        for histogram in (instruments.ack_s, instruments.processing_s, instruments.commit_s):
            histogram.observe(0.002 * (number + 1))
        outcomes = [Outcome(1, 1, Status.COMPLETED)]
        instruments.count_batch(
            [new_order(1), FinishAndClaim(outcomes, 1), Cancel(2)],
            [Insertion.ACCEPTED, ClaimedOrders([order]), StatusChanged(cancelled, Status.PENDING)],
        )
        instruments.count_intake(IntakeOutcome.INVALID)


@pytest.mark.gen_test
async def test_every_family_has_type_unit_and_help_in_openmetrics(api: RunningApi) -> None:
    families = await scrape(api)
    assert {name: (family.type, family.unit) for name, family in families.items()} == FAMILIES | OF_EVERY_PROCESS
    assert all(family.documentation for family in families.values())


@pytest.mark.gen_test
async def test_every_family_has_type_and_help_in_the_text_format(api: RunningApi) -> None:
    families = await scrape(api, TEXT)
    # This format has no units, and shows an info as a gauge.
    expected = {name: kind for name, (kind, _) in (FAMILIES | OF_EVERY_PROCESS).items() if kind != "info"}
    assert {name: family.type for name, family in families.items()} == expected | {"orders_build_info": "gauge"}
    assert all(family.documentation for family in families.values())


@pytest.mark.sqlite
@pytest.mark.gen_test
@pytest.mark.usefixtures("failing_storage")
async def test_the_state_of_the_storage_and_its_sizes(api: RunningApi, tmp_path: Path) -> None:
    families = await scrape(api)
    assert values(families["orders_storage_up"]) == {"reads": 1, "writes": 1}
    assert values(families["orders_storage_errors"]) == {}
    for name, file in (("orders_database_bytes", "orders.db"), ("orders_wal_bytes", "orders.db-wal")):
        assert values(families[name]) == {name: (tmp_path / file).stat().st_size}
    assert values(families["orders_free_disk_bytes"])["orders_free_disk_bytes"] > 0
    await api.set_read_only(True)
    assert (await api.post(order_text())).status == 503
    families = await scrape(api)
    assert values(families["orders_storage_up"]) == {"reads": 1, "writes": 0}
    assert values(families["orders_storage_errors"]) == {"SQLITE_READONLY": 1}
    await api.set_read_only(False)


@pytest.mark.gen_test
async def test_the_servers_on_the_database(start_api: StartApi) -> None:
    async def storage_status() -> StorageStatus:
        return StorageStatus(dict.fromkeys(Work, True), {}, None, None, None, SERVERS)

    api = await start_api(storage_status=storage_status)
    families = await scrape(api)
    assert values(families["orders_servers"]) == {"orders_servers": 1}
    for name, expected in (
        ("orders_server_processing_orders", [2, 0]),
        ("orders_server_lease_age_seconds", [7.25, 0.1234]),
        ("orders_server_start_time_seconds", [1_740_830_400.123456, 1_740_830_401]),
    ):
        samples = families[name].samples
        assert [sample.value for sample in samples] == expected
        labels = [{"server": "shop-1:77", "number": "3"}, {"server": "shop-2:8", "number": "4"}]
        assert [sample.labels for sample in samples] == labels


@pytest.mark.gen_test
async def test_metrics_that_need_no_orders_are_sent_if_orders_cannot_be_read(start_api: StartApi) -> None:
    def totals() -> object:
        raise StorageUnavailableError("gone")

    api = await start_api(totals=totals)
    families = await scrape(api)
    of_orders = {
        "orders_by_status",
        "orders_oldest_pending_seconds",
        "orders_waiting_for_retry",
        "orders_archived",
        "orders_processing_paused",
        "orders_uptime_seconds",
        "orders_turnaround_seconds",
    }
    assert families.keys() == (FAMILIES | OF_EVERY_PROCESS).keys() - of_orders
    assert (await api.get("/metrics")).status == 503


@pytest.mark.gen_test
@FORMATS
async def test_buckets_are_cumulative_and_the_last_is_the_count(api: RunningApi, media_type: str) -> None:
    record_some(api, rounds=10)
    families = await scrape(api, media_type)
    histograms = [family for family in families.values() if family.type == "histogram"]
    assert len(histograms) == sum(isinstance(each, Histogram) for each in vars(api.instruments).values())
    for family in histograms:
        buckets = [sample for sample in family.samples if sample.name.endswith("_bucket")]
        bounds = [float(sample.labels["le"]) for sample in buckets]
        assert bounds == sorted(set(bounds))
        assert bounds[-1] == inf
        assert all(lower.value <= upper.value for lower, upper in itertools.pairwise(buckets))
        assert values(family)[family.name + "_count"] == buckets[-1].value == 10


@pytest.mark.gen_test
@FORMATS
async def test_counters_and_histograms_are_rendered(api: RunningApi, media_type: str) -> None:
    record_some(api)
    api.log_counts.dropped_lines = 7
    families = await scrape(api, media_type)
    none = dict.fromkeys(IntakeOutcome, 0)
    assert values(families["orders_intake"]) == none | {IntakeOutcome.ACCEPTED: 1, IntakeOutcome.INVALID: 1}
    assert values(families["orders_attempts"]) == dict.fromkeys(AttemptOutcome, 0) | {AttemptOutcome.COMPLETED: 1}
    assert values(families["orders_cancelled"]) == {"orders_cancelled_total": 1}
    assert values(families["orders_retried"]) == {"orders_retried_total": 0}
    assert values(families["orders_log_lines_dropped"]) == {"orders_log_lines_dropped_total": 7}
    for name, total in {
        "orders_ack_seconds": 0.002,
        "orders_queue_wait_seconds": 1,
        "orders_processing_seconds": 0.002,
        "orders_commit_seconds": 0.002,
        "orders_commit_size": 1,
    }.items():
        assert values(families[name])[name + "_sum"] == total
    assert values(families["orders_ack_seconds"])["0.001"] == 0
    assert values(families["orders_ack_seconds"])["0.0025"] == 1


@pytest.mark.gen_test
async def test_workers_are_rendered(api: RunningApi) -> None:
    api.instruments.busy_workers, api.instruments.overdue_attempts = 3, 2
    families = await scrape(api)
    assert values(families["orders_busy_workers"]) == {"orders_busy_workers": 3}
    assert values(families["orders_overdue_attempts"]) == {"orders_overdue_attempts": 2}


@pytest.mark.gen_test
async def test_counters_never_decrease(api: RunningApi) -> None:
    record_some(api)
    before = counters(await scrape(api))
    record_some(api)
    after = counters(await scrape(api))
    assert after.keys() == before.keys()
    assert all(after[name] >= before[name] for name in before)
    assert sum(after[name] > before[name] for name in before if name[0].startswith("orders_intake")) == 2


@pytest.mark.gen_test
@FORMATS
async def test_orders_are_counted_under_every_status(api: RunningApi, media_type: str) -> None:
    families = await scrape(api, media_type)
    assert values(families["orders_by_status"]) == dict.fromkeys(Status, 0)
    for order_id in range(1, 7):
        assert (await api.post(order_text(order_id=str(order_id)))).status == 202
    assert (await api.request("POST", "/order/6/cancel")).status == 200
    api.clock.now_us += 5 * SECOND_US
    claimed = await claim(api, 4)
    await end(api, claimed[:2])
    await end(api, claimed[2:3], Status.FAILED)
    families = await scrape(api, media_type)
    assert values(families["orders_by_status"]) == {
        "Pending": 1,
        "Processing": 1,
        "Completed": 2,
        "Failed": 1,
        "Cancelled": 1,
    }
    assert values(families["orders_oldest_pending_seconds"]) == {"orders_oldest_pending_seconds": 5}
    assert values(families["orders_waiting_for_retry"]) == {"orders_waiting_for_retry": 0}
    assert values(families["orders_turnaround_seconds"]) == {
        "orders_turnaround_seconds_count": 2,
        "orders_turnaround_seconds_sum": 10,
    }


@pytest.mark.gen_test
@FORMATS
async def test_orders_that_wait_for_a_retry_do_not_count_as_oldest_pending(api: RunningApi, media_type: str) -> None:
    assert (await api.post(order_text())).status == 202
    api.clock.now_us += 5 * SECOND_US
    [order] = await claim(api, 1)
    await end(api, [order], Status.PENDING, due_us=api.clock.now_us + 60 * SECOND_US)
    families = await scrape(api, media_type)
    assert values(families["orders_waiting_for_retry"]) == {"orders_waiting_for_retry": 1}
    assert values(families["orders_oldest_pending_seconds"]) == {"orders_oldest_pending_seconds": 0}
    api.clock.now_us += 60 * SECOND_US
    families = await scrape(api, media_type)
    assert values(families["orders_oldest_pending_seconds"]) == {"orders_oldest_pending_seconds": 65}


@pytest.mark.gen_test
@pytest.mark.parametrize("way", Way)
async def test_responses_are_counted_by_status(api: RunningApi, way: Way) -> None:
    api.way = way
    before = values((await scrape(api))["orders_http_responses"])
    assert before.items() >= {"200": 0, "202": 0, "422": 0, "500": 0, "503": 0}.items()
    assert (await api.post(order_text())).status == 202
    assert (await api.post(order_text(user_id="0"))).status == 422
    assert (await api.get("/order/1")).status == 404
    assert (await api.get("/livez")).status == 200
    after = values((await scrape(api))["orders_http_responses"])
    increases = {status: count - before.get(status, 0) for status, count in after.items()}
    # 2 times 200: /livez and the first /metrics.
    assert increases == {"200": 2, "202": 1, "422": 1, "404": 1, "500": 0, "503": 0}


@pytest.mark.gen_test
async def test_responses_of_streams_and_of_many_orders_are_counted(api: RunningApi) -> None:
    before = values((await scrape(api))["orders_http_responses"])
    for path in ("/orders/events", "/metrics/events"):
        async with open_stream(api.port, get_text(path)):
            pass
    assert (await api.get("/orders/events?user_id=x")).status == 422
    body = b"\n".join(order_text(order_id=order_id) for order_id in ("1", "2"))
    assert (await api.request("POST", "/orders", body, {"Content-Type": "application/x-ndjson"})).status == 202
    after = values((await scrape(api))["orders_http_responses"])
    assert {status: after[status] - before[status] for status in before} == {
        "200": 3,
        "202": 1,
        "422": 1,
        "500": 0,
        "503": 0,
    }


@pytest.mark.gen_test
async def test_build_uptime_and_process_are_rendered(api: RunningApi) -> None:
    families = await scrape(api)
    assert families["orders_build"].samples[0].labels == {"version": "1.2.3"}
    assert values(families["orders_uptime_seconds"]) == {"orders_uptime_seconds": 12.3456}
    [resident] = values(families["process_resident_memory_bytes"]).values()
    [virtual] = values(families["process_virtual_memory_bytes"]).values()
    assert 1_000_000 < resident < virtual
    [files] = values(families["process_open_fds"]).values()
    [most_files] = values(families["process_max_fds"]).values()
    assert 3 < files < most_files


@pytest.mark.gen_test
async def test_no_label_contains_an_order_or_user_id(api: RunningApi) -> None:
    await api.post(order_text())
    record_some(api)
    families = await scrape(api)
    labels = {(family.name, label) for family in families.values() for each in family.samples for label in each.labels}
    ours = {label for name, label in labels if name.startswith("orders_")}
    of_servers = {"server", "number"} if is_on_postgresql() else set()
    assert ours == {"status", "outcome", "le", "version", "work"} | of_servers


@pytest.mark.gen_test
@FORMATS
async def test_pauses_of_deliveries_are_counted_by_reason(api: RunningApi, media_type: str) -> None:
    families = await scrape(api, media_type)
    assert [sample.value for sample in families["orders_deliveries_paused"].samples] == [0]
    assert families["orders_delivery_pauses"].samples == []
    api.telemetry.deliveries_read(is_paused=True, pauses={"busy": 3, "unreachable": 0})
    families = await scrape(api, media_type)
    assert [sample.value for sample in families["orders_deliveries_paused"].samples] == [1]
    assert (await api.get("/metrics")).json["deliveries_paused"] is True
    counts = {
        sample.labels["reason"]: sample.value
        for sample in families["orders_delivery_pauses"].samples
        if sample.name.endswith("_total")
    }
    assert counts == {"busy": 3, "unreachable": 0}
