"""A run's result as the dictionary that --json writes and the report is made from. Runs on the main thread."""

from datetime import UTC, datetime
from typing import Any

from load.results.read_back import ReadBackResult
from load.results.recording import Distribution, timeline_of
from load.results.result import Result
from load.results.summary import PERCENTILES, notes_of
from load.settings import Settings
from load.system.machine import describe_machine


def to_json(result: Result, settings: Settings) -> dict[str, Any]:
    """Return the result with units in its names; unknown values are None, amounts are strings."""
    tally = result.tally
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
        "started": datetime.fromtimestamp(result.started_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
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
        "elapsed_s": result.elapsed_s,
        "orders_per_second": result.orders_per_second,
        **_percentiles("latency", result.latencies),
        **_percentiles("sending_latency", result.sending_latencies),
        "all_processed_after_s": result.after_warm_up(result.waited_s),
        "generator_cpu_share": result.cpu_share,
        "generator_late_p99_ms": Distribution(result.delays.late_ns if result.delays else ()).percentile_ms(99),
        "generator_was_the_limit": result.generator_was_the_limit,
        "server_behind_s": result.behind_s,
        "server_stopped_after_s": result.stopped_s,
        "notes": notes_of(result, settings),
        "read_back": None if result.read_back is None else _read_back(result.read_back),
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


def _percentiles(what: str, distribution: Distribution) -> dict[str, float | None]:
    return {
        f"{what}_{name.replace('.', '_')}_ms": distribution.percentile_ms(percentile)
        for name, percentile in PERCENTILES.items()
    }


def _read_back(found: ReadBackResult) -> dict[str, Any]:
    reasons = {"different": found.different, "unprocessed": found.unprocessed, "unread": found.unread}
    return {
        "acknowledged": found.acknowledged,
        "read": found.read,
        "lost_ids": found.lost,
        **{kind: {str(one): reason for one, reason in orders.items()} for kind, orders in reasons.items()},
        "statuses": dict(found.statuses),
        "total_amount": f"{found.total_amount:f}",
    }
