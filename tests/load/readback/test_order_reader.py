"""Tests what the command reports about wrong orders when it waits for the processing and reads orders back."""

import re
import subprocess
import sys

import pytest

from tests.load.conftest import SHORT_TIMEOUTS, TIMEOUTS, Load
from tests.load.shop import Fault, Shop
from tests.process import HANGS_AFTER_S, ROOT

VALUES = {
    "order_id": b"99",
    "user_id": b"0",
    "item_ids": b"[1, 1]",
    "total_amount": b"0.0001",
    "metadata": b'{"added": 1}',
}


def test_an_order_that_was_accepted_and_is_gone_is_lost(load: Load, shop: Shop) -> None:
    shop.faults[7] = Fault.LOSE
    outcome = load("--orders", "10")
    assert outcome.status == 1
    assert "Read back 9 of 10 acknowledged orders: 1 LOST (7), none different" in outcome.out
    assert outcome.json["read_back"]["lost_ids"] == [7]
    assert outcome.json["passed"] is False


@pytest.mark.parametrize("name", VALUES)
def test_a_changed_value_is_noticed(name: str, load: Load, shop: Shop) -> None:
    shop.altered[3] = {name: VALUES[name]}
    outcome = load("--orders", "5")
    assert outcome.status == 1
    assert re.search(rf"none lost, 1 DIFFERENT \(3: {name} is .*, sent .*\), all processed", outcome.out)
    assert list(outcome.json["read_back"]["different"]) == ["3"]


def test_only_the_first_lost_orders_are_named(load: Load, shop: Shop) -> None:
    shop.faults = dict.fromkeys(range(1, 21), Fault.LOSE)
    assert "20 LOST (1; 2; 3; 4; 5; and 15 more)" in load("--orders", "30", "--concurrency", "1").out


def test_an_order_that_never_gets_processed_is_noticed(load: Load, shop: Shop) -> None:
    shop.statuses[4] = "Processing"
    shop.waiting = [0, 1]
    outcome = load("--orders", "10", timeouts=TIMEOUTS)
    assert outcome.status == 1
    assert "none different, 1 NOT PROCESSED (4: Processing) (9 Completed, 1 Processing)" in outcome.out
    assert outcome.json["all_processed_after_s"] is None


def test_failed_and_cancelled_orders_are_processed_orders(load: Load, shop: Shop) -> None:
    shop.statuses = {1: "Failed", 2: "Cancelled"}
    outcome = load("--orders", "3")
    assert outcome.status == 0
    assert outcome.json["read_back"]["statuses"] == {"Failed": 1, "Cancelled": 1, "Completed": 1}


def test_it_waits_while_the_backlog_shrinks(load: Load, shop: Shop) -> None:
    shop.waiting = [0, 3, 2, 1, 0]
    assert load("--orders", "3").status == 0
    assert shop.waiting == [0]


@pytest.mark.parametrize("has_metrics", [True, False])
def test_the_orders_decide_when_all_are_processed(has_metrics: bool, load: Load, shop: Shop) -> None:
    shop.has_metrics = has_metrics
    shop.becomes_final_after = {2: 3}
    outcome = load("--orders", "5")
    assert outcome.status == 0
    assert outcome.json["all_processed_after_s"] > outcome.json["elapsed_s"]


@pytest.mark.slow
def test_metrics_that_never_answer_give_no_time(load: Load, shop: Shop) -> None:
    shop.holds_metrics = True
    outcome = load("--orders", "5", timeouts=SHORT_TIMEOUTS)
    assert outcome.status == 0
    assert outcome.json["all_processed_after_s"] is None
    assert re.search(r"all processed after +│ +- ", outcome.out)


def test_a_backlog_that_stops_changing_gives_no_time(load: Load, shop: Shop) -> None:
    shop.waiting = [0, 7]
    outcome = load("--orders", "5", timeouts=TIMEOUTS)
    assert (outcome.status, outcome.json["all_processed_after_s"]) == (0, None)


def test_a_run_without_accepted_orders_has_no_time_of_processing(load: Load, shop: Shop) -> None:
    shop.refusals = dict.fromkeys(range(1, 6), 503)
    assert load("--orders", "5").json["all_processed_after_s"] is None


def test_lost_orders_are_not_called_processed(load: Load, shop: Shop) -> None:
    shop.faults = dict.fromkeys(range(1, 3), Fault.LOSE)
    assert "Read back 0 of 2 acknowledged orders: 2 LOST (1; 2), none different.\n" in load("--orders", "2").out


def test_texts_from_the_server_can_t_control_the_terminal(load: Load, shop: Shop) -> None:
    shop.altered[1] = {"status": b'"\\u001b[2J' + b"x" * 500 + b'"'}
    out = load("--orders", "2", timeouts=TIMEOUTS).out
    assert r"1 NOT PROCESSED (1: \x1b[2Jxxx" in out
    assert "\x1b[2J" not in out
    assert "x" * 201 not in out


@pytest.mark.slow
def test_reading_back_respects_the_limit_on_open_files(shop: Shop) -> None:
    command = [sys.executable, "-m", "load", "--url", shop.url, "--orders", "300", "--concurrency", "4"]
    run = subprocess.run(
        ["sh", "-c", 'ulimit -n 60; exec "$@"', "sh", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER_S,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "Read back 300 of 300 acknowledged orders: none lost" in run.stdout
    assert shop.connections <= 4 + 40 + 2


def test_huge_amounts_in_the_answers_do_not_end_a_run(load: Load, shop: Shop) -> None:
    shop.altered = {2: {"total_amount": b"9e999999"}, 3: {"total_amount": b"1E+9999"}}
    outcome = load("--orders", "4")
    assert outcome.status == 1
    assert outcome.json["read_back"]["different"].keys() == {"2", "3"}
    assert "total_amount is 9E+999999, sent " in outcome.out
