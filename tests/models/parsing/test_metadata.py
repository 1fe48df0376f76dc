"""Metadata: a JSON object that is stored as it was sent."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.errors import InvalidOrderError, NotJsonError
from models.parsing.order_body import MAX_METADATA_BYTES
from models.parsing.order_parser import parse_order, parse_order_fast
from models.parsing.strict_json import MAX_DEPTH
from models.writes.insertion import NewOrder
from tests.cases import cases
from tests.examples import examples
from tests.models.samples import order_text

KEYS = ['""', '"a"', r'"\u0061"']
STRINGS = [*KEYS, r'"\""', r'"\\"', '"é"', r'"\ud83d\ude00"', r'"\ud800"', r'"\x"', '"metadata"', '"\n"']
OTHERS = ["1", "-0", "01", "1.50", "1e5", "1e400", "9" * 400, "NaN", "true", "null", "nul", "[]", "{}"]


def objects_of(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Objects as JSON text, some with repeated keys."""
    members = st.tuples(st.sampled_from(KEYS + STRINGS), values).map(" : ".join)
    return st.lists(members, max_size=3).map(lambda texts: f"{{{', '.join(texts)}}}")


VALUES = st.recursive(
    st.sampled_from(STRINGS + OTHERS),
    lambda below: st.lists(below, max_size=3).map(lambda values: f"[{','.join(values)}]") | objects_of(below),
    max_leaves=8,
)


def parse(metadata: str) -> str | None:
    return parse_order(order_text(metadata=metadata)).metadata


def metadata_of(size: int, character: str = "x") -> str:
    """A JSON object of exactly `size` bytes."""
    bare = '{"a":""}'
    filling, rest = divmod(size - len(bare), len(character.encode()))
    return f'{{"a":"{character * filling}{"x" * rest}"}}'


@cases(
    "metadata",
    [
        "{}",
        "{ }",
        '{\n\t"a" : 1.0 ,\r\n "b":[ ] }',
        '{"b":1,"a":2}',
        '{"n":[0.10,1E5,-0,1e400,123456789012345678901234567890]}',
        '{"n":' + "9" * 5_000 + "}",
        '{"s":"\\u00e9 é \\/ \\" \\\\ \\n \\u0000 \\ud83d\\ude00 😀 \x7f \u2028"}',
        '{"":"","quote\\"s":"{}[],:"}',
        '{"order_id":1,"metadata":{"metadata":{}}}',
        '{"a":true,"b":false,"c":null}',
    ],
)
def test_metadata_is_unchanged_byte_for_byte(metadata: str) -> None:
    assert parse(metadata) == metadata


def test_white_space_around_metadata_is_not_part_of_it() -> None:
    assert parse(' \n {"a": 1}\t ') == '{"a": 1}'


def test_metadata_is_found_at_any_place_and_with_an_escaped_key() -> None:
    body = b'{"meta\\u0064ata": {"metadata": 1}, ' + order_text()[1:]
    assert parse_order(body).metadata == '{"metadata": 1}'


def test_missing_metadata_is_none() -> None:
    assert parse_order(order_text()).metadata is None


@cases("metadata", ["[]", "[{}]", "1", '"{}"', "true", '""', "[null]"])
def test_metadata_that_is_not_an_object_is_an_error(metadata: str) -> None:
    with pytest.raises(InvalidOrderError) as raised:
        parse(metadata)
    assert raised.value.errors == [("#/metadata", "must be a JSON object")]


@cases("null", ["null", " \nnull\t"])
@cases("amount", ["99.99", '"99.99"'])
def test_null_is_the_same_as_no_metadata(null: str, amount: str) -> None:
    assert parse_order(order_text(metadata=null, total_amount=amount)) == parse_order(order_text())


def test_null_takes_the_fast_path() -> None:
    assert parse_order_fast(order_text(metadata="null")) == parse_order(order_text())


@cases("values", [("null", "null"), ("null", "{}"), ("{}", "null")])
def test_null_and_other_metadata_in_one_order_is_an_error(values: tuple[str, str]) -> None:
    first, second = values
    body = order_text(metadata=first)[:-1] + b', "metadata": %s}' % second.encode()
    with pytest.raises(InvalidOrderError, match="#/metadata is given more than once"):
        parse_order(body)


@cases("character", ["x", "é", "😀"])
def test_metadata_can_have_16_kib_but_not_one_byte_more(character: str) -> None:
    largest = metadata_of(MAX_METADATA_BYTES, character)
    assert len(largest.encode()) == 16_384
    assert parse(largest) == largest
    with pytest.raises(InvalidOrderError) as raised:
        parse(metadata_of(MAX_METADATA_BYTES + 1, character))
    assert raised.value.errors == [("#/metadata", "must be at most 16384 bytes of JSON")]


@settings(max_examples=examples(200))
@given(metadata=objects_of(VALUES) | VALUES)
@example(metadata='{"a": {"b": 1, "b": 2}, "a": [{"\\u0061": "a", "a": "a"}]}')
@example(metadata='{"a": "\\"", "a": 1}')
@example(metadata='{"a": ["a", {"b": "é"}, 1.50, null], "b": "a"}')
def test_the_fast_and_the_slow_path_agree_on_metadata(metadata: str) -> None:
    # An amount that is a string takes the slow path.
    fast, slow = (_outcome(order_text(metadata=metadata, total_amount=amount)) for amount in ("1.5", '"1.5"'))
    assert fast == slow


@cases(
    "metadata",
    [
        "{}",
        '{"from": "web", "to": {"city": "Zürich", "lines": ["a", "b", 3]}}',
        '{"a": [1e400, 9e300, 5e-324, -0.0, 123456789012345678901234567890]}',
        '{"a":' * MAX_DEPTH + "1" + "}" * MAX_DEPTH,
    ],
)
def test_valid_metadata_takes_the_fast_path(metadata: str) -> None:
    order = parse_order_fast(order_text(metadata=metadata))
    assert order is not None
    assert order.metadata == metadata


def _outcome(body: bytes) -> NewOrder | list[object]:
    try:
        return parse_order(body)
    except InvalidOrderError as error:
        return [*error.errors, error.order_id]
    except NotJsonError as error:
        # The text is left out: it contains a position, which depends on the length of the amount.
        return [type(error)]
