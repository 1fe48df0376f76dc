"""The plan of faults."""

import pytest

from load.chaos.report import DECK, MAX_KILLS_DURING_HANG, WEBHOOK, FaultKind, ReceiverFault, plan_faults

SEEDS = range(1, 20)


def test_the_faults_follow_from_the_seed() -> None:
    assert plan_faults(7, 50) == plan_faults(7, 50)
    assert plan_faults(7, 50) != plan_faults(8, 50)


def test_a_longer_run_begins_with_the_faults_of_a_shorter_one() -> None:
    assert plan_faults(7, 50)[:20] == plan_faults(7, 20)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_short_run_has_every_kind(seed: int) -> None:
    assert {fault.kind for fault in plan_faults(seed, len(DECK))} == set(FaultKind)


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_have_the_documented_lengths(seed: int) -> None:
    for fault in plan_faults(seed, 100):
        assert 0 <= fault.pause_s <= 3
        if fault.kind in (FaultKind.FREEZE, FaultKind.FULL_DISK, FaultKind.RECEIVER):
            assert 0.5 <= fault.length_s <= 3
        if fault.kind is FaultKind.LOCK:
            assert 0.2 <= fault.length_s <= 3 or fault.length_s == 12
        if fault.kind is FaultKind.RECEIVER:
            assert fault.target == WEBHOOK


@pytest.mark.parametrize("seed", SEEDS)
def test_every_plan_has_kills_while_the_receiver_hangs(seed: int) -> None:
    hanging = [fault for fault in plan_faults(seed, len(DECK)) if fault.detail == ReceiverFault.HANG.value]
    assert [fault.target for fault in hanging] == [WEBHOOK]
    assert 1 <= hanging[0].count <= MAX_KILLS_DURING_HANG


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_of_34_faults_has_every_receiver_fault(seed: int) -> None:
    faults = plan_faults(seed, 2 * len(DECK))
    assert {fault.detail for fault in faults if fault.kind is FaultKind.RECEIVER} == {
        fault.value for fault in ReceiverFault
    }


def test_a_few_locks_outlast_the_deadline_of_ten_seconds() -> None:
    locks = [fault.length_s for fault in plan_faults(1, 1000) if fault.kind is FaultKind.LOCK]
    assert 0 < sum(length_s > 10 for length_s in locks) < len(locks) / 4
