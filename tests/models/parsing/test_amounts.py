"""Amounts: exact decimals with at most four decimal places, parsed and written."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InvalidOrderError, NotJsonError
from models.order import amount_as_decimal
from models.parsing.order_parser import parse_order
from models.writes.insertion import NewOrder
from tests.cases import cases
from tests.examples import examples
from tests.models.parsing.paths import with_and_without_metadata
from tests.models.samples import order_text

LARGEST = 99_999_999_999_999
NOT_A_NUMBER = "must be a number, or a string that holds one"
OUT_OF_RANGE = "must be from 0 to 9999999999.9999"
TOO_MANY_PLACES = "must have at most 4 decimal places"


def both(texts: list[str]) -> list[str]:
    """Each text as a JSON number and as a JSON string."""
    return [form for text in texts for form in (text, f'"{text}"')]


def parse(amount: str, metadata: str | None) -> NewOrder:
    return parse_order(order_text(total_amount=amount, metadata=metadata))


def error_of(amount: str, metadata: str | None) -> str:
    with pytest.raises(InvalidOrderError) as raised:
        parse(amount, metadata)
    [(pointer, detail)] = raised.value.errors
    assert pointer == "#/total_amount"
    return detail


@with_and_without_metadata
@cases("quote", ["", '"'])
@cases(
    ("text", "ten_thousandths"),
    [
        ("0", 0),
        ("0.0000", 0),
        ("0e5", 0),
        ("0e999999999999", 0),
        ("-0", 0),
        ("-0.0", 0),
        ("0.0001", 1),
        ("1E-4", 1),
        ("10e-5", 1),
        ("1", 10_000),
        ("1.00000", 10_000),
        ("1." + "0" * 5_000, 10_000),
        ("99.99", 999_900),
        ("1e2", 1_000_000),
        ("1E+2", 1_000_000),
        ("0.00001e1", 1),
        ("0.1", 1_000),
        ("0.30000", 3_000),
        ("9999999999.9999", LARGEST),
        ("99999999999999e-4", LARGEST),
        ("0.99999999999999e10", LARGEST),
    ],
)
def test_an_amount_is_parsed_exactly(text: str, ten_thousandths: int, quote: str, metadata: str | None) -> None:
    assert parse(quote + text + quote, metadata).total_amount == ten_thousandths


@with_and_without_metadata
@cases(
    "amount",
    both(
        [
            "-1", "-0.0001", "10000000000", "9999999999.99991", "9999999999.99999", "1e10", "1e400", "-1e400",
            "9" * 5_000, "1e9999999999", "1e999999999999999999", "1e99999999999999999999", "1e" + "9" * 5_000,
        ]
    ),
)  # fmt: skip
def test_an_amount_out_of_range_is_an_error(amount: str, metadata: str | None) -> None:
    assert error_of(amount, metadata) == OUT_OF_RANGE


@with_and_without_metadata
@cases(
    "amount",
    both(
        [
            "0.00001", "1.23456", "1e-5", "9999999998.99991", "0." + "0" * 5_000 + "1", "1e-400",
            "1e-999999999999999999", "1e-1500000000000000000", "1e-1999999999999999997",
        ]
    ),
)  # fmt: skip
def test_an_amount_with_five_decimal_places_is_an_error_not_rounded(amount: str, metadata: str | None) -> None:
    assert error_of(amount, metadata) == TOO_MANY_PLACES


@with_and_without_metadata
@cases(
    "amount",
    [
        "true", "false", "null", "[]", "{}", "[1]", '""', '" "', '"NaN"', '"nan"', '"sNaN"', '"Infinity"',
        '"-Infinity"', '"inf"', '"1_0"', '" 1"', '"1 "', '"1\\n"', '"0x1"', '"\u0661"', '"\uff11"', '"\u00b2"',
        '"1,5"', '"1.5 EUR"', '"+1"', '"01"', '"00"', '"1."', '".5"', '"1e"', '"e1"', '"--1"', '"1\\u0000"', '"$1"',
    ],
)  # fmt: skip
def test_an_amount_that_is_not_a_number_is_an_error(amount: str, metadata: str | None) -> None:
    assert error_of(amount, metadata) == NOT_A_NUMBER


@cases("amount", ["NaN", "Infinity", "-Infinity", "01", "+1", ".5", "1.", "1_0", "0x1"])
def test_an_amount_that_is_not_a_json_number_is_not_json(amount: str) -> None:
    with pytest.raises(NotJsonError):
        parse(amount, None)


@settings(max_examples=examples(200))
@given(st.integers(0, LARGEST))
def test_every_amount_is_unchanged_by_a_round_trip(ten_thousandths: int) -> None:
    amount = amount_as_decimal(ten_thousandths)
    assert amount == Decimal(ten_thousandths) / 10_000
    assert parse(str(amount), None).total_amount == ten_thousandths
    assert parse(f'"{amount}"', "{}").total_amount == ten_thousandths
    assert parse(f"{ten_thousandths}E-4", None).total_amount == ten_thousandths


@cases(
    ("ten_thousandths", "text"),
    [
        (0, "0"), (1, "0.0001"), (10, "0.001"), (10_000, "1"), (100_000, "10"), (999_900, "99.99"), (1_000_000, "100"),
        (LARGEST, "9999999999.9999"), (LARGEST - LARGEST % 10_000, "9999999999"),
    ],
)  # fmt: skip
def test_an_amount_is_written_without_exponent_and_trailing_zeros(ten_thousandths: int, text: str) -> None:
    assert str(amount_as_decimal(ten_thousandths)) == text
