"""Tests that the checker of webhooks finds the change in each changed webhook."""

from decimal import Decimal

import msgspec
import pytest

from load.orders.comparison import decode_json
from tests.cases import cases
from tests.load.chaos.webhooks.sample_webhooks import ORDERS, new_checker, webhook

NUMBER = 7


def amount() -> Decimal:
    [_, body] = webhook(NUMBER)
    return Decimal(decode_json(body)["total_amount"])


def test_an_unchanged_webhook_may_be_repeated() -> None:
    checker = new_checker()
    assert [checker.check(*webhook(NUMBER)) for _ in range(2)] == [(NUMBER, [])] * 2


@cases(
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
def test_a_changed_value_is_named(name: str, value: object) -> None:
    _, problems = new_checker().check(*webhook(NUMBER, {name: value}))
    assert problems[0] == f"a webhook that differs from the order in its {name}"


def test_an_order_with_another_order_id_differs() -> None:
    order_id, problems = new_checker().check(*webhook(NUMBER, {"order_id": NUMBER + 1}))
    assert (order_id, len(problems)) == (NUMBER + 1, 1)
    assert problems[0].startswith("a webhook that differs from the order in its ")


@cases("time", ["", "yesterday", "2026-13-02T03:04:05.000006Z", "2026-01-02 03:04:05", 5])
def test_an_invalid_created_at_is_wrong(time: object) -> None:
    assert new_checker().check(*webhook(NUMBER, {"created_at": time})) == (
        NUMBER,
        ["a webhook whose created_at is not a time"],
    )


@cases("time", ["", "2026-01-02 03:04:06", "2026-01-02T03:04:05.000006Z", 5])
def test_a_created_time_that_differs_from_created_at_is_wrong(time: object) -> None:
    assert new_checker().check(*webhook(NUMBER, {"created_time": time})) == (
        NUMBER,
        ["a webhook whose created_time differs from its created_at"],
    )


def test_an_additional_field_is_wrong() -> None:
    assert new_checker().check(*webhook(NUMBER, {"status": "Pending"})) == (
        NUMBER,
        ["a webhook with other fields than an order's"],
    )


@cases("name", ["created_time", "created_at", "metadata"])
def test_a_missing_field_is_wrong(name: str) -> None:
    with_metadata = next(index for index in range(len(ORDERS)) if "metadata" in ORDERS.order(index))
    headers, body = webhook(ORDERS.order_id(with_metadata))
    values = decode_json(body)
    del values[name]
    _, problems = new_checker().check(headers, msgspec.json.encode(values))
    assert "a webhook with other fields than an order's" in problems


@cases("signature", ["v1,AAAA", "v1,A", "v1", "", "v2,AAAA", "v1,\xe9"])
def test_a_signature_without_the_secret_is_wrong(signature: str) -> None:
    headers, body = webhook(NUMBER)
    result = new_checker().check(headers | {"webhook-signature": signature}, body)
    assert result == (NUMBER, ["a webhook whose signature is wrong"])


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
def test_the_signature_covers_the_id_and_the_time(name: str) -> None:
    headers, body = webhook(NUMBER)
    changed = {"webhook-id": "1", "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)}
    _, problems = new_checker().check(headers | {name: changed[name]}, body)
    assert problems == ["a webhook whose signature is wrong"]


def test_a_time_that_is_out_of_range_is_no_webhook() -> None:
    headers, body = webhook(NUMBER)
    with pytest.raises((ValueError, OverflowError)):
        new_checker().check(headers | {"webhook-timestamp": "9" * 30}, body)


def test_a_webhook_must_have_a_time_that_the_clock_of_the_server_has_had() -> None:
    checker = new_checker(ahead_s={0, 7200})
    results = [checker.check(*webhook(NUMBER, ahead_s=ahead_s)) for ahead_s in (0, 7200, -7200, 3600)]
    wrong = ["a webhook whose webhook-timestamp is not the time"]
    assert [problems for _, problems in results] == [[], [], wrong, wrong]


def test_two_orders_with_the_same_webhook_id_are_wrong() -> None:
    checker = new_checker()
    checker.check(*webhook(NUMBER, webhook_id="one"))
    assert checker.check(*webhook(NUMBER + 1, webhook_id="one")) == (
        NUMBER + 1,
        ["a webhook with the webhook-id of another order"],
    )


def test_a_changed_repeat_is_wrong() -> None:
    checker = new_checker()
    checker.check(*webhook(NUMBER))
    result = checker.check(*webhook(NUMBER, {"created_at": "2026-01-02T03:04:05.000007Z"}))
    assert result == (NUMBER, ["a repeated webhook with another body"])


@cases("body", [b"", b"[]", b"{}", b'{"order_id": true}', b'{"order_id": "7"}', b"\xff"])
def test_a_body_without_an_order_id_is_no_webhook(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        new_checker().check(webhook(NUMBER)[0], body)


def test_order_ids_count_from_one() -> None:
    assert ORDERS.order_id(NUMBER - 1) == NUMBER
