"""The lines into which a stream is split do not depend on the parts in which the stream arrives."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from models.errors import InvalidOrderError
from models.parsing.lines import Lines
from models.parsing.order_body import MAX_ORDER_BYTES
from models.parsing.strict_json import BYTE_ORDER_MARK
from models.writes.insertion import NewOrder
from tests.cases import cases
from tests.models.parsing.parsed import parse_all
from tests.models.samples import order_text

LONG = MAX_ORDER_BYTES + 1
MARK = BYTE_ORDER_MARK

# Parts of lines, and line ends.
PIECES = st.sampled_from([b"\n", b"\r\n", b"\n\n", b" ", b"\t", b"1", b"{}", b"\xff", b"\xc3\xa9", order_text()])


def lines_of(*parts: bytes) -> list[tuple[int, bytes]]:
    lines = Lines()
    blocks = [*map(lines.add, parts), lines.end()]
    return [line for block in blocks if block for line in block.lines()]


@cases(
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
        (MARK, []),
        (MARK + b"\n", []),
        (MARK + b"1\n2", [(0, b"1"), (1, b"2")]),
        (MARK + b"\n1", [(1, b"1")]),
        (MARK + MARK + b"1\n", [(0, MARK + b"1")]),
        (b"\n" + MARK + b"1\n", [(1, MARK + b"1")]),
        (b"1" + MARK + b"\n", [(0, b"1" + MARK)]),
        (MARK[:2] + b"\n1", [(0, MARK[:2]), (1, b"1")]),
        (MARK[:1], [(0, MARK[:1])]),
    ],
)
@cases("part_bytes", [1, 2, 100])
def test_lines_are_numbered_from_0_and_blank_lines_count(
    text: bytes, expected: list[tuple[int, bytes]], part_bytes: int
) -> None:
    assert lines_of(*(text[begin : begin + part_bytes] for begin in range(0, len(text), part_bytes))) == expected


@given(pieces=st.lists(PIECES, max_size=30), cuts=st.lists(st.integers(0, 400)))
@example(pieces=[b"1", b"\r\n", b"2"], cuts=[2])
def test_lines_do_not_depend_on_how_the_text_is_split_into_parts(pieces: list[bytes], cuts: list[int]) -> None:
    text = b"".join(pieces)
    ends = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    parts = [text[begin:end] for begin, end in pairwise(ends)]
    assert b"".join(parts) == text
    expected = [(number, line) for number, line in enumerate(text.split(b"\n")) if line.strip()]
    assert lines_of(*parts) == expected


@cases("begin", [b"", b"\n", MARK])
@cases("step", [1_000, 65_536, LONG, 10 * LONG])
@cases(
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
)
def test_a_line_that_is_too_long_is_one_invalid_order(line: bytes, step: int, begin: bytes) -> None:
    text = begin + line + b"\n" + order_text() + b"\n"
    lines = lines_of(*(text[place : place + step] for place in range(0, len(text), step)))
    first = begin.count(b"\n")
    assert [number for number, _ in lines] == [first, first + 1]
    bad, behind = parse_all([text for _, text in lines])
    assert isinstance(behind, NewOrder)
    assert isinstance(bad, InvalidOrderError)
    assert str(bad) == f"# must be at most {MAX_ORDER_BYTES} bytes of JSON"


def test_only_the_beginning_of_an_endless_line_is_buffered() -> None:
    lines = Lines()
    for _ in range(100):
        assert lines.add(b"x" * 65_536) is None
    block = lines.end()
    assert block
    [(number, line)] = block.lines()
    assert (number, len(line)) == (0, LONG)
