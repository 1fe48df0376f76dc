"""A point of the dashboard's charts. Values are immutable."""

from msgspec import Struct


class Point(Struct, frozen=True, gc=False):
    """One point: rates in orders per second, counts, durations in seconds. `time` is in seconds since 1970, UTC.

    A point with `seconds` 1 describes the time since the previous point, until `time`. Any other point describes the
    interval of `seconds` seconds that begins at `time`: rates are averages, and `pending` and `processing` are the
    highest numbers. A duration is null if none was measured in that time.
    """

    time: float
    accepted_per_second: float
    completed_per_second: float
    pending: int
    processing: int
    ack_p50_seconds: float | None
    ack_p99_seconds: float | None
    processing_p50_seconds: float | None
    processing_p99_seconds: float | None
    seconds: int
