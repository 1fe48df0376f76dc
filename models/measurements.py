"""What servers have measured in intervals of time, for charts of the last hour and day. Values are immutable."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

MAX_INTERVALS = 720
"""How many of the newest intervals of each length are stored: a day of intervals of 120 s, two hours of 10 s."""
MAX_AHEAD_S = 86_400
"""Intervals that begin more than this number of seconds after the current time are not stored. Somebody has set the
wall clock back."""


class Measures(Struct, frozen=True, array_like=True):
    """What a server has measured in `seconds` seconds.

    `accepted` and `completed` count the orders of all servers. `pending` and `processing` are the highest numbers of
    orders of all servers in these statuses. `ack` and `attempts` count the durations that this server has measured, by
    the step of the histogram (`handlers/metrics/histogram.py`).
    """

    seconds: float
    accepted: int
    completed: int
    pending: int
    processing: int
    ack: dict[int, int]
    attempts: dict[int, int]


class Measurement(Struct, frozen=True):
    """The measures of one server process in the interval of `interval_s` seconds that begins at `begin_s`.

    `begin_s` is a multiple of `interval_s`, in seconds since 1970, UTC. `process` is different for each process.
    """

    interval_s: int
    begin_s: int
    process: str
    measures: Measures


def combine(parts: Iterable[Measures]) -> Measures:
    """The measures of several parts of an interval, or of several servers in the same interval.

    Rates that are computed from the result are averages.
    """
    all_parts = list(parts)
    return Measures(
        sum(part.seconds for part in all_parts),
        sum(part.accepted for part in all_parts),
        sum(part.completed for part in all_parts),
        max(part.pending for part in all_parts),
        max(part.processing for part in all_parts),
        _sum_counts([part.ack for part in all_parts]),
        _sum_counts([part.attempts for part in all_parts]),
    )


def encode_measurements(measurements: Sequence[Measurement]) -> str:
    """Encodes measurements as JSON: `[[interval_s, begin_s, process, measures], …]`, with `measures` as a string."""
    rows = [
        (each.interval_s, each.begin_s, each.process, msgspec.json.encode(each.measures).decode())
        for each in measurements
    ]
    return msgspec.json.encode(rows).decode()


def decode_measurements(text: str) -> list[Measurement]:
    """Decodes what `encode_measurements` encoded. Leaves out measures of an unknown version."""
    found = []
    for interval_s, begin_s, process, measures in _decode_rows(text):
        try:
            found.append(Measurement(interval_s, begin_s, process, _decode_measures(measures)))
        except msgspec.DecodeError:
            continue
    return found


def _sum_counts(counts: Sequence[dict[int, int]]) -> dict[int, int]:
    total: Counter[int] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)


_decode_rows = msgspec.json.Decoder(list[tuple[int, int, str, str]]).decode
_decode_measures = msgspec.json.Decoder(Measures).decode
