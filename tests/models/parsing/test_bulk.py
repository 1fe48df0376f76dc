"""Parsing many orders: an invalid order does not affect the other orders, and no step takes long."""

from models.errors import InvalidOrderError, NotJsonError
from models.parsing.bulk import parse_orders
from models.parsing.order_body import MAX_ORDER_BYTES
from models.writes.insertion import NewOrder
from tests.cases import cases
from tests.models.parsing.parsed import parse_all, parse_block
from tests.models.samples import order_text


def test_an_order_of_the_maximum_length_is_valid() -> None:
    padding = MAX_ORDER_BYTES - len(order_text())
    [whole, longer] = parse_all([order_text() + b" " * padding, order_text() + b" " * (padding + 1)])
    assert isinstance(whole, NewOrder)
    assert isinstance(longer, InvalidOrderError)


def test_an_order_with_too_many_spaces_in_it_is_too_long() -> None:
    text = order_text(user_id=" " * (MAX_ORDER_BYTES - len(order_text())) + "1")
    assert len(text) == MAX_ORDER_BYTES
    for long, kind in ((text, NewOrder), (text.replace(b"{", b"{ "), InvalidOrderError)):
        for results in (parse_all([long]), parse_block(long), parse_block(order_text() + b"\n" + long)):
            assert isinstance(results[-1], kind)


def test_each_text_becomes_an_order_or_an_error() -> None:
    good, not_json, bad, not_utf8, nothing = parse_all(
        [order_text(), b"{", order_text(user_id="0"), b'{"order_id": "\xff"}', b"null"]
    )
    assert good == NewOrder(12345, 1, [101, 102, 103], 999_900)
    assert isinstance(not_json, NotJsonError)
    assert isinstance(bad, InvalidOrderError)
    assert (bad.order_id, [error.pointer for error in bad.errors]) == (12345, ["#/user_id"])
    assert isinstance(not_utf8, NotJsonError)
    assert str(not_utf8).startswith("not UTF-8")
    assert isinstance(nothing, InvalidOrderError)
    assert nothing.order_id is None
    assert all(error.__traceback__ is None for error in (not_json, bad, not_utf8, nothing))


@cases("order_id", ["0", "1.0", "true", '"7"', "null", str(2**63), None])
def test_an_invalid_id_is_not_in_the_error(order_id: str | None) -> None:
    [bad] = parse_all([order_text(order_id=order_id)])
    assert isinstance(bad, InvalidOrderError)
    assert bad.order_id is None


def test_all_errors_of_an_order_are_counted_and_the_first_three_are_listed() -> None:
    [bad] = parse_all([order_text(item_ids=str([0] * 1_000))])
    assert isinstance(bad, InvalidOrderError)
    assert (len(bad.errors), bad.total) == (3, 1_000)
    assert str(bad).endswith("; and 997 more")


def test_each_long_order_that_takes_the_slow_path_is_parsed_in_its_own_steps() -> None:
    long = order_text(total_amount='"1"', metadata='{"a": "%s"}' % ("x" * 16_000))
    steps = list(parse_orders([long] * 20))
    assert max(len(results or ()) for results in steps) == 1
    assert sum(len(results or ()) for results in steps) == 20
    # The other steps have no result: they try the fast path or read the JSON.
    assert len(steps) > 40


def test_a_step_of_the_fast_path_parses_a_limited_number_of_bytes() -> None:
    many_items = order_text(item_ids=str([1234567] * 1_000))
    steps = list(parse_orders([many_items] * 50))
    assert sum(len(results or ()) for results in steps) == 50
    assert max(len(results or ()) for results in steps) * len(many_items) <= 32 * 1024
