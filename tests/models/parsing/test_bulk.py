"""Many orders in one text: how it is split, and that an invalid order does not affect the others."""

import json
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.errors import InvalidOrderError, NotJsonError
from models.parsing.bulk import MAX_ORDER_BYTES, MAX_ORDERS, Lines, parse_orders, split_array, split_array_fast
from models.writes import NewOrder
from tests.models.samples import order_text

LONG = MAX_ORDER_BYTES + 1

# Parts of lines. Most of them are line ends.
PIECES = st.sampled_from([b"\n", b"\r\n", b"\n\n", b" ", b"\t", b"1", b"{}", b"\xff", b"\xc3\xa9", order_text()])

# Parts of arrays: valid values, invalid values, and punctuation.
NUMBERS_AND_NAMES = rb"0 -0 100 01 1. 1.50 1e50 1e NaN -Infinity null nul true".split()
STRINGS = [b'"a"', rb'"\ud800"', rb'"\u00g0"', b'"\n"', b'"\x00"', b'"\x7f"', b'"\xff"', b'"\xed\xa0\x80"']
NESTED = [b"[]", b"{}", b"[1,]", b'{"a":1,}', b'{"a":1,"a":[2]}', b'{"\xff":1}', b"{1:1}", order_text()]
MARKS = [b"[", b"]", b"{", b"}", b",", b":", b'"', b" ", b"\n", b"\t\r", b"\x0b", b"\xa0", b"\xef\xbb\xbf", b"\x00"]
VALUES = st.sampled_from([*NUMBERS_AND_NAMES, *STRINGS, *NESTED, b"9" * 5_000])
SPACED = st.tuples(st.sampled_from(MARKS), VALUES).map(b"".join)
MANY_COMMAS = b'"%s"' % (b"," * 64_001)
"""An element that makes an array take the slow path."""


def lines_of(*parts: bytes) -> list[tuple[int, bytes]]:
    lines = Lines()
    return [line for part in parts for line in lines.add(part)] + lines.end()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b"\n", []),
        (b"\n\r\n \t \n", []),
        (b"1\n2\n", [(0, b"1"), (1, b"2")]),
        (b"1\n2", [(0, b"1"), (1, b"2")]),
        (b"\n1\n\n\n2\n", [(1, b"1"), (4, b"2")]),
        (b"1\r\n\r\n2\r\n", [(0, b"1\r"), (2, b"2\r")]),
        (b"1\r2", [(0, b"1\r2")]),
    ],
)
def test_lines_are_numbered_from_0_and_blank_lines_count(text: bytes, expected: list[tuple[int, bytes]]) -> None:
    assert lines_of(text) == expected


@given(pieces=st.lists(PIECES, max_size=30), cuts=st.lists(st.integers(0, 400)))
@example(pieces=[b"1", b"\r\n", b"2"], cuts=[2])
def test_lines_do_not_depend_on_how_the_text_is_split_into_parts(pieces: list[bytes], cuts: list[int]) -> None:
    text = b"".join(pieces)
    ends = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    parts = [text[begin:end] for begin, end in pairwise(ends)]
    assert b"".join(parts) == text
    expected = [(number, line) for number, line in enumerate(text.split(b"\n")) if line.strip()]
    assert lines_of(*parts) == expected


@pytest.mark.parametrize("step", [1_000, 65_536, LONG, 10 * LONG])
@pytest.mark.parametrize(
    "line",
    [
        b"x" * LONG,
        b"x" * 3 * LONG,
        b'"' + b" " * 2 * LONG + b'"',
        b" " * 2 * LONG + b"{}",
        order_text() + b" " * LONG,
        b" " * 2 * LONG + order_text() + b" " * 2 * LONG,
        b" " * 2 * LONG,
    ],
    ids=["just too long", "far too long", "a string", "blanks before", "blanks behind", "blanks around", "blanks"],
)
def test_a_line_that_is_too_long_is_one_invalid_order(line: bytes, step: int) -> None:
    text = b"\n" + order_text() + b"\n" + line + b"\n" + order_text() + b"\n"
    lines = lines_of(*(text[begin : begin + step] for begin in range(0, len(text), step)))
    assert [number for number, _ in lines] == [1, 2, 3]
    before, bad, behind = parse_orders([text for _, text in lines])
    assert before == behind
    assert isinstance(before, NewOrder)
    assert isinstance(bad, InvalidOrderError)
    assert str(bad) == f"# must be at most {MAX_ORDER_BYTES} bytes of JSON"


