"""What servers have measured for charts, for every kind of store."""

from models.measurements import (
    MAX_AHEAD_S,
    MAX_INTERVALS,
    Measurement,
    Measures,
    combine,
    decode_measurements,
    encode_measurements,
)
from tests.models.engines import Engine
from tests.models.samples import Clock, new_order
from tests.models.shorthand_store import ShorthandStore

NOW_S = 1_740_830_400
QUIET = Measures(10.0, 0, 0, 0, 0, {}, {})
BUSY = Measures(9.75, 1_000, 990, 12, 8, {3: 500, 47: 500}, {0: 1})


def measurement(begin_s: int, measures: Measures = QUIET, *, interval_s: int = 10, process: str = "a") -> Measurement:
    return Measurement(interval_s, begin_s, process, measures)


def test_a_new_database_has_no_measurements(store: ShorthandStore) -> None:
    assert store.measurements() == []


def test_measurements_are_read_as_they_were_saved(store: ShorthandStore) -> None:
    saved = [
        measurement(NOW_S - 10),
        measurement(NOW_S, BUSY),
        measurement(NOW_S, QUIET, process="b"),
        measurement(NOW_S, BUSY, interval_s=120),
    ]
    store.save_measurements(saved[::-1], now_s=NOW_S)
    assert store.measurements() == saved
    assert store.measurements(since_s=NOW_S) == saved[1:]
    assert store.measurements(since_s=NOW_S + 1) == []


def test_a_later_measurement_of_the_same_interval_and_process_replaces_the_earlier_one(store: ShorthandStore) -> None:
    store.save_measurements([measurement(NOW_S, QUIET), measurement(NOW_S, QUIET, process="b")], now_s=NOW_S)
    store.save_measurements([measurement(NOW_S, BUSY)], now_s=NOW_S)
    assert store.measurements() == [measurement(NOW_S, BUSY), measurement(NOW_S, QUIET, process="b")]


def test_measurements_that_are_too_old_or_too_far_in_the_future_are_deleted(store: ShorthandStore) -> None:
    oldest = [measurement(NOW_S - MAX_INTERVALS * each, interval_s=each) for each in (10, 120)]
    newest = measurement(NOW_S + MAX_AHEAD_S)
    expired = [measurement(each.begin_s - each.interval_s, interval_s=each.interval_s) for each in oldest]
    ahead = measurement(newest.begin_s + 10)
    store.save_measurements([*oldest, newest, *expired, ahead], now_s=NOW_S)
    store.save_measurements([], now_s=NOW_S)
    assert store.measurements() == [oldest[0], newest, oldest[1]]


def test_a_restart_keeps_the_measurements(engine: Engine, clock: Clock) -> None:
    engine.open(clock).save_measurements([measurement(NOW_S, BUSY)], now_s=NOW_S)
    assert engine.open(clock).measurements(since_s=NOW_S) == [measurement(NOW_S, BUSY)]


def test_measurements_do_not_change_orders(store: ShorthandStore) -> None:
    store.insert(new_order(1))
    before = store.totals(), store.find_one(1)
    store.save_measurements([measurement(NOW_S, BUSY)], now_s=NOW_S)
    assert (store.totals(), store.find_one(1)) == before


def test_combined_measures_have_averages_peaks_and_all_durations() -> None:
    other = Measures(0.25, 24, 5, 3, 9, {3: 1, 4: 2}, {})
    assert combine([BUSY, other]) == Measures(10.0, 1_024, 995, 12, 9, {3: 501, 4: 2, 47: 500}, {0: 1})


def test_measures_of_an_unknown_version_are_left_out() -> None:
    known = measurement(NOW_S, BUSY)
    text = encode_measurements([known])
    for measures in ("", "{}", "[1]", "null"):
        assert decode_measurements(f'[[10,{NOW_S},"b","{measures}"],{text[1:]}') == [known]
