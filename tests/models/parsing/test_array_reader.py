"""The elements into which a JSON array is split do not depend on the parts in which the array arrives."""

import json
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.errors import InvalidOrderError, NotJsonError
from models.parsing.array_reader import GROUP_BYTES, MAX_ORDERS, read_array
from models.parsing.order_body import MAX_ORDER_BYTES
from models.parsing.order_parser import parse_order
from models.parsing.strict_json import BYTE_ORDER_MARK
from models.writes.insertion import NewOrder
from tests.cases import cases
from tests.examples import examples
from tests.models.parsing.parsed import read_whole_array
from tests.models.samples import order_text

LONG = MAX_ORDER_BYTES + 1

# Parts of arrays: valid values, invalid values, and punctuation.
NUMBERS_AND_NAMES = rb"0 -0 100 01 1. 1.50 1e50 1e NaN -Infinity null nul true".split()
STRINGS = [b'"a"', rb'"\ud800"', rb'"\u00g0"', b'"\n"', b'"\x00"', b'"\x7f"', b'"\xff"', b'"\xed\xa0\x80"']
NESTED = [b"[]", b"{}", b"[1,]", b'{"a":1,}', b'{"a":1,"a":[2]}', b'{"\xff":1}', b"{1:1}", order_text()]
MARKS = [b"[", b"]", b"{", b"}", b",", b":", b'"', b" ", b"\n", b"\t\r", b"\x0b", b"\xa0", b"\xef\xbb\xbf", b"\x00"]
VALUES = st.sampled_from([*NUMBERS_AND_NAMES, *STRINGS, *NESTED, b"9" * 5_000])
SPACED = st.tuples(st.sampled_from(MARKS), VALUES).map(b"".join)
MIXED = [
    order_text(),
    order_text(metadata='{"a": [{"b": 1}, {"c": "},{"}]}'),
    order_text(metadata='{"a": "\\\\ud800"}'),
    '{"é": "ü"}'.encode(),
    b'{"a": "\xff"}',
    b'"%s"' % (b"x" * 40_000),
    b'["%s"]' % ("é" * 32_000).encode(),
    b"[]",
    b"1",
]
ONLY_ONE_BY_ONE = rb'"\ud800"'
"""An element that msgspec rejects, so that the elements around it are read one by one."""


def test_an_array_is_split_without_validating_its_elements() -> None:
    assert read_whole_array(b"[]") == []
    assert read_whole_array(b' [1, {"a": [1, "]"]} ,\n[ ], "x"] ') == [b"1", b'{"a": [1, "]"]}', b"[ ]", b'"x"']
    assert read_whole_array(b'["\xff", 1]') == [b'"\xff"', b"1"]


@cases("part_bytes", [1, 2, 3, 64 * 1024])
def test_one_byte_order_mark_before_an_array_is_skipped(part_bytes: int) -> None:
    assert read_whole_array(BYTE_ORDER_MARK + b" [1, {}]", part_bytes=part_bytes) == [b"1", b"{}"]


@cases(
    "text",
    [BYTE_ORDER_MARK, 2 * BYTE_ORDER_MARK + b"[1]", b" " + BYTE_ORDER_MARK + b"[1]", b"[1, %b1]" % BYTE_ORDER_MARK],
)
def test_any_other_byte_order_mark_in_an_array_is_an_error(text: bytes) -> None:
    with pytest.raises(NotJsonError):
        read_whole_array(text)


def test_numbers_in_an_array_keep_their_notation() -> None:
    [text] = read_whole_array(b'[{"total_amount": 0.10000}]')
    assert text == b'{"total_amount": 0.10000}'


@cases("text", [b"", b" ", b"[", b"[1", b"[1,]", b"[1]]", b"{", b"nonsense", b"\xff", b"[01]"])
def test_a_body_that_is_not_json_is_a_not_json_error(text: bytes) -> None:
    with pytest.raises(NotJsonError):
        read_whole_array(text)


@cases("text", [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 10_000])
def test_json_that_is_nested_too_deeply_is_an_error(text: bytes) -> None:
    with pytest.raises(NotJsonError, match="nested deeper than 100 levels"):
        read_whole_array(text)


@cases("text", [b"{}", b"null", b"1", b'"[]"', order_text()])
def test_json_that_is_not_an_array_is_an_error(text: bytes) -> None:
    with pytest.raises(InvalidOrderError, match="# must be an array of orders"):
        read_whole_array(text)


