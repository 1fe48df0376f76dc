"""Orders that are packed have the same values as orders that are parsed one by one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.parsing.bulk import PART_BYTES, parse_lines
from models.parsing.lines import LineBlock, Lines
from models.parsing.order_body import MAX_ORDER_BYTES
from models.parsing.packed_orders import PackedOrders, pack_lines
from models.writes.insertion import NewOrder
from tests.models.packed import line_of, pack
from tests.models.parsing.parsed import parse_all, parse_block
from tests.models.samples import new_order, order_text

GOOD = [
    order_text(),
    order_text(order_id="7", total_amount="0.0001"),
    order_text(item_ids="[ 1,2 ]"),
    order_text(user_id="9"),
]
ODD = [
    order_text(total_amount='"1.5"'),
    order_text(total_amount="1e1"),
    order_text(metadata='{"a": "}\\n{"}'),
    order_text(metadata="null"),
    order_text() + b"\r",
    b" " + order_text(),
    order_text() + b"," + order_text(),
    order_text()[:-1],
    order_text(user_id="0"),
    order_text(order_id=None),
    b'{"order_id": 1, ' + order_text()[1:],
    b"{}",
    b"}{",
    b"[",
    b"",
    b" ",
    b"\xff",
]
LINES = st.lists(st.sampled_from([*GOOD * 4, *ODD]), min_size=1, max_size=12)


def plain(parsed: list[Any]) -> list[Any]:
    return [each if isinstance(each, NewOrder) else (type(each), str(each)) for each in parsed]


@given(lines=LINES)
def test_lines_have_the_same_results_as_texts(lines: list[bytes]) -> None:
    text = b"\n".join(lines)
    assert plain(parse_block(text)) == plain(parse_all([line for _, line in LineBlock(0, text).lines()]))


@given(lines=LINES, size=st.integers(1, 300), first=st.integers(0, 5))
def test_the_parts_of_a_block_are_its_lines(lines: list[bytes], size: int, first: int) -> None:
    block = LineBlock(first, b"\n".join(lines))
    parts = list(block.parts(size))
    assert [line for part in parts for line in part.lines()] == block.lines()
    assert [part.first for part in parts] == [first, *(part.end for part in parts[:-1])]
    assert parts[-1].end == block.end == first + len(lines)
    assert all(len(part.text) >= size for part in parts[:-1])


@pytest.mark.parametrize("odd", ODD)
def test_only_orders_without_metadata_are_packed(odd: bytes) -> None:
    good = b"\n".join(GOOD)
    assert isinstance(pack_lines(good), PackedOrders)
    for text in (odd, odd + b"\n" + good, good + b"\n" + odd, good + b"\n" + odd + b"\n" + good):
        assert pack_lines(text) is None


def test_packed_orders_are_a_sequence_of_orders() -> None:
    orders = [new_order(number, user_id=number + 1, total_amount=number * 10_001) for number in range(1, 301)]
    packed = PackedOrders.join([pack(*orders[:100]), pack(*orders[100:250]), pack(*orders[250:])])
    assert len(packed) == len(orders)
    assert list(packed) == orders
    assert (packed[5], packed[-1], packed[2:4]) == (orders[5], orders[-1], orders[2:4])
    assert json.loads(packed.packed) == [
        f"{order.order_id},{order.user_id},{~order.total_amount},[101,102]" for order in orders
    ]


def test_the_lines_of_a_stream_are_packed_in_parts() -> None:
    lines = Lines()
    first, second = (
        b"\n".join(line_of(new_order(number)) for number in numbers) for numbers in (range(1, 5), range(5, 2_001))
    )
    assert lines.add(first) == LineBlock(0, first[: first.rindex(b"\n")])
    block = lines.add(b"\n" + second + b"\n")
    assert block
    parts = list(parse_lines(block))
    assert all(isinstance(results, PackedOrders) for _, results in parts)
    assert [number for numbers, _ in parts for number in numbers] == list(range(3, 2_000))
    assert [order.order_id for _, results in parts for order in results if isinstance(order, NewOrder)] == list(
        range(4, 2_001)
    )
    assert max(len(results) for _, results in parts) * len(line_of(new_order(1))) < 2 * PART_BYTES < MAX_ORDER_BYTES
