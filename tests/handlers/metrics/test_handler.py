"""`GET /metrics`: its fields, and the choice of the format."""

from decimal import Decimal

import pytest

from models.database.health import StorageStatus, Work
from models.order import Status
from tests.cases import cases
from tests.handlers.conftest import StartApi
from tests.handlers.processing import claim, end
from tests.handlers.running_api import RunningApi, get_text
from tests.models.samples import SECOND_US, SERVERS, order_text
from tests.process import is_on_postgresql

EMPTY = {
    "total_orders": 0,
    "avg_processing_time": 0,
    "pending_orders": 0,
    "processing_orders": 0,
    "completed_orders": 0,
    "failed_orders": 0,
    "cancelled_orders": 0,
    "oldest_pending_seconds": 0,
    "accepted_per_second": Decimal("3.142"),
    "completed_per_second": Decimal("2.718"),
    "uptime_seconds": Decimal("12.346"),
    "paused": False,
    "deliveries_paused": False,
}
"""The metrics of a server without orders. Without the members in OTHERS."""
OTHERS = ["storage", "archived_orders", *(["servers"] if is_on_postgresql() else [])]


def others(metrics: dict[str, object]) -> dict[str, object]:
    """The members of the metrics that are not in EMPTY."""
    return {name: metrics[name] for name in OTHERS}


@pytest.mark.gen_test
async def test_without_orders_all_counts_are_0(api: RunningApi) -> None:
    answer = await api.get("/metrics")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert list(answer.json.items()) == [*EMPTY.items(), *others(answer.json).items()]


@pytest.mark.gen_test
async def test_each_order_is_counted_under_its_status(api: RunningApi) -> None:
    for order_id in range(1, 7):
        assert (await api.post(order_text(order_id=str(order_id)))).status == 202
        api.clock.now_us += SECOND_US
    claimed = await claim(api, 4)
    await end(api, claimed[:2])
    await end(api, claimed[2:3], Status.FAILED)
    api.clock.now_us += 2 * SECOND_US
    metrics = (await api.get("/metrics")).json
    assert metrics == EMPTY | {
        "total_orders": 6,
        # The orders were completed 6 s and 5 s after they were accepted. The average does not include the failed order.
        "avg_processing_time": Decimal("5.5"),
        "pending_orders": 2,
        "processing_orders": 1,
        "completed_orders": 2,
        "failed_orders": 1,
        "oldest_pending_seconds": 4,
        **others(metrics),
    }


@pytest.mark.gen_test
async def test_the_state_of_the_storage_is_shown(start_api: StartApi) -> None:
    status = StorageStatus(
        up={Work.READS: True, Work.WRITES: False},
        errors={"SQLITE_FULL": 2},
        database_bytes=36_864,
        wal_bytes=0,
        free_bytes=None,
    )

    async def storage_status() -> StorageStatus:
        return status

    api = await start_api(storage_status=storage_status)
    assert (await api.get("/metrics")).json["storage"] == {
        "is_writable": False,
        "is_readable": True,
        "errors": {"SQLITE_FULL": 2},
        "database_bytes": 36_864,
        "wal_bytes": 0,
        "free_disk_bytes": None,
    }


@pytest.mark.gen_test
async def test_the_servers_on_the_database_are_shown(start_api: StartApi) -> None:
    async def storage_status() -> StorageStatus:
        return StorageStatus(dict.fromkeys(Work, True), {}, None, None, None, SERVERS)

    api = await start_api(storage_status=storage_status)
    assert (await api.get("/metrics")).json["servers"] == [
        {
            "number": 3,
            "name": "shop-1:77",
            "started_at": "2025-03-01T12:00:00.123456Z",
            "lease_age_seconds": Decimal("7.25"),
            "is_alive": False,
            "processing_orders": 2,
            "is_this": False,
        },
        {
            "number": 4,
            "name": "shop-2:8",
            "started_at": "2025-03-01T12:00:01.000000Z",
            "lease_age_seconds": Decimal("0.123"),
            "is_alive": True,
            "processing_orders": 0,
            "is_this": True,
        },
    ]