@settings(max_examples=examples(200))
@given(texts=st.lists(VALUES | SPACED, min_size=1, max_size=3))
@example(texts=[order_text(), b' {"a": ["\\ud800", 1.50, "\xff"]}\n'])
def test_the_fast_and_the_slow_path_split_an_array_alike(texts: list[bytes]) -> None:
    fast, slow = (_split(b"[%s]" % b",".join([first, *texts])) for first in (b'""', ONLY_ONE_BY_ONE))
    if isinstance(fast, list) and isinstance(slow, list):
        assert fast[1:] == slow[1:]
    else:
        assert fast == slow


def _split(text: bytes) -> list[NewOrder | bytes] | type[Exception]:
    try:
        return read_whole_array(text)
    except (NotJsonError, InvalidOrderError) as error:
        return type(error)


@pytest.mark.parametrize("metadata", ['{"a": [1, 2]}', None], ids=["with metadata", "without"])
def test_a_valid_array_is_read_in_groups(metadata: str | None) -> None:
    order = order_text(metadata=metadata)
    body = b"[%s]" % b", ".join([order] * MAX_ORDERS)
    assert read_whole_array(body) == [parse_order(order) if metadata is None else order] * MAX_ORDERS
    assert steps_of(body) <= len(body) / GROUP_BYTES + 5


@settings(max_examples=examples(30))
@given(
    elements=st.lists(st.sampled_from(MIXED), min_size=1, max_size=40),
    separator=st.sampled_from([b",", b" ,\n ", b"," + b" " * 70_000]),
    part_bytes=st.integers(1_000, 64 * 1024),
)
def test_elements_do_not_depend_on_the_parts_of_the_body(
    elements: list[bytes], separator: bytes, part_bytes: int
) -> None:
    body = b" [ %s ] " % separator.join(elements)
    found = read_whole_array(body, part_bytes=part_bytes)
    # The reader returns an order as a NewOrder or as text.
    assert [parse_order(each) if each == order_text() else each for each in found] == [
        parse_order(each) if each == order_text() else each for each in elements
    ]


@cases(
    "element",
    [
        order_text(metadata=f'{{"a": {[{}] * 2_000}}}'),
        order_text(metadata='{"a": "%s"}' % ("," * 8_000)),
        order_text(item_ids=str([0] * 1_000)),
        b"[" * 90 + b"1" + b"]" * 90,
        b"{}" + b" " * 60_000,
        b'"%s"' % (b"\\n" * 10_000),
    ],
)
def test_the_number_of_steps_grows_with_the_length_of_an_array(element: bytes) -> None:
    count = min(MAX_ORDERS, 8 * 1024 * 1024 // (len(element) + 1))
    body = b"[%s]" % b",".join([element] * count)
    # A step reads at most one element, or GROUP_BYTES if that is more.
    assert steps_of(body) >= len(body) / max(GROUP_BYTES, len(element))


def test_white_space_is_skipped_in_steps() -> None:
    assert steps_of(b"[" + b" " * 1_000_000 + b"]") >= 1_000_000 / (4 * 64 * 1024)


def steps_of(body: bytes) -> int:
    parts = (body[begin : begin + 64 * 1024] for begin in range(0, len(body), 64 * 1024))
    return sum(1 for _ in read_array(parts))


def test_an_array_has_at_most_a_thousand_elements() -> None:
    assert len(read_whole_array(json.dumps([1] * MAX_ORDERS).encode())) == MAX_ORDERS == 1_000
    with pytest.raises(InvalidOrderError, match="# must hold at most 1000 orders"):
        read_whole_array(json.dumps([1] * (MAX_ORDERS + 1)).encode())


def test_an_element_that_is_too_long_is_an_error() -> None:
    fits, too_long = (b'["a", "%s"]' % (b"x" * (length - 2)) for length in (MAX_ORDER_BYTES, LONG + 1))
    assert read_whole_array(fits) == [b'"a"', b'"%s"' % (b"x" * (MAX_ORDER_BYTES - 2))]
    with pytest.raises(InvalidOrderError, match=f"#/1 must be at most {MAX_ORDER_BYTES} bytes of JSON"):
        read_whole_array(too_long)


def test_an_array_of_a_million_elements_takes_little_memory() -> None:
    body = b"[%s]" % b",".join([b"1"] * 1_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidOrderError, match="# must hold at most 1000 orders"):
            read_whole_array(body)
        assert tracemalloc.get_traced_memory()[1] < 1.5 * len(body)
    finally:
        tracemalloc.stop()
