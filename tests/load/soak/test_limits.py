"""Tests the limits of a soak: each check passes for a good server, and fails for a bad one."""

from typing import Any

import msgspec

from load.soak.limits import Finding, compare_minutes, require_zero
from load.soak.minute import Minute
from load.soak.sessions import CONNECTIONS
from tests.cases import cases

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


def _failed(findings: list[Finding]) -> list[str]:
    return [finding.name for finding in findings if not finding.passed]


def _last(**changes: Any) -> list[Minute]:
    return [ONE, msgspec.structs.replace(ONE, name="2"), msgspec.structs.replace(ONE, name="3", **changes)]


def test_an_unchanged_server_passes() -> None:
    assert _failed(compare_minutes(_last(), {})) == []
    assert _failed(require_zero({"lost": 0})) == []


@cases(
    "change",
    [
        {"memory_mib": 113.9},
        {"sockets": CONNECTIONS + 10},
        {"threads": 16},
        {"wal_mib": 8.5},
        {"p99_ms": 12.0},
        {"orders": 1_000_000, "database_mib": 200.0, "peak_mib": 150.0},
    ],
)
def test_growth_up_to_the_limit_passes(change: dict[str, float]) -> None:
    assert _failed(compare_minutes(_last(**change), {})) == []


@cases(
    ("change", "name"),
    [
        ({"memory_mib": 114.1}, "memory"),
        ({"files": 19}, "open files"),
        ({"sockets": CONNECTIONS + 11}, "sockets"),
        ({"threads": 17}, "threads"),
        ({"wal_mib": 8.6}, "write-ahead log"),
        ({"p99_ms": 12.1}, "p99"),
        ({"p99_ms": None}, "p99"),
    ],
)
def test_growth_beyond_the_limit_fails(change: dict[str, Any], name: str) -> None:
    [failed] = _failed(compare_minutes(_last(**change), {}))
    assert failed.startswith(name)


def test_a_p99_within_ten_milliseconds_always_passes() -> None:
    one = msgspec.structs.replace(ONE, p99_ms=2.0)
    assert _failed(compare_minutes([one, msgspec.structs.replace(one, p99_ms=9.9)], {})) == []
    assert len(_failed(compare_minutes([one, msgspec.structs.replace(one, p99_ms=10.1)], {}))) == 1


def test_a_long_log_in_minute_one_does_not_raise_the_limit() -> None:
    one = msgspec.structs.replace(ONE, wal_mib=27.0)
    assert _failed(compare_minutes([one, one], {})) == []
    [failed] = _failed(compare_minutes([one, msgspec.structs.replace(one, wal_mib=28.1)], {}))
    assert failed.startswith("write-ahead log")


def test_one_wrong_answer_fails() -> None:
    assert _failed(compare_minutes(_last(), {"GET /order/N: status 500 instead of 200": 1})) == [
        "wrong or missing answers"
    ]


def test_one_wrong_order_fails() -> None:
    assert _failed(require_zero({"lost": 0, "unknown": 1})) == ["unknown"]


def test_a_finding_shows_its_value_and_its_limit() -> None:
    [memory] = [each for each in compare_minutes(_last(memory_mib=120.0), {}) if each.name.startswith("memory")]
    assert memory.line.startswith("FAIL  120 MiB, must be <= 114 MiB, minute one 100 MiB: memory")
    assert memory.to_json()["passed"] is False
