"""What a soak says of its minutes: each bound holds for a server that is well, and fails for one that is not."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from load.soak.closing import Closing
from load.soak.crowd import CLIENTS
from load.soak.minute import Minute
from load.soak.verdict import Finding, compare_minutes, compare_orders, find_slowness_beside

ONE = Minute(
    name="1",
    seconds=60.0,
    orders=100_000,
    orders_per_second=520.0,
    p50_ms=1.5,
    p99_ms=8.0,
    late_p99_ms=1.0,
    disk_p99_ms=1.0,
    memory_mib=100.0,
    peak_mib=101.0,
    files=18,
    sockets=60,
    threads=8,
    wal_mib=4.5,
    database_mib=20.0,
    cpu_share=0.6,
    backlog=0,
    errors=0,
)
GOOD = Closing(counted=100_000)


def _failed(findings: list[Finding]) -> list[str]:
    return [finding.name for finding in findings if not finding.passed]


def _last(**changes: Any) -> list[Minute]:
    return [ONE, msgspec.structs.replace(ONE, name="2"), msgspec.structs.replace(ONE, name="3", **changes)]


def test_a_server_that_is_as_it_was_passes() -> None:
    assert _failed(compare_minutes(_last(), {})) == []
    assert _failed(compare_orders(GOOD, complaints=0)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"memory_mib": 113.9},
        {"sockets": CLIENTS + 10},
        {"threads": 16},
        {"wal_mib": 8.5},
        {"p99_ms": 12.0},
        {"orders": 1_000_000, "database_mib": 200.0, "peak_mib": 150.0},
    ],
)
def test_what_may_grow_may_grow_up_to_its_bound(change: dict[str, float]) -> None:
    assert _failed(compare_minutes(_last(**change), {})) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"memory_mib": 114.1}, "memory"),
        ({"files": 19}, "open files"),
        ({"sockets": CLIENTS + 11}, "sockets"),
        ({"threads": 17}, "threads"),
        ({"wal_mib": 8.6}, "write-ahead log"),
        ({"p99_ms": 12.1}, "p99"),
        ({"p99_ms": None}, "p99"),
    ],
)
def test_what_grows_beyond_its_bound_fails(change: dict[str, Any], name: str) -> None:
    [failed] = _failed(compare_minutes(_last(**change), {}))
    assert failed.startswith(name)


def test_a_p99_within_ten_milliseconds_is_good_whatever_minute_one_was() -> None:
    one = msgspec.structs.replace(ONE, p99_ms=2.0)
    assert _failed(compare_minutes([one, msgspec.structs.replace(one, p99_ms=9.9)], {})) == []
    assert len(_failed(compare_minutes([one, msgspec.structs.replace(one, p99_ms=10.1)], {}))) == 1


def test_a_log_that_was_long_in_minute_one_already_has_no_more_room_for_that() -> None:
    one = msgspec.structs.replace(ONE, wal_mib=27.0)
    assert _failed(compare_minutes([one, one], {})) == []
    [failed] = _failed(compare_minutes([one, msgspec.structs.replace(one, wal_mib=28.1)], {}))
    assert failed.startswith("write-ahead log")


def test_one_wrong_answer_fails() -> None:
    assert _failed(compare_minutes(_last(), {"GET /order/N: status 500 instead of 200": 1})) == [
        "wrong or missing answers"
    ]


@pytest.mark.parametrize("what", ["unlisted", "strange", "miscounted", "mistaken", "incomplete", "sockets_left"])
def test_one_order_or_connection_that_is_not_as_it_must_be_fails(what: str) -> None:
    bad = replace(GOOD)
    setattr(bad, what, 1)
    assert len(_failed(compare_orders(bad, complaints=0))) == 1


def test_a_complaint_in_the_servers_log_fails() -> None:
    assert _failed(compare_orders(GOOD, complaints=1)) == ["warnings and errors in the server's log, and at its end"]


def test_a_finding_says_what_was_found_and_what_it_must_be() -> None:
    [memory] = [each for each in compare_minutes(_last(memory_mib=120.0), {}) if each.name.startswith("memory")]
    assert memory.line.startswith("FAIL  120 MiB, must be <= 114 MiB, minute one 100 MiB: memory")
    assert memory.to_json()["passed"] is False


def test_it_is_told_in_which_minutes_something_else_was_slow() -> None:
    assert find_slowness_beside(_last(late_p99_ms=5.0, disk_p99_ms=None)) == []
    late, slow = find_slowness_beside([*_last(late_p99_ms=5.1, disk_p99_ms=40.0), *_last(disk_p99_ms=6.0)])
    assert late == "this program itself was late, over 5 ms in the p99, in minute 3"
    assert slow == "syncs of another file took over 5 ms in the p99 in minute 3, 3"
