"""Creates invented results as `python -m load --json` writes them. Their shapes and sizes are realistic."""

import math
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

from load.results.result import ReadBackResult

RANKS = [0, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95, 97.5, 99, 99.5, 99.9, 99.95, 99.99]
INTERVAL_S = 0.2
REASONED = ("different", "unprocessed", "unread")


def closed_loop(**changes: Any) -> dict[str, Any]:
    """Return the result of a run with 50,000 orders over 64 connections, none lost."""
    result: dict[str, Any] = {
        "url": "http://127.0.0.1:8080",
        "mode": "closed loop",
        "replay": None,
        "concurrency": 64,
        "batch": None,
        "bulk": None,
        "rate_per_second": None,
        "duration_s": None,
        "warm_up_s": 0,
        "started": "2026-11-23T01:06:05.123456+00:00",
        "orders": 50_000,
        "sent": 50_000,
        "accepted": 50_000,
        "duplicates": 0,
        "refused": 0,
        "refused_by_status": {},
        "errors": 0,
        "errors_by_reason": {},
        "wrong_202": 0,
        "wrong_202_by_reason": {},
        "not_sent": 0,
        "elapsed_s": 6.831274651,
        "orders_per_second": 7319.278214,
        "latency_p50_ms": 8.413882,
        "latency_p90_ms": 10.93177,
        "latency_p99_ms": 17.204518,
        "latency_p99_9_ms": 41.862239,
        "latency_max_ms": 63.117402,
        **dict.fromkeys([f"sending_latency_{each}_ms" for each in ("p50", "p90", "p99", "p99_9", "max")]),
        "all_processed_after_s": 7.014422808,
        "generator_cpu_share": 0.45310284,
        "generator_late_p99_ms": None,
        "generator_was_the_limit": False,
        "server_behind_s": 0.0,
        "server_stopped_after_s": None,
        "notes": [],
        "read_back": read_back(50_000),
        "interrupted": False,
        "passed": True,
        "machine": {
            "cpus": "2 x Intel(R) Xeon(R) Processor @ 2.80GHz",
            "platform": "Linux-6.1.0-x86_64-with-glibc2.36",
            "python": "CPython 3.11.2",
            "sqlite": "3.40.1",
            "tornado": "6.6.1",
            "msgspec": "0.22.0",
            "uvloop": "0.23.0",
        },
        **time_series(seconds=6.9, per_second=7319, p50_ms=8.4, seed=1),
    }
    result["percentiles"] = curve(8.4, 63.117402)
    return result | changes


def open_loop_with_a_stall(**changes: Any) -> dict[str, Any]:
    """Return the result of 2,000 orders a second for 32 s. The server stalled for a second."""
    lines = time_series(seconds=32, per_second=2000, p50_ms=2.1, seed=2)
    timeline = lines["timeline"]
    for place in range(75, 80):
        timeline["orders_per_second"][place] = 0.0
        timeline["latency_p50_ms"][place] = timeline["latency_p99_ms"][place] = None
    timeline["orders_per_second"][80] = 11_480.0
    timeline["latency_p50_ms"][80], timeline["latency_p99_ms"][80] = 533.2189, 1009.5521
    result = closed_loop(
        mode="open loop",
        concurrency=1_000,
        rate_per_second=2_000,
        duration_s=32.0,
        orders=64_000,
        sent=64_000,
        accepted=63_988,
        refused=9,
        refused_by_status={"503": 9},
        errors=3,
        errors_by_reason={"no answer within 10 s": 2, "the connection was closed": 1},
        elapsed_s=32.002817,
        orders_per_second=1999.441207,
        latency_p50_ms=2.113904,
        latency_p90_ms=4.871022,
        latency_p99_ms=712.660133,
        latency_p99_9_ms=978.220194,
        latency_max_ms=1010.41829,
        sending_latency_p50_ms=2.090171,
        sending_latency_p90_ms=4.466391,
        sending_latency_p99_ms=318.907166,
        sending_latency_p99_9_ms=944.3801,
        sending_latency_max_ms=1009.98177,
        all_processed_after_s=32.417733,
        generator_cpu_share=0.297718,
        generator_late_p99_ms=1.380442,
        read_back=read_back(63_988),
        **lines,
    )
    result["percentiles"] = curve(2.1, 1010.41829, knee=97.5)
    return result | changes


def failed(**changes: Any) -> dict[str, Any]:
    """Return a result with three lost, two changed, one unprocessed and many rejected orders. The client was busy."""
    ids = 1_763_860_000_000
    return closed_loop(
        sent=20_000,
        orders=20_000,
        accepted=18_102,
        duplicates=3,
        refused=1_883,
        refused_by_status={"429": 1_800, "503": 83},
        errors=12,
        errors_by_reason={"</script><script>document.title='taken'</script>": 7, "the connection was closed": 5},
        all_processed_after_s=None,
        generator_cpu_share=0.972031,
        generator_was_the_limit=True,
        notes=[
            "Status 429, order 1763860000004 for instance: at most 100/s, <b>no</b> more",
            "The load generator was the limit: it used 97% of a core while it sent, so the server may be faster.",
        ],
        passed=False,
        read_back=read_back(
            18_105,
            read=18_102,
            lost_ids=[ids + 11, ids + 12, ids + 907],
            different={str(ids + 4_001): "total_amount is 12.50, not 12.05", str(ids + 4_002): "<b>items</b> is null"},
            unprocessed={str(ids + 9_000): "Pending"},
            statuses={"Completed": 18_000, "Failed": 101, "Pending": 1},
        ),
        **changes,
    )


