"""Webhooks that were doctored on their way: each must be found out."""

from decimal import Decimal

import pytest

from load.orders.comparison import decode_json
from tests.load.chaos.webhooks import ORDERS, new_deliveries, webhook

NUMBER = 7


def amount() -> Decimal:
    [_, body] = webhook(NUMBER)
    return Decimal(decode_json(body)["total_amount"])


def test_the_webhook_of_an_order_may_come_again_as_it_is() -> None:
    deliveries = new_deliveries()
    assert [deliveries.judge(*webhook(NUMBER)) for _ in range(2)] == [(NUMBER, [])] * 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user_id", 0),
        ("item_ids", []),
        ("total_amount", amount() + 1),
        ("total_amount", amount() + Decimal("1e-20")),
        ("total_amount", str(amount())),
        ("metadata", {"gift": True}),
    ],
)
def test_a_value_that_is_not_the_order_s_is_named(name: str, value: object) -> None:
    _, faults = new_deliveries().judge(*webhook(NUMBER, {name: value}))
    assert faults[0] == f"a webhook that differs from the order in its {name}"


def test_an_order_under_another_order_s_id_differs() -> None:
    order_id, faults = new_deliveries().judge(*webhook(NUMBER, {"order_id": NUMBER + 1}))
    assert (order_id, len(faults)) == (NUMBER + 1, 1)
    assert faults[0].startswith("a webhook that differs from the order in its ")


@pytest.mark.parametrize("time", ["", "yesterday", "2026-13-02 03:04:05", 5])
def test_a_time_that_is_none_is_wrong(time: object) -> None:
    assert new_deliveries().judge(*webhook(NUMBER, {"created_time": time})) == (
        NUMBER,
        ["a webhook whose created_time is no time"],
    )


def test_a_value_that_no_order_has_is_wrong() -> None:
    assert new_deliveries().judge(*webhook(NUMBER, {"status": "Pending"})) == (
        NUMBER,
        ["a webhook with other values than an order's"],
    )


@pytest.mark.parametrize("signature", ["v1,AAAA", "v1,A", "v1", "", "v2,AAAA", "v1,\xe9"])
def test_a_signature_that_is_not_that_of_the_secret_is_wrong(signature: str) -> None:
    headers, body = webhook(NUMBER)
    judged = new_deliveries().judge(headers | {"webhook-signature": signature}, body)
    assert judged == (NUMBER, ["a webhook whose signature is wrong"])


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
def test_the_signature_covers_the_id_and_the_time(name: str) -> None:
    headers, body = webhook(NUMBER)
    _, faults = new_deliveries().judge(headers | {name: "1"}, body)
    assert faults == ["a webhook whose signature is wrong"]


def test_another_order_with_the_same_webhook_id_is_wrong() -> None:
    deliveries = new_deliveries()
    deliveries.judge(*webhook(NUMBER, name="one"))
    assert deliveries.judge(*webhook(NUMBER + 1, name="one")) == (NUMBER + 1, ["the webhook-id is another order's"])


def test_a_repeat_that_says_something_else_is_wrong() -> None:
    deliveries = new_deliveries()
    deliveries.judge(*webhook(NUMBER))
    judged = deliveries.judge(*webhook(NUMBER, {"created_time": "2026-01-02 03:04:06"}))
    assert judged == (NUMBER, ["a repeat of a webhook that says something else"])


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"order_id": true}', b'{"order_id": "7"}', b"\xff"])
def test_what_names_no_order_is_no_webhook(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        new_deliveries().judge(webhook(NUMBER)[0], body)


def test_the_orders_of_these_tests_are_those_of_a_run() -> None:
    assert ORDERS.order_id(NUMBER - 1) == NUMBER
