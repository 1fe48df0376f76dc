"""Responses that accept orders, and what can be wrong with them."""

import pytest

from load.http.connection import Response
from load.orders.comparison import bulk_fault, post_fault


def _answer(text: bytes, *, head: bytes = b"") -> Response:
    return Response(202, b"http/1.1 202 accepted" + head, text, True)


def test_a_202_for_an_order_that_was_there_before_is_a_fault() -> None:
    assert post_fault(_answer(b"{}")) == ""
    assert post_fault(_answer(b"{}", head=b"\r\nidempotent-replayed: true")) == "an order that was there before"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b'{"accepted": 3, "duplicates": 0, "rejected": [], "rejected_total": 0}', ""),
        (b'{"accepted": 2, "duplicates": 1, "rejected": [], "rejected_total": 0}', "2 accepted of 3"),
        (b'{"accepted": 2, "duplicates": 0, "rejected": [], "rejected_total": 1}', "2 accepted of 3"),
        (b'{"accepted": 3, "duplicates": 0, "rejected": [], "rejected_total": 1}', "3 accepted of 3"),
        (b'{"accepted": 3}', "a 202 that does not count the orders"),
        (b"\xff", "a 202 that does not count the orders"),
    ],
)
def test_a_202_for_many_orders_must_accept_all_of_them(text: bytes, fault: str) -> None:
    assert bulk_fault(_answer(text), size=3) == fault


def test_an_order_that_may_be_there_already_is_no_fault() -> None:
    repeated = _answer(b'{"accepted": 2, "duplicates": 1, "rejected": [], "rejected_total": 0}')
    assert bulk_fault(repeated, size=3, may_repeat=True) == ""
