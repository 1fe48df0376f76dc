"""A wrong 202: it fails the run, is not counted as an error, and the order that it meant is read back."""

import re
from pathlib import Path

import pytest

from load.http.connection import Response
from load.orders.comparison import mistake_in
from tests.load.conftest import Load
from tests.load.shop import Fault, Shop


def test_a_202_that_names_another_order_fails_the_run_and_its_order_is_read_back(load: Load, shop: Shop) -> None:
    shop.faults[2] = Fault.NAME_ANOTHER
    outcome = load("--orders", "6", "--concurrency", "2")
    result = outcome.json
    assert (outcome.status, result["passed"]) == (1, False)
    assert (result["wrong_202"], result["wrong_202_by_reason"]) == (1, {"a 202 that names another order": 1})
    assert (result["sent"], result["accepted"], result["errors"]) == (6, 5, 0)
    assert result["read_back"]["acknowledged"] == 6
    assert re.search(r"wrong 202 +│ +1 ", outcome.out)
    assert "A wrong 202 was the answer to 1 order, which fails the run: a 202 is a promise." in outcome.out


def test_an_order_with_a_wrong_202_can_be_lost(load: Load, shop: Shop, tmp_path: Path) -> None:
    shop.answer_to_one = b""
    shop.faults[3] = Fault.LOSE
    page = tmp_path / "page.html"
    outcome = load("--orders", "4", "--report", str(page))
    assert outcome.status == 1
    assert outcome.json["wrong_202_by_reason"] == {"a 202 that names no order": 4}
    assert outcome.json["read_back"]["lost_ids"] == [3]
    assert "Read back 3 of 4 acknowledged orders: 1 LOST (3)" in outcome.out
    assert "Failed: 1 order LOST, 4 with a wrong 202" in page.read_text()


@pytest.mark.parametrize(
    ("body", "mistake"),
    [
        (b'{"order_id": "7"}', ""),
        (b'{"order_id": "8"}', "a 202 that names another order"),
        (b'{"order_id": "77"}', "a 202 that names another order"),
        (b'{"message": "7", "order_id": "8"}', "a 202 that names another order"),
        (b'{"order_id": 7}', "a 202 whose order_id is no string"),
        (b'{"message": "7"', "a 202 that names no order"),
        (b"{}", "a 202 that names no order"),
        (b"[7]", "a 202 that names no order"),
        (b"\xff", "a 202 that names no order"),
        (b"", "a 202 that names no order"),
    ],
)
def test_a_202_names_its_order_as_a_string(body: bytes, mistake: str) -> None:
    assert mistake_in(Response(202, b"", body, True), 7) == mistake
