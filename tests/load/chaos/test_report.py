"""Tests the plan of faults, the findings of a run, and the lines that report them."""

from collections import Counter
from dataclasses import replace

import pytest

from load.chaos.faults import (
    NODES,
    POSTGRESQL,
    SQLITE,
    WEBHOOK,
    Crash,
    Cut,
    FaultKind,
    FaultMix,
    Isolation,
    ReceiverFault,
)
from load.chaos.plan import MAX_KILLS_DURING_HANG, plan_faults
from load.chaos.report import (
    BALANCER,
    CLAIM_SENT_TWICE,
    DIFFERING,
    MISSING,
    REPEATED,
    STUCK,
    TOTALS,
    UNDELIVERED,
    UNKNOWN,
    WRONG,
    Findings,
    Outcome,
    format_outcome,
)
from load.results.outages import Outage
from tests.cases import cases

SEEDS = range(1, 20)
LINES = {
    (MISSING, ""): "record: missing: 77, 78",
    (DIFFERING, "user_id is 2, sent 1"): "record: differing: 2 x user_id is 2, sent 1: 77, 78",
    (STUCK, "Failed"): "record: stuck: 2 x Failed: 77, 78",
    (UNDELIVERED, ""): "record: undelivered: 77, 78",
    (REPEATED, "delivered 2 times, claimed 1 times"): (
        "record: delivered twice: 2 x delivered 2 times, claimed 1 times: 77, 78"
    ),
    (CLAIM_SENT_TWICE, "sent 2 times, claimed 1 times"): (
        "record: claims sent twice: 2 x sent 2 times, claimed 1 times: 77, 78"
    ),
    (UNKNOWN, ""): "record: unknown orders: 77, 78",
    (WRONG, "a new order got 500"): "record: wrong answers: 2 x a new order got 500: 77, 78",
    (TOTALS, "totals has 1"): "record: totals that differ: 2 x totals has 1: 77, 78",
}
JSON_KEYS = {
    *("shop", "acknowledged", "missing", "differing", "stuck", "undelivered", "delivered_twice"),
    "claims_sent_twice",
    *("strangers", "wrong_answers", "totals_that_differ", "found"),
}


def good_findings() -> Findings:
    return Findings(target="record", acknowledged=3, is_inspected=True)


def test_findings_without_problems_pass() -> None:
    assert good_findings().passed
    assert Outcome(findings=[good_findings()]).passed


@pytest.mark.parametrize("findings", [Findings(target="record", is_inspected=True), Findings(target="record")])
def test_findings_without_acknowledged_orders_or_an_inspection_do_not_pass(findings: Findings) -> None:
    assert not findings.passed


@cases(("row", "text"), LINES)
def test_every_problem_fails_the_run_and_is_named(row: str, text: str) -> None:
    found = good_findings()
    found.add(row, text, 78)
    found.add(row, text, 77)
    assert not found.passed
    assert [*found.lines] == found.to_json()["found"] == [LINES[row, text]]


def test_only_the_first_ten_orders_are_named() -> None:
    found = good_findings()
    found.add_orders(MISSING, dict.fromkeys(range(1, 21), ""))
    assert [*found.lines] == ["record: missing: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ..."]


def test_an_order_that_is_found_twice_counts_once() -> None:
    found = good_findings()
    found.add(STUCK, "Failed", 6)
    found.add_orders(STUCK, {6: "Pending", 7: "Processing"})
    assert found.problems[STUCK] == [("Failed", 6), ("Processing", 7)]


def test_an_order_id_of_zero_is_not_named() -> None:
    found = good_findings()
    found.add(WRONG, "integrity_check: bad")
    assert [*found.lines] == ["record: wrong answers: 1 x integrity_check: bad"]


def test_uninspected_servers_are_named_with_their_problems() -> None:
    found = Findings(target="record", acknowledged=1234)
    found.add(WRONG, "a new order got 500", 7)
    outcome = Outcome(findings=[found], is_interrupted=True)
    assert [*format_outcome(outcome, plan_faults(1, 1))][-2:] == [
        "record: wrong answers: 1 x a new order got 500: 7",
        "record: 1,234 orders were acknowledged and not read back",
    ]