@pytest.mark.gen_test
async def test_no_age_is_negative_after_the_clock_is_set_back(api: RunningApi) -> None:
    await api.post(order_text())
    api.clock.now_us -= 60 * SECOND_US
    assert (await api.get("/metrics")).json["oldest_pending_seconds"] == 0


@pytest.mark.gen_test
async def test_rejected_orders_and_replays_are_not_counted(api: RunningApi) -> None:
    for body in (order_text(), order_text(), order_text(user_id="2"), order_text(order_id="0"), b"{"):
        await api.post(body)
    metrics = (await api.get("/metrics")).json
    assert (metrics["total_orders"], metrics["pending_orders"]) == (1, 1)


JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NEW_TEXT_TYPE = "text/plain; version=1.0.0; charset=utf-8; escaping={}"
OPEN_METRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping={}"
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
WITH_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7," + PROMETHEUS_3
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"


@pytest.mark.gen_test
@cases("method", ["GET", "HEAD"])
@cases(
    ("accept", "anywhere", "for_prometheus"),
    [
        (None, JSON_TYPE, TEXT_TYPE),
        ("*/*", JSON_TYPE, TEXT_TYPE),
        (BROWSER, JSON_TYPE, TEXT_TYPE),
        ("application/json", JSON_TYPE, TEXT_TYPE),
        ("text/html", JSON_TYPE, TEXT_TYPE),
        ("no type;;=,", JSON_TYPE, TEXT_TYPE),
        ("text/plain", TEXT_TYPE, TEXT_TYPE),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", *[NEW_TEXT_TYPE.format("allow-utf-8")] * 2),
        ("text/plain;version=1.x\xe4", TEXT_TYPE, TEXT_TYPE),
        ("application/openmetrics-text;q=0.1, text/plain;q=0.9", TEXT_TYPE, TEXT_TYPE),
        ("application/openmetrics-text", *[OPEN_METRICS_TYPE.format("underscores")] * 2),
        # A version that is not supported.
        ("application/openmetrics-text;version=9.9.9", *[OPEN_METRICS_TYPE.format("underscores")] * 2),
        ("application/openmetrics-text;escaping=x", *[OPEN_METRICS_TYPE.format("underscores")] * 2),
        (PROMETHEUS_2, *[OPEN_METRICS_TYPE.format("underscores")] * 2),
        (PROMETHEUS_3, *[OPEN_METRICS_TYPE.format("allow-utf-8")] * 2),
        (WITH_PROTOBUF, *[OPEN_METRICS_TYPE.format("allow-utf-8")] * 2),
    ],
)
async def test_the_accept_header_selects_the_format(
    shared_api: RunningApi, method: str, accept: str | None, anywhere: str, for_prometheus: str
) -> None:
    for path, expected in (("/metrics", anywhere), ("/metrics/prometheus", for_prometheus)):
        answer = await shared_api.request(method, path, headers={} if accept is None else {"Accept": accept})
        assert (answer.status, answer.headers["Content-Type"], answer.headers["Vary"]) == (200, expected, "Accept")
        if method == "HEAD":
            assert (answer.body, int(answer.headers["Content-Length"]) > 200) == (b"", True)
        elif expected == JSON_TYPE:
            assert list(answer.json) == [*EMPTY, *OTHERS]
        else:
            assert answer.body.startswith(b"# HELP orders_build")
            assert answer.body.endswith(b"# EOF\n") == expected.startswith("application/openmetrics-text")


@pytest.mark.gen_test
async def test_several_accept_headers_are_combined(shared_api: RunningApi) -> None:
    async with shared_api.connection() as connection:
        await connection.send(get_text("/metrics", headers="Accept: application/json;q=0.5\r\nAccept: text/plain\r\n"))
        assert (await connection.answer()).headers["Content-Type"] == TEXT_TYPE


@pytest.mark.gen_test
async def test_while_draining_responses_of_every_format_close_the_connection(api: RunningApi) -> None:
    api.in_flight.draining = True
    for accept in ("application/json", "text/plain", "application/openmetrics-text"):
        async with api.connection() as connection:
            await connection.send(get_text("/metrics", headers=f"Accept: {accept}\r\n"))
            assert (await connection.answer()).headers["Connection"] == "close"
