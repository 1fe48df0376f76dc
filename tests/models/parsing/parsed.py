"""Runs the steps of the parser to their end."""

from collections.abc import Sequence

from models.parsing.array_reader import read_array
from models.parsing.bulk import ParsedOrder, parse_lines, parse_orders
from models.parsing.lines import LineBlock
from models.parsing.steps import run_to_end
from models.writes.insertion import NewOrder


def parse_all(texts: Sequence[bytes]) -> list[ParsedOrder]:
    """The result for each text: an order or an error."""
    return [parsed for results in parse_orders(texts) for parsed in results or ()]


def read_whole_array(body: bytes, *, part_bytes: int = 64 * 1024) -> list[NewOrder | bytes]:
    """The elements of an array that arrives in parts of `part_bytes` bytes."""
    parts = (body[begin : begin + part_bytes] for begin in range(0, len(body), part_bytes))
    return run_to_end(read_array(parts))


def parse_block(text: bytes) -> list[ParsedOrder]:
    """The result for each line that is not blank."""
    return [parsed for _, results in parse_lines(LineBlock(0, text)) for parsed in results]
