"""Which faults follow from a seed."""

import pytest

from load.chaos.plan import DECK, MOST_HANGING_KILLS, WEBHOOK, Kind, Manner, plan_faults

SEEDS = range(1, 20)


def test_the_same_seed_gives_the_same_faults_and_another_one_others() -> None:
    assert plan_faults(7, 50) == plan_faults(7, 50)
    assert plan_faults(7, 50) != plan_faults(8, 50)


def test_a_longer_run_begins_with_the_faults_of_a_shorter_one() -> None:
    assert plan_faults(7, 50)[:20] == plan_faults(7, 20)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_short_run_has_every_kind(seed: int) -> None:
    assert {fault.kind for fault in plan_faults(seed, len(DECK))} == set(Kind)


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_are_as_long_as_they_are_said_to_be(seed: int) -> None:
    for fault in plan_faults(seed, 100):
        assert 0 <= fault.pause_s <= 3
        if fault.kind in (Kind.FREEZE, Kind.FULL_DISK, Kind.RECEIVER):
            assert 0.5 <= fault.length_s <= 3
        if fault.kind is Kind.LOCK:
            assert 0.2 <= fault.length_s <= 3 or fault.length_s == 12
        if fault.kind is Kind.RECEIVER:
            assert fault.shop == WEBHOOK


@pytest.mark.parametrize("seed", SEEDS)
def test_every_plan_kills_the_webhook_s_server_while_the_receiver_hangs(seed: int) -> None:
    hanging = [fault for fault in plan_faults(seed, len(DECK)) if fault.manner == Manner.HANG.value]
    assert [fault.shop for fault in hanging] == [WEBHOOK]
    assert 1 <= hanging[0].count <= MOST_HANGING_KILLS


@pytest.mark.parametrize("seed", SEEDS)
def test_twice_as_long_a_run_has_the_receiver_fail_in_every_manner(seed: int) -> None:
    faults = plan_faults(seed, 2 * len(DECK))
    assert {fault.manner for fault in faults if fault.kind is Kind.RECEIVER} == {manner.value for manner in Manner}


def test_some_locks_outlast_the_deadline_of_ten_seconds_and_most_do_not() -> None:
    locks = [fault.length_s for fault in plan_faults(1, 1000) if fault.kind is Kind.LOCK]
    assert 0 < sum(length_s > 10 for length_s in locks) < len(locks) / 4
