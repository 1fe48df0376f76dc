"""Tests sending in a closed loop: counts, batches, wrong responses, and servers that fail during the run."""

import re
import socket
from pathlib import Path

import pytest

from load.http.connections import Timeouts
from tests.load.conftest import SHORT_TIMEOUTS, Load
from tests.load.shop import Fault, Shop
from tests.load.steps import meanwhile
from tests.process import DEADLINE_S

TOO_EARLY_S = 0.02


def test_a_batch_is_sent_at_once_and_waited_for_before_the_next(load: Load, shop: Shop) -> None:
    held = {1: range(1, 6), 7: range(6, 11), 15: range(11, 16), 19: range(16, 21)}
    shop.faults = dict.fromkeys(held, Fault.HOLD)

    def release_late() -> None:
        for order_id, batch in held.items():
            assert shop.steps.come(*(("answered", other) for other in batch if other != order_id))
            assert not shop.steps.come(("came", batch.stop), within_s=TOO_EARLY_S)
            shop.release(order_id)

    with meanwhile(release_late):
        outcome = load("--orders", "20", "--batch", "5", timeouts=Timeouts())
    assert outcome.status == 0
    assert shop.most_outstanding <= 5
    for batch in held.values():
        steps = shop.steps.entries[2 * batch.start - 2 : 2 * batch.stop - 2]
        assert {order_id for what, order_id in steps if what == "came"} == set(batch)
        assert {order_id for what, order_id in steps if what == "answered"} == set(batch)


def test_all_requests_of_a_batch_are_sent_together(load: Load, shop: Shop) -> None:
    shop.faults = dict.fromkeys(range(1, 13), Fault.HOLD)

    def release_when_all_have_come() -> None:
        for batch in (range(1, 5), range(5, 9), range(9, 13)):
            assert shop.steps.come(*(("came", order_id) for order_id in batch))
            shop.release(*batch)

    with meanwhile(release_when_all_have_come):
        load("--orders", "12", "--batch", "4", timeouts=Timeouts())
    assert shop.most_outstanding == 4


def test_the_last_batch_may_be_smaller(load: Load, shop: Shop) -> None:
    assert load("--orders", "7", "--batch", "3").json["accepted"] == 7
    assert shop.most_outstanding <= 3


def test_batches_use_the_same_connections_again(load: Load, shop: Shop) -> None:
    load("--orders", "30", "--batch", "3")
    assert shop.connections <= 3 + 30 + 2


@pytest.mark.parametrize("batch", ["1", "50"])
def test_a_batch_may_be_one_order_or_more_than_there_are(batch: str, load: Load) -> None:
    assert load("--orders", "6", "--batch", batch).json["accepted"] == 6


def test_sending_the_same_orders_again_counts_duplicates(load: Load) -> None:
    load("--orders", "10")
    outcome = load("--orders", "10")
    assert (outcome.status, outcome.json["accepted"], outcome.json["duplicates"]) == (0, 0, 10)
    assert outcome.json["read_back"]["read"] == 10


def test_refused_orders_are_listed_by_status_and_don_t_fail_the_run(load: Load, shop: Shop) -> None:
    shop.refusals = {1: 503, 2: 409, 3: 409}
    outcome = load("--orders", "10")
    assert outcome.status == 0
    assert (outcome.json["accepted"], outcome.json["refused"]) == (7, 3)
    assert outcome.json["refused_by_status"] == {"409": 2, "503": 1}
    assert re.search(r"status 409 +│ +2 ", outcome.out)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.CUT, "connection closed in the middle of the answer"),
        (Fault.CHUNK, "a chunked answer, which the load generator does not read"),
    ],
)
def test_a_missing_or_unreadable_answer_costs_one_order(fault: Fault, reason: str, load: Load, shop: Shop) -> None:
    shop.faults[2] = fault
    outcome = load("--orders", "6", "--concurrency", "2")
    assert outcome.json["errors_by_reason"] == {reason: 1}
    assert (outcome.status, outcome.json["accepted"], outcome.json["not_sent"]) == (0, 5, 0)


