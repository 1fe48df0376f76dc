"""Metadata: a JSON object that is kept as it was given."""

import pytest

from models.errors import InvalidOrderError
from models.validation import MAX_METADATA_BYTES, parse_order
from tests.models.samples import order_text


def parse(metadata: str) -> str | None:
    return parse_order(order_text(metadata=metadata)).metadata


def metadata_of(size: int, character: str = "x") -> str:
    """A JSON object of exactly `size` bytes."""
    bare = '{"a":""}'
    filling, rest = divmod(size - len(bare), len(character.encode()))
    return f'{{"a":"{character * filling}{"x" * rest}"}}'


@pytest.mark.parametrize(
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
def test_metadata_is_kept_byte_for_byte(metadata: str) -> None:
    assert parse(metadata) == metadata


def test_white_space_around_metadata_is_not_part_of_it() -> None:
    assert parse(' \n {"a": 1}\t ') == '{"a": 1}'


def test_metadata_is_found_wherever_it_stands_and_however_its_key_is_written() -> None:
    body = b'{"meta\\u0064ata": {"metadata": 1}, ' + order_text()[1:]
    assert parse_order(body).metadata == '{"metadata": 1}'


def test_metadata_that_is_left_out_is_none() -> None:
    assert parse_order(order_text()).metadata is None


@pytest.mark.parametrize("metadata", ["null", "[]", "[{}]", "1", '"{}"', "true", '""'])
def test_metadata_is_an_object(metadata: str) -> None:
    with pytest.raises(InvalidOrderError) as raised:
        parse(metadata)
    assert raised.value.errors == [("#/metadata", "must be a JSON object")]


@pytest.mark.parametrize("character", ["x", "é", "😀"])
def test_metadata_may_have_16_kibibytes_and_not_one_more(character: str) -> None:
    largest = metadata_of(MAX_METADATA_BYTES, character)
    assert len(largest.encode()) == 16_384
    assert parse(largest) == largest
    with pytest.raises(InvalidOrderError) as raised:
        parse(metadata_of(MAX_METADATA_BYTES + 1, character))
    assert raised.value.errors == [("#/metadata", "must be at most 16384 bytes of JSON")]
