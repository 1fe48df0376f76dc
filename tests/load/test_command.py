"""The command as a whole: what it says of a server that keeps its promises, and of one that doesn't."""

import os
import re
import signal
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path

import pytest
from tornado.testing import bind_unused_port

from load.command import main
from load.orders import GeneratedOrders, first_id_from_clock
from load.patience import Patience
from tests.load.conftest import IMPATIENT, Load
from tests.load.shop import DEADLINE_S, Fault, Shop

ROOT = Path(__file__).resolve().parents[2]
VALUES = {
    "order_id": b"99",
    "user_id": b"0",
    "item_ids": b"[1, 1]",
    "total_amount": b"0.0001",
    "metadata": b'{"added": 1}',
}


def test_every_order_is_sent_once_read_back_and_summed(load: Load, shop: Shop) -> None:
    outcome = load("--orders", "300", "--concurrency", "20")
    generated = GeneratedOrders(first_id=1, count=300)
    total = sum((Decimal(str(generated.order(index)["total_amount"])) for index in range(300)), Decimal(0))
    assert outcome.status == 0
    assert sorted(shop.ids) == list(range(1, 301))
    assert (
        "Read back 300 of 300 acknowledged orders: none lost, none different, all processed (300 Completed). "
        f"Sum of total_amount: {total:f}\n" in outcome.out
    )
    assert shop.connections <= 20 + 64 + 2
    assert outcome.err == ""


def test_without_flags_a_thousand_clients_connect_at_once_even_where_1024_files_are_the_limit(shop: Shop) -> None:
    run = subprocess.run(
        ["sh", "-c", 'ulimit -n 1024; exec "$@"', "sh", sys.executable, "-m", "load", "--url", shop.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "Read back 1000 of 1000 acknowledged orders: none lost" in run.stdout
    assert shop.connections >= 1000
    assert len(set(shop.ids)) == 1000


def test_ids_differ_from_run_to_run() -> None:
    now_ns = 1_700_000_000_000_000_000
    first = first_id_from_clock(lambda: now_ns)
    assert first_id_from_clock(lambda: now_ns + 1_000_000_000) - first == 1_000_000
    assert first < 2**53


def test_two_runs_without_a_first_id_share_no_order(load: Load, shop: Shop) -> None:
    for _ in range(2):
        assert main(["--url", shop.url, "--orders", "50"], patience=IMPATIENT) == 0
    assert len(set(shop.ids)) == 100


def test_the_same_orders_again_are_duplicates_and_that_is_fine(load: Load) -> None:
    load("--orders", "10")
    outcome = load("--orders", "10")
    assert (outcome.status, outcome.json["accepted"], outcome.json["duplicates"]) == (0, 0, 10)
    assert outcome.json["read_back"]["read"] == 10


def test_an_order_that_was_accepted_and_is_gone_is_lost(load: Load, shop: Shop) -> None:
    shop.faults[7] = Fault.LOSE
    outcome = load("--orders", "10")
    assert outcome.status == 1
    assert "Read back 9 of 10 acknowledged orders: 1 LOST (7), none different" in outcome.out
    assert outcome.json["read_back"]["lost_ids"] == [7]
    assert outcome.json["passed"] is False


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_came_back_another_is_noticed(name: str, load: Load, shop: Shop) -> None:
    shop.altered[3] = {name: VALUES[name]}
    outcome = load("--orders", "5")
    assert outcome.status == 1
    assert re.search(rf"none lost, 1 DIFFERENT \(3: {name} is .*, sent .*\), all processed", outcome.out)
    assert list(outcome.json["read_back"]["different"]) == ["3"]


def test_only_the_first_few_of_many_are_named(load: Load, shop: Shop) -> None:
    shop.faults = dict.fromkeys(range(1, 21), Fault.LOSE)
    assert "20 LOST (1; 2; 3; 4; 5; and 15 more)" in load("--orders", "30", "--concurrency", "1").out


def test_an_order_that_never_gets_processed_is_noticed(load: Load, shop: Shop) -> None:
    shop.statuses[4] = "Processing"
    shop.waiting = [1]
    outcome = load("--orders", "10")
    assert outcome.status == 1
    assert "none different, 1 NOT PROCESSED (4: Processing) (9 Completed, 1 Processing)" in outcome.out
    assert outcome.json["all_processed_after_s"] is None


def test_failed_and_cancelled_orders_are_processed_orders(load: Load, shop: Shop) -> None:
    shop.statuses = {1: "Failed", 2: "Cancelled"}
    outcome = load("--orders", "3")
    assert outcome.status == 0
    assert outcome.json["read_back"]["statuses"] == {"Failed": 1, "Cancelled": 1, "Completed": 1}


def test_it_waits_while_the_backlog_shrinks(load: Load, shop: Shop) -> None:
    shop.waiting = [3, 3, 2, 1, 0]
    assert load("--orders", "3").status == 0
    assert shop.waiting == [0]


@pytest.mark.parametrize("has_metrics", [True, False])
def test_the_metrics_are_a_hint_and_the_orders_decide(has_metrics: bool, load: Load, shop: Shop) -> None:
    shop.has_metrics = has_metrics
    shop.becomes_final_after = {2: 3}
    outcome = load("--orders", "5")
    assert outcome.status == 0
    assert outcome.json["all_processed_after_s"] > outcome.json["elapsed_s"]


def test_refused_orders_are_listed_by_status_and_don_t_fail_the_run(load: Load, shop: Shop) -> None:
    shop.refusals = {1: 503, 2: 409, 3: 409}
    outcome = load("--orders", "10")
    assert outcome.status == 0
    assert (outcome.json["accepted"], outcome.json["refused"]) == (7, 3)
    assert outcome.json["refused_by_status"] == {"409": 2, "503": 1}
    assert re.search(r"status 409 +│ +2 ", outcome.out)


def test_a_run_of_which_nothing_was_accepted_fails(load: Load, shop: Shop) -> None:
    shop.refusals = dict.fromkeys(range(1, 6), 503)
    outcome = load("--orders", "5")
    assert outcome.status == 1
    assert "Nothing was accepted" in outcome.out


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.CUT, "connection closed in the middle of the answer"),
        (Fault.STALL, "no answer within 0.3 s"),
        (Fault.CHUNK, "a chunked answer, which the load generator does not read"),
        (Fault.NAME_ANOTHER, "a 202 that names another order"),
    ],
)
def test_a_missing_or_unreadable_answer_costs_one_order(fault: Fault, reason: str, load: Load, shop: Shop) -> None:
    shop.faults[2] = fault
    outcome = load("--orders", "6", "--concurrency", "2")
    assert outcome.json["errors_by_reason"] == {reason: 1}
    assert (outcome.status, outcome.json["accepted"], outcome.json["not_sent"]) == (0, 5, 0)