def with_wrong_202(**changes: Any) -> dict[str, Any]:
    """Return a result in which five orders had a wrong 202, but are stored as they were sent."""
    result = closed_loop(
        accepted=49_995,
        wrong_202=5,
        wrong_202_by_reason={"a 202 that names another order": 4, "a 202 that names no order": 1},
        notes=["5 orders got a wrong 202. This fails the run, because a 202 acknowledges orders."],
        passed=False,
    )
    return result | changes


def interrupted(**changes: Any) -> dict[str, Any]:
    """Return the result of a run that Ctrl-C interrupted during the sending. Nothing was read back."""
    result = closed_loop(
        sent=12_064,
        accepted=12_000,
        not_sent=50_000 - 12_064,
        elapsed_s=1.648812,
        orders_per_second=7277.96,
        all_processed_after_s=None,
        generator_cpu_share=None,
        read_back=None,
        interrupted=True,
        passed=False,
        **time_series(seconds=1.6, per_second=7300, p50_ms=8.4, seed=3),
    )
    return result | changes


def unanswered(**changes: Any) -> dict[str, Any]:
    """Return the result for a server that refused all connections. The result has no accepted orders, and nothing to
    draw."""
    latencies = [f"latency_{each}_ms" for each in ("p50", "p90", "p99", "p99_9", "max")]
    return closed_loop(
        accepted=0,
        errors=50_000,
        errors_by_reason={"the connection was refused": 50_000},
        elapsed_s=0.31,
        orders_per_second=0.0,
        **dict.fromkeys(latencies),
        all_processed_after_s=None,
        read_back=None,
        passed=False,
        timeline={
            "interval_s": 0.005,
            "start_s": [],
            "orders_per_second": [],
            "latency_p50_ms": [],
            "latency_p99_ms": [],
        },
        backlog={"time_s": [], "waiting": []},
        percentiles={"percentile": [], "latency_ms": []},
        **changes,
    )


def single(**changes: Any) -> dict[str, Any]:
    return closed_loop(
        orders=1,
        sent=1,
        accepted=1,
        elapsed_s=0.004131,
        orders_per_second=242.07213,
        **{f"latency_{each}_ms": 3.90177 for each in ("p50", "p90", "p99", "p99_9", "max")},
        all_processed_after_s=0.014322,
        read_back=read_back(1),
        timeline={
            "interval_s": 0.001,
            "start_s": [0.003],
            "orders_per_second": [1000.0],
            "latency_p50_ms": [3.90177],
            "latency_p99_ms": [3.90177],
        },
        backlog={"time_s": [0.00812], "waiting": [1]},
        percentiles={"percentile": [100], "latency_ms": [3.90177]},
        **changes,
    )


def read_back(acknowledged: int, *, is_complete: bool = True, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "acknowledged": acknowledged,
        "read": acknowledged,
        "lost_ids": [],
        "different": {},
        "unprocessed": {},
        "unread": {},
        "statuses": {"Completed": acknowledged},
    } | changes
    reasons = {kind: {int(one): why for one, why in values.pop(kind).items()} for kind in REASONED}
    found = ReadBackResult(**values | reasons | {"statuses": Counter(values["statuses"])})
    return (
        values
        | {kind: changes.get(kind, {}) for kind in REASONED}
        | {"summary": found.describe(is_complete=is_complete)}
    )


def time_series(*, seconds: float, per_second: int, p50_ms: float, seed: int) -> dict[str, Any]:
    """Return the timeline and the backlog of a run without stalls."""
    noise = Random(seed)
    count = round(seconds / INTERVAL_S)
    p50 = [p50_ms * noise.uniform(0.9, 1.15) for _ in range(count)]
    looks = [0.25 * place for place in range(1, int(seconds * 4) + 1)]
    return {
        "timeline": {
            "interval_s": INTERVAL_S,
            "start_s": [place * INTERVAL_S for place in range(count)],
            "orders_per_second": [round(per_second * noise.uniform(0.94, 1.06)) / 1 for _ in range(count)],
            "latency_p50_ms": p50,
            "latency_p99_ms": [each * noise.uniform(1.6, 2.4) for each in p50],
        },
        "backlog": {
            "time_s": [*looks, seconds + 0.19],
            "waiting": [*(int(per_second * noise.uniform(0.02, 0.2)) for _ in looks), 0],
        },
    }


def curve(p50_ms: float, highest_ms: float, *, knee: float = 90) -> dict[str, Sequence[float]]:
    """Return a curve of latencies that rises slowly up to the percentile `knee`, and then quickly to `highest_ms`."""
    ends = -math.log10(1 - RANKS[-1] / 100)
    bend = -math.log10(1 - knee / 100)
    steps = [max(0.0, (-math.log10(1 - rank / 100) - bend) / (ends - bend)) ** 0.7 for rank in RANKS]
    values = [
        p50_ms * (0.6 + rank / 120) + step * (highest_ms * 0.93 - p50_ms)
        for rank, step in zip(RANKS, steps, strict=True)
    ]
    return {"percentile": [*RANKS, 100], "latency_ms": [*values, highest_ms]}