def test_answers_may_arrive_byte_by_byte(load: Load, shop: Shop) -> None:
    shop.single_bytes = True
    outcome = load("--orders", "5")
    assert (outcome.status, outcome.json["accepted"]) == (0, 5)


def test_a_server_without_keep_alive_gets_a_connection_a_request(load: Load, shop: Shop) -> None:
    shop.closes = True
    outcome = load("--orders", "20", "--concurrency", "2")
    assert (outcome.status, outcome.json["accepted"], outcome.json["errors"]) == (0, 20, 0)
    assert shop.connections >= 40


@pytest.mark.slow
def test_a_server_that_goes_away_ends_the_run(load: Load, shop: Shop) -> None:
    shop.faults[50] = Fault.VANISH
    outcome = load("--orders", "1000", "--concurrency", "4", timeouts=SHORT_TIMEOUTS)
    result = outcome.json
    assert outcome.status == 1
    assert result["errors"] > 0
    assert result["accepted"] + result["errors"] + result["not_sent"] == 1000
    assert result["errors_by_reason"]["connection refused"] >= 1
    assert f"Read back 0 of {result['accepted']} acknowledged orders" in outcome.out
    assert f"{result['accepted']} COULD NOT BE READ" in outcome.out
    assert re.search(
        r"The server stopped answering 0\.\d s after the start; [\d,]+ orders were not sent\.", outcome.out
    )
    assert "The figures cover only the time before." in outcome.out
    assert result["elapsed_s"] == pytest.approx(result["server_stopped_after_s"])


def test_a_server_that_restarts_costs_only_the_orders_under_way(load: Load, shop: Shop) -> None:
    shop.faults[50] = Fault.VANISH

    def restart() -> None:
        assert shop.steps.come(("gone", 50))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", shop.port))
        shop.come_back()

    with meanwhile(restart):
        outcome = load("--orders", "200", "--concurrency", "4", timeouts=Timeouts(connection_s=DEADLINE_S))
    assert outcome.status == 0
    assert outcome.json["accepted"] >= 196
    assert outcome.json["accepted"] + outcome.json["errors"] == 200


@pytest.mark.slow
def test_a_server_that_answers_nothing_ends_the_run(load: Load, shop: Shop) -> None:
    shop.faults = dict.fromkeys(range(1, 101), Fault.HOLD)
    outcome = load("--orders", "100", "--concurrency", "2", timeouts=SHORT_TIMEOUTS)
    assert outcome.status == 1
    assert (outcome.json["sent"], outcome.json["not_sent"]) == (2, 98)


def test_a_202_that_names_another_order_fails_the_run_and_its_order_is_read_back(load: Load, shop: Shop) -> None:
    shop.faults[2] = Fault.NAME_ANOTHER
    outcome = load("--orders", "6", "--concurrency", "2")
    result = outcome.json
    assert (outcome.status, result["passed"]) == (1, False)
    assert (result["wrong_202"], result["wrong_202_by_reason"]) == (1, {"a 202 that names another order": 1})
    assert (result["sent"], result["accepted"], result["errors"]) == (6, 5, 0)
    assert result["read_back"]["acknowledged"] == 6
    assert re.search(r"wrong 202 +│ +1 ", outcome.out)
    assert "1 order got a wrong 202. This fails the run, because a 202 acknowledges orders." in outcome.out


def test_an_order_with_a_wrong_202_can_be_lost(load: Load, shop: Shop, tmp_path: Path) -> None:
    shop.answer_to_one = b""
    shop.faults[3] = Fault.LOSE
    page = tmp_path / "page.html"
    outcome = load("--orders", "4", "--report", str(page))
    assert outcome.status == 1
    assert outcome.json["wrong_202_by_reason"] == {"a 202 that names no order": 4}
    assert outcome.json["read_back"]["lost_ids"] == [3]
    assert "Read back 3 of 4 acknowledged orders: 1 LOST (3)" in outcome.out
    assert "Failed: 1 LOST, 4 with a wrong 202" in page.read_text()