def test_only_the_beginning_of_an_endless_line_is_buffered() -> None:
    lines = Lines()
    for _ in range(100):
        assert lines.add(b"x" * 65_536) == []
    [(number, line)] = lines.end()
    assert (number, len(line)) == (0, LONG)


def test_an_order_of_the_maximum_length_is_valid() -> None:
    padding = MAX_ORDER_BYTES - len(order_text())
    [whole, longer] = parse_orders([order_text() + b" " * padding, order_text() + b" " * (padding + 1)])
    assert isinstance(whole, NewOrder)
    assert isinstance(longer, InvalidOrderError)


def test_each_text_becomes_an_order_or_an_error() -> None:
    good, not_json, bad, not_utf8, nothing = parse_orders(
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


@pytest.mark.parametrize("order_id", ["0", "1.0", "true", '"7"', "null", str(2**63), None])
def test_an_invalid_id_is_not_in_the_error(order_id: str | None) -> None:
    [bad] = parse_orders([order_text(order_id=order_id)])
    assert isinstance(bad, InvalidOrderError)
    assert bad.order_id is None


def test_an_array_is_split_without_validating_its_elements() -> None:
    assert split_array(b"[]") == []
    assert split_array(b' [1, {"a": [1, "]"]} ,\n[ ], "x"] ') == [b"1", b'{"a": [1, "]"]}', b"[ ]", b'"x"']
    assert split_array(b'["\xff", 1]') == [b'"\xff"', b"1"]


def test_numbers_in_an_array_keep_their_notation() -> None:
    [text] = split_array(b'[{"total_amount": 0.10000}]')
    assert text == b'{"total_amount": 0.10000}'


@pytest.mark.parametrize("text", [b"", b" ", b"[", b"[1", b"[1,]", b"[1]]", b"{", b"nonsense", b"\xff", b"[01]"])
def test_a_body_that_is_not_json_is_a_not_json_error(text: bytes) -> None:
    with pytest.raises(NotJsonError):
        split_array(text)


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 10_000], ids=["cut off", "arrays", "objects"]
)
def test_json_of_any_depth_that_is_too_deep_is_an_error(text: bytes) -> None:
    with pytest.raises(NotJsonError, match="nested deeper than 100 levels"):
        split_array(text)


@pytest.mark.parametrize("text", [b"{}", b"null", b"1", b'"[]"', order_text()])
def test_json_that_is_not_an_array_is_an_error(text: bytes) -> None:
    with pytest.raises(InvalidOrderError, match="# must be an array of orders"):
        split_array(text)


@settings(max_examples=200)
@given(texts=st.lists(VALUES | SPACED, min_size=1, max_size=3))
@example(texts=[order_text(), b' {"a": ["\\ud800", 1.50, "\xff"]}\n'])
def test_the_fast_and_the_slow_path_split_an_array_alike(texts: list[bytes]) -> None:
    fast, slow = (_split(b"[%s]" % b",".join([first, *texts])) for first in (b'""', MANY_COMMAS))
    if isinstance(fast, list) and isinstance(slow, list):
        assert fast[1:] == slow[1:]
    else:
        assert fast == slow


def _split(text: bytes) -> list[bytes] | type[Exception]:
    try:
        return split_array(text)
    except (NotJsonError, InvalidOrderError) as error:
        return type(error)


def test_a_valid_array_takes_the_fast_path() -> None:
    order = order_text(metadata='{"a": [1, 2]}')
    assert split_array_fast(b"[%s]" % b", ".join([order] * MAX_ORDERS)) == [order] * MAX_ORDERS


def test_an_array_has_at_most_a_thousand_elements() -> None:
    assert len(split_array(json.dumps([1] * MAX_ORDERS).encode())) == MAX_ORDERS == 1_000
    with pytest.raises(InvalidOrderError, match="# must hold at most 1000 orders"):
        split_array(json.dumps([1] * (MAX_ORDERS + 1)).encode())


def test_an_element_that_is_too_long_is_an_error() -> None:
    fits, too_long = (b'["a", "%s"]' % (b"x" * (length - 2)) for length in (MAX_ORDER_BYTES, LONG + 1))
    assert list(map(len, split_array(fits))) == [3, MAX_ORDER_BYTES]
    with pytest.raises(InvalidOrderError, match=f"#/1 must be at most {MAX_ORDER_BYTES} bytes of JSON"):
        split_array(too_long)


def test_an_array_of_a_million_elements_takes_little_memory() -> None:
    body = b"[%s]" % b",".join([b"1"] * 1_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidOrderError, match="# must hold at most 1000 orders"):
            split_array(body)
        assert tracemalloc.get_traced_memory()[1] < 1.5 * len(body)
    finally:
        tracemalloc.stop()