def test_answers_that_come_byte_by_byte_are_whole_answers(load: Load, shop: Shop) -> None:
    shop.single_bytes = True
    outcome = load("--orders", "5")
    assert (outcome.status, outcome.json["accepted"]) == (0, 5)


def test_a_server_without_keep_alive_gets_a_connection_a_request(load: Load, shop: Shop) -> None:
    shop.closes = True
    outcome = load("--orders", "20", "--concurrency", "2")
    assert (outcome.status, outcome.json["accepted"], outcome.json["errors"]) == (0, 20, 0)
    assert shop.connections >= 40


def test_a_server_that_goes_away_ends_the_run_with_what_it_had(load: Load, shop: Shop) -> None:
    shop.faults[50] = Fault.VANISH
    outcome = load("--orders", "1000", "--concurrency", "4")
    result = outcome.json
    assert outcome.status == 1
    assert result["errors"] > 0
    assert result["accepted"] + result["errors"] + result["not_sent"] == 1000
    assert result["errors_by_reason"]["connection refused"] >= 1
    assert f"Read back 0 of {result['accepted']} acknowledged orders" in outcome.out
    assert f"{result['accepted']} COULD NOT BE READ" in outcome.out


def test_a_server_that_restarts_costs_only_the_orders_under_way(load: Load, shop: Shop) -> None:
    shop.faults[50] = Fault.RESTART
    outcome = load("--orders", "200", "--concurrency", "4", patience=Patience(connection_s=DEADLINE_S))
    assert outcome.status == 0
    assert outcome.json["accepted"] >= 196
    assert outcome.json["accepted"] + outcome.json["errors"] == 200


def test_a_server_that_answers_nothing_ends_the_run(load: Load, shop: Shop) -> None:
    shop.faults = dict.fromkeys(range(1, 101), Fault.STALL)
    outcome = load("--orders", "100", "--concurrency", "2")
    assert outcome.status == 1
    assert (outcome.json["sent"], outcome.json["not_sent"]) == (2, 98)


def test_no_server_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    unused, port = bind_unused_port()
    unused.close()
    assert main(["--url", f"http://127.0.0.1:{port}"]) == 1
    assert capsys.readouterr() == ("", f"python -m load: No server at http://127.0.0.1:{port}: connection refused\n")


def test_ctrl_c_prints_what_it_has(load: Load, shop: Shop) -> None:
    shop.faults[20] = Fault.STALL

    def interrupt() -> None:
        assert shop.stalled.wait(DEADLINE_S)
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    outcome = load("--orders", "100", "--concurrency", "1", patience=Patience())
    interrupter.join(DEADLINE_S)
    assert outcome.status == 130
    assert re.search(r"accepted +│ +19 ", outcome.out)
    assert "Interrupted" in outcome.out
    assert (outcome.json["errors_by_reason"], outcome.json["not_sent"]) == ({"interrupted": 1}, 80)
    assert (outcome.json["interrupted"], outcome.json["accepted"], outcome.json["read_back"]) == (True, 19, None)


def test_the_json_file_has_all_of_the_table(load: Load) -> None:
    result = load("--orders", "100", "--concurrency", "10").json
    assert (result["sent"], result["accepted"], result["errors"], result["passed"]) == (100, 100, 0, True)
    assert 0 < result["latency_p50_ms"] <= result["latency_p90_ms"] <= result["latency_p99_ms"]
    assert result["latency_p99_ms"] <= result["latency_p99_9_ms"] <= result["latency_max_ms"]
    assert result["orders_per_second"] == pytest.approx(100 / result["elapsed_s"])
    assert result["all_processed_after_s"] >= result["elapsed_s"]
    assert result["generator_was_the_limit"] is (result["generator_cpu_share"] > 0.9)


def test_a_json_file_that_can_t_be_written_fails_the_run(load: Load) -> None:
    outcome = load("--orders", "1", "--json", "/dev/full")
    assert outcome.status == 1
    assert outcome.err == "python -m load: /dev/full can't be written: no space left on device\n"
