"""Tests arrays of orders: every order is counted, recorded and read back."""

import os
import signal
from pathlib import Path

import pytest

from load.http.connections import Timeouts
from tests.load.conftest import Load
from tests.load.shop import Fault, Shop
from tests.load.steps import meanwhile


def test_orders_are_sent_in_arrays_and_the_last_may_be_smaller(load: Load, shop: Shop) -> None:
    outcome = load("--bulk", "100", "--orders", "250")
    assert (outcome.status, sorted(shop.sizes)) == (0, [50, 100, 100])
    result = outcome.json
    assert (result["bulk"], result["mode"], result["sent"], result["accepted"]) == (100, "closed loop", 250, 250)
    assert result["orders_per_second"] == pytest.approx(250 / result["elapsed_s"])
    assert "Read back 250 of 250 acknowledged orders: none lost" in outcome.out


def test_without_a_number_it_sends_100_requests(load: Load, shop: Shop) -> None:
    assert load("--bulk", "3").json["accepted"] == 300
    assert len(shop.sizes) == 100


def test_a_request_is_due_when_its_first_order_is(load: Load, shop: Shop) -> None:
    result = load("--bulk", "50", "--rate", "2000", "--duration", "0.1").json
    assert (result["accepted"], shop.sizes) == (200, [50] * 4)
    assert result["elapsed_s"] >= 0.07


def test_rejected_orders_are_counted_by_their_own_status(load: Load, shop: Shop) -> None:
    shop.refusals = {2: 409, 7: 422, 8: 422}
    outcome = load("--bulk", "5", "--orders", "10")
    result = outcome.json
    assert (outcome.status, result["accepted"], result["refused_by_status"]) == (0, 7, {"409": 1, "422": 2})
    assert result["read_back"]["acknowledged"] == 7


def test_an_array_without_accepted_orders_acknowledges_nothing(load: Load, shop: Shop) -> None:
    shop.refusals = dict.fromkeys(range(1, 6), 409)
    result = load("--bulk", "5", "--orders", "10").json
    assert (result["accepted"], result["refused_by_status"], result["errors"]) == (5, {"409": 5}, 0)
    assert len(result["timeline"]["orders_per_second"]) >= 1


def test_duplicates_are_counted_by_the_answer_and_all_are_read_back(load: Load) -> None:
    load("--orders", "4")
    result = load("--bulk", "10", "--orders", "10").json
    assert (result["accepted"], result["duplicates"], result["read_back"]["acknowledged"]) == (6, 4, 10)


def test_an_order_that_an_array_s_202_lost_is_found(load: Load, shop: Shop) -> None:
    shop.faults[7] = Fault.LOSE
    outcome = load("--bulk", "5", "--orders", "10")
    assert outcome.status == 1
    assert "Read back 9 of 10 acknowledged orders: 1 LOST (7)" in outcome.out


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b'{"accepted": 4, "duplicates": 0, "rejected": [], "rejected_total": 0}', "a 202 whose counts don't add up"),
        (b'{"accepted": 6, "duplicates": -1, "rejected": [], "rejected_total": 0}', "a 202 whose counts don't add up"),
        (
            b'{"accepted": 4, "duplicates": 0, "rejected": [{"index": 5, "status": 409}], "rejected_total": 1}',
            "a 202 whose counts don't add up",
        ),
        (b'{"accepted": 4, "duplicates": 0, "rejected": [], "rejected_total": 1}', "a 202 whose counts don't add up"),
        (b'{"message": "yes"}', "a 202 that does not count the orders"),
        (b"yes", "a 202 that does not count the orders"),
    ],
)
def test_a_202_whose_counts_don_t_add_up_fails_the_run(answer: bytes, reason: str, load: Load, shop: Shop) -> None:
    shop.answer_to_many = answer
    outcome = load("--bulk", "5", "--orders", "5")
    assert outcome.status == 1
    assert (outcome.json["wrong_202_by_reason"], outcome.json["errors"], outcome.json["passed"]) == (
        {reason: 5},
        0,
        False,
    )
    assert "It is not known which of them were acknowledged, so they are not read back." in outcome.out
    assert "Nothing was accepted" not in outcome.out


def test_a_422_whose_counts_don_t_add_up_promises_nothing(load: Load, shop: Shop) -> None:
    shop.refusals = dict.fromkeys(range(1, 6), 409)
    shop.answer_to_many = b'{"accepted": 0, "duplicates": 0, "rejected": [], "rejected_total": 5}'
    outcome = load("--bulk", "5", "--orders", "10")
    assert outcome.json["errors_by_reason"] == {"a 422 whose counts don't add up": 5}
    assert outcome.json["wrong_202_by_reason"] == {"a 202 whose counts don't add up": 5}


def test_a_file_is_replayed_in_arrays(load: Load, shop: Shop, tmp_path: Path) -> None:
    template = '{"order_id": %d, "user_id": 1, "item_ids": [1], "total_amount": 1.50}\n'
    path = tmp_path / "orders.ndjson"
    path.write_text("".join(template % number for number in range(1, 8)))
    outcome = load("--replay", str(path), "--bulk", "3")
    assert (outcome.status, sorted(shop.sizes), outcome.json["accepted"]) == (0, [1, 3, 3], 7)


def test_ctrl_c_counts_the_orders_under_way(load: Load, shop: Shop) -> None:
    shop.faults[11] = Fault.HOLD

    def interrupt() -> None:
        assert shop.steps.come(("came", 11))
        os.kill(os.getpid(), signal.SIGINT)

    with meanwhile(interrupt):
        outcome = load("--bulk", "10", "--orders", "30", "--concurrency", "1", timeouts=Timeouts())
    assert outcome.status == 130
    result = outcome.json
    assert (result["accepted"], result["errors_by_reason"], result["not_sent"]) == (10, {"interrupted": 10}, 10)
