"""Tests how long clients get no 202 because of a failover."""

import pytest

from load.results.outages import AcceptanceTimes, Outage


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def times_of(*moments_s: float) -> AcceptanceTimes:
    clock = Clock()
    times = AcceptanceTimes(clock)
    for clock.now_s in moments_s:
        times.note()
    return times


KILL, PROMOTION, PROMOTED, RESTORED = 10.0, 12.0, 13.0, 20.0


def outage(*moments_s: float) -> Outage:
    return times_of(*moments_s).outage(killed_s=KILL, promoting_s=PROMOTION, promoted_s=PROMOTED, restored_s=RESTORED)


def test_an_outage_ends_with_the_first_202_after_the_promotion_has_begun() -> None:
    found = outage(1, 9, 9.5, 14, 15, 16, 17, 18, 19, 20, 40, 80)
    assert found == Outage(from_kill_s=4, from_promotion_s=1, longest_gap_s=4.5)


def test_responses_to_commits_before_the_kill_do_not_end_an_outage() -> None:
    assert outage(9, 10.25, 14, 20) == Outage(from_kill_s=4, from_promotion_s=1, longest_gap_s=6)


def test_a_202_can_arrive_before_the_end_of_the_promotion_is_known() -> None:
    assert outage(9, 12.5, 19, 20).from_promotion_s == 0


@pytest.mark.parametrize(
    ("moments_s", "gap_s"),
    [
        ((0, 9, 13.5, 14, 22), 8),  # the commit that waits for the new standby
        ((13.5, 14, 15), 1),  # nothing before the kill
        ((9, 30), 21),  # nothing until after the new standby is back
    ],
)
def test_the_longest_gap_is_between_two_202s_around_the_outage(moments_s: tuple[float, ...], gap_s: float) -> None:
    assert outage(*moments_s).longest_gap_s == gap_s


def test_it_is_known_whether_a_202_has_arrived_since_a_moment() -> None:
    assert not times_of().has_any_since(0)
    assert times_of(1, 2).has_any_since(2)
    assert not times_of(1, 2).has_any_since(2.5)
