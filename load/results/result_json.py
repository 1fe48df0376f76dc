"""Owns a run's result as the dictionary that --json writes and the report is made from; on the main thread."""

from datetime import UTC, datetime
from typing import Any

from load.readback import Verdict
from load.results.notes import notes_of
from load.results.recording import Distribution
from load.results.result import Result
from load.results.summary import PERCENTILES
from load.results.timeline import timeline_of
from load.settings import Settings
from load.system.machine import describe_machine


def to_json(result: Result, settings: Settings) -> dict[str, Any]:
    """Give the result with its units in the names; unknown values are null, amounts are texts."""
    return {
        **_what_was_asked(settings),
        "started": _utc(result.started_ns),
        **_what_became_of_orders(result),
        "elapsed_s": result.elapsed_s,
        "orders_per_second": result.orders_per_second,
        **_percentiles("latency", result.latencies),
        **_percentiles("sending_latency", result.sending_latencies),
        "all_processed_after_s": result.processed_s,
        "generator_cpu_share": result.cpu_share,
        "generator_late_p99_ms": None if result.late_p99_s is None else result.late_p99_s * 1e3,
        "generator_was_the_limit": result.generator_was_the_limit,
        "server_behind_s": result.behind_s,
        "server_stopped_after_s": result.stopped_s,
        "notes": notes_of(result, settings),
        "read_back": None if result.verdict is None else _verdict_json(result.verdict),
        "interrupted": result.interrupted,
        "passed": result.is_good and not result.interrupted,
        "machine": describe_machine(),
        "timeline": timeline_of(result.recording),
        "backlog": {
            "time_s": [time_s for time_s, _ in result.backlog.points],
            "waiting": [waiting for _, waiting in result.backlog.points],
        },
        "percentiles": result.latencies.curve(),
    }


def _what_was_asked(settings: Settings) -> dict[str, Any]:
    return {
        "url": str(settings.url),
        "mode": settings.mode,
        "replay": None if settings.replay is None else str(settings.replay),
        "concurrency": settings.concurrency,
        "batch": settings.batch,
        "bulk": settings.bulk,
        "rate_per_second": settings.rate,
        "duration_s": settings.duration_s,
        "warm_up_s": settings.warm_up_s,
    }


def _what_became_of_orders(result: Result) -> dict[str, Any]:
    tally = result.tally
    return {
        "orders": result.orders,
        "sent": tally.sent,
        "accepted": tally.accepted,
        "duplicates": tally.duplicates,
        "refused": tally.refused.total(),
        "refused_by_status": {str(status): count for status, count in sorted(tally.refused.items())},
        "errors": tally.errors.total(),
        "errors_by_reason": dict(tally.errors.most_common()),
        "wrong_202": tally.wrong_202.total(),
        "wrong_202_by_reason": dict(tally.wrong_202.most_common()),
        "not_sent": result.orders - tally.sent,
    }


def _percentiles(what: str, distribution: Distribution) -> dict[str, float | None]:
    return {
        f"{what}_{name.replace('.', '_')}_ms": distribution.percentile_ms(percentile)
        for name, percentile in PERCENTILES.items()
    }


def _utc(since_1970_ns: int) -> str:
    return datetime.fromtimestamp(since_1970_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "acknowledged": verdict.acknowledged,
        "read": verdict.read,
        "lost_ids": verdict.lost,
        "different": _by_id(verdict.different),
        "unprocessed": _by_id(verdict.unprocessed),
        "unread": _by_id(verdict.unread),
        "statuses": dict(verdict.statuses),
        "total_amount": f"{verdict.total_amount:f}",
    }


def _by_id(orders: dict[int, str]) -> dict[str, str]:
    return {str(order_id): why for order_id, why in orders.items()}