MIXES = {"sqlite": SQLITE, "postgresql": POSTGRESQL, "nodes": NODES}


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
def test_the_json_has_all_kinds_of_faults_and_all_counts(mix: FaultMix) -> None:
    outcome = Outcome(findings=[good_findings()], mix=mix)
    outcome.made[FaultKind.KILL] += 1
    outcome.client_errors[FaultKind.KILL, "503s"] += 5
    result = outcome.to_json(plan_faults(1, len(mix.kinds), mix), seed=1)
    assert [*result["faults"]] == [kind.value for kind in FaultKind if kind in mix.kinds]
    assert result["faults"]["kill"] == {
        "planned": 3,
        "made": 1,
        "not_made": None,
        "503s": 5,
        "dropped": 0,
        "refused": 0,
        **({BALANCER: 0} if mix is NODES else {}),
    }
    assert result["shops"][0].keys() == JSON_KEYS
    assert result["passed"]


def test_a_fault_that_the_machine_can_not_make_is_reported_and_passes() -> None:
    outcome = Outcome(findings=[good_findings()], impossible={FaultKind.READ_ONLY: "unshare failed"})
    plan = plan_faults(1, len(SQLITE.kinds))
    lines = [*format_outcome(outcome, plan)]
    assert "read-only was not made: unshare failed" in lines
    assert lines[-1] == "Nothing was lost, and nothing was wrong."
    assert outcome.to_json(plan, seed=1)["faults"]["read-only"]["not_made"] == "unshare failed"


def test_the_faults_follow_from_the_seed() -> None:
    assert plan_faults(7, 50) == plan_faults(7, 50)
    assert plan_faults(7, 50) != plan_faults(8, 50)


def test_a_longer_run_begins_with_the_faults_of_a_shorter_one() -> None:
    assert plan_faults(7, 50)[:20] == plan_faults(7, 20)


@cases("seed", SEEDS)
def test_a_short_run_has_every_kind(seed: int) -> None:
    planned = {name: {fault.kind for fault in plan_faults(seed, len(mix.kinds), mix)} for name, mix in MIXES.items()}
    assert planned == {name: {*mix.kinds} for name, mix in MIXES.items()}
    assert planned["sqlite"] | planned["nodes"] == {*FaultKind}


@cases("seed", SEEDS)
def test_three_hundred_faults_have_every_kind_at_least_five_times(seed: int) -> None:
    for mix in MIXES.values():
        kinds = Counter(fault.kind for fault in plan_faults(seed, 300, mix))
        assert min(kinds[kind] for kind in mix.kinds) >= 5


@cases("seed", SEEDS)
def test_steps_of_the_clock_are_longer_than_the_longest_delay(seed: int) -> None:
    hours = [fault.count for fault in plan_faults(seed, 300) if fault.kind is FaultKind.CLOCK]
    assert all(2 <= abs(each) <= 48 for each in hours)
    assert min(hours) < 0 < max(hours)


@cases("seed", SEEDS)
def test_faults_have_the_documented_lengths(seed: int) -> None:
    assert all(0 <= fault.pause_s <= 5 for fault in plan_faults(seed, 100, POSTGRESQL))
    for fault in plan_faults(seed, 100):
        assert 0 <= fault.pause_s <= 3
        if fault.kind in (FaultKind.FREEZE, FaultKind.FULL_DISK, FaultKind.RECEIVER):
            assert 0.5 <= fault.length_s <= 3
        if fault.kind is FaultKind.LOCK:
            assert 0.2 <= fault.length_s <= 3 or fault.length_s == 12
        if fault.kind is FaultKind.RECEIVER:
            assert fault.target == WEBHOOK


@cases("seed", SEEDS)
def test_one_of_several_servers_is_frozen_or_cut_off_for_about_its_lease_of_five_seconds(seed: int) -> None:
    faults = plan_faults(seed, 200, NODES, nodes=3)
    lengths = [fault.length_s for fault in faults if fault.kind in (FaultKind.FREEZE, FaultKind.ISOLATE)]
    assert 4 <= min(lengths) < 5 < max(lengths) <= 8
    assert {fault.detail for fault in faults if fault.kind is FaultKind.ISOLATE} == {each.value for each in Isolation}


def test_faults_reach_each_server_and_their_number_changes_nothing_else() -> None:
    faults = plan_faults(1, 50, NODES, nodes=3)
    assert {fault.node for fault in faults} == {0, 1, 2}
    assert [replace(fault, node=0) for fault in faults] == plan_faults(1, 50, NODES)


def test_with_several_servers_the_longest_wait_and_the_responses_of_the_load_balancer_are_printed() -> None:
    findings = [good_findings(), Findings(target="webhook", acknowledged=1, is_inspected=True)]
    findings[0].longest_wait_s, findings[1].longest_wait_s = 5.3, 12.0
    outcome = Outcome(findings=findings, mix=NODES)
    outcome.client_errors[FaultKind.KILL, BALANCER] = 1234
    lines = [" ".join(line.split()) for line in format_outcome(outcome, plan_faults(1, 32, NODES))]
    assert "fault made 503s dropped refused balancer" in lines
    assert "kill 0 of 3 0 0 0 1,234" in lines
    assert "longest wait 5.3 s 12.0 s" in lines
    result = outcome.to_json(plan_faults(1, 1, NODES), seed=1)
    assert [shop["longest_wait_seconds"] for shop in result["shops"]] == [5.3, 12.0]


def test_the_median_and_the_longest_outage_of_failovers_are_reported() -> None:
    findings = [good_findings(), Findings(target="webhook", acknowledged=1, is_inspected=True)]
    findings[0].outages += [Outage(from_kill_s=seconds, from_promotion_s=0.25, longest_gap_s=5) for seconds in (1, 3)]
    findings[1].outages.append(Outage(from_kill_s=12, from_promotion_s=0.75, longest_gap_s=12.5))
    outcome = Outcome(findings=findings, mix=NODES)
    plan = plan_faults(1, 1, NODES)
    lines = [" ".join(line.split()) for line in format_outcome(outcome, plan)]
    at = lines.index("failovers (3) median longest")
    assert lines[at + 1 : at + 4] == [
        "from kill to 202 3.0 s 12.0 s",
        "from promotion to 202 0.2 s 0.8 s",
        "longest time without 202 5.0 s 12.5 s",
    ]
    assert outcome.to_json(plan, seed=1)["failovers"] == {
        "count": 3,
        "from_kill_seconds": {"median": 3, "longest": 12},
        "from_promotion_seconds": {"median": 0.25, "longest": 0.75},
        "longest_gap_seconds": {"median": 5, "longest": 12.5},
    }


def test_a_run_without_failovers_reports_none() -> None:
    outcome = Outcome(findings=[good_findings()], mix=NODES)
    assert not any("failover" in line for line in format_outcome(outcome, []))
    assert "failovers" not in outcome.to_json([], seed=1)


@cases("seed", SEEDS)
def test_every_plan_has_kills_while_the_receiver_hangs(seed: int) -> None:
    hanging = [fault for fault in plan_faults(seed, len(SQLITE.kinds)) if fault.detail == ReceiverFault.HANG.value]
    assert [fault.target for fault in hanging] == [WEBHOOK]
    assert 1 <= hanging[0].count <= MAX_KILLS_DURING_HANG


@cases("seed", SEEDS)
def test_a_run_of_three_groups_has_every_receiver_fault(seed: int) -> None:
    faults = plan_faults(seed, 3 * len(SQLITE.kinds))
    assert {fault.detail for fault in faults if fault.kind is FaultKind.RECEIVER} == {
        fault.value for fault in ReceiverFault
    }


def test_postgresql_crashes_in_both_ways_and_loses_connections_in_both_ways() -> None:
    faults = plan_faults(1, 100, POSTGRESQL)
    details = {
        kind: {fault.detail for fault in faults if fault.kind is kind} for kind in (FaultKind.CRASH, FaultKind.CUT)
    }
    assert details == {
        FaultKind.CRASH: {crash.value for crash in Crash},
        FaultKind.CUT: {cut.value for cut in Cut},
    }


def test_a_few_crashes_and_failovers_outlast_the_deadline_of_ten_seconds_and_a_few_stalls_the_time_out_of_three() -> (
    None
):
    for kind, limit_s in ((FaultKind.CRASH, 10), (FaultKind.FAILOVER, 10), (FaultKind.STALL, 3)):
        lengths = [fault.length_s for fault in plan_faults(1, 1000, NODES) if fault.kind is kind]
        assert 0 < sum(length_s > limit_s for length_s in lengths) < len(lengths)


def test_a_few_locks_outlast_the_deadline_of_ten_seconds() -> None:
    locks = [fault.length_s for fault in plan_faults(1, 1000) if fault.kind is FaultKind.LOCK]
    assert 0 < sum(length_s > 10 for length_s in locks) < len(locks) / 4
