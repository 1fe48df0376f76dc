"""Which bodies are valid orders, invalid orders, or not JSON. Other modules test amounts and metadata."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import FieldError, InvalidOrderError, NotJsonError
from models.order import amount_as_decimal
from models.parsing.order_body import MAX_ID, MAX_ITEMS, MAX_METADATA_BYTES
from models.parsing.order_parser import parse_order
from models.parsing.strict_json import BYTE_ORDER_MARK, MAX_CONTAINERS, MAX_DEPTH
from models.writes.insertion import NewOrder
from tests.cases import cases
from tests.examples import examples
from tests.models.parsing.paths import on_each_path, with_and_without_metadata
from tests.models.samples import order_text

BAD_ID = f"must be an integer from 1 to {MAX_ID}"
BAD_ITEMS = f"must be an array of 1 to {MAX_ITEMS} integers"
BAD_IDS = [
    "0", "-1", "-0", str(2**63), str(2**64), "9" * 5_000, "1.0", "1.5", "1e0", "1e2", "1E400", "true", "false", "null",
    '"1"', '""', "[1]", "{}",
]  # fmt: skip


def errors_of(body: bytes) -> list[FieldError]:
    with pytest.raises(InvalidOrderError) as raised:
        parse_order(body)
    return raised.value.errors


@on_each_path
def test_the_order_of_the_api_contract_is_valid(metadata: str | None) -> None:
    assert parse_order(order_text(metadata=metadata)) == NewOrder(12345, 1, [101, 102, 103], 999_900, metadata)


@on_each_path
@cases("value", [1, 2, MAX_ID - 1, MAX_ID])
@cases("field", ["order_id", "user_id"])
def test_an_id_can_be_any_integer_from_1_to_2_63_minus_1(field: str, value: int, metadata: str | None) -> None:
    order = parse_order(order_text(**{field: str(value), "metadata": metadata}))
    assert getattr(order, field) == value


@with_and_without_metadata
@cases("text", BAD_IDS)
@cases("field", ["order_id", "user_id"])
def test_an_invalid_id_is_an_error(field: str, text: str, metadata: str | None) -> None:
    assert errors_of(order_text(**{field: text, "metadata": metadata})) == [(f"#/{field}", BAD_ID)]


@on_each_path
@cases("items", [[1], [MAX_ID], [3, 1, 3, 3, 2], [MAX_ID] * MAX_ITEMS])
def test_items_keep_their_order_and_duplicates(items: list[int], metadata: str | None) -> None:
    assert parse_order(order_text(item_ids=json.dumps(items), metadata=metadata)).item_ids == items


@with_and_without_metadata
@cases("text", ["[]", str([1] * (MAX_ITEMS + 1)), "null", "1", '"[1]"', '{"0": 1}', "true"])
def test_items_that_are_not_an_array_of_1_to_1000_are_an_error(text: str, metadata: str | None) -> None:
    assert errors_of(order_text(item_ids=text, metadata=metadata)) == [("#/item_ids", BAD_ITEMS)]


@with_and_without_metadata
@cases("text", BAD_IDS)
def test_each_invalid_item_is_reported_with_its_index(text: str, metadata: str | None) -> None:
    errors = errors_of(order_text(item_ids=f"[1, {text}, 2, {text}]", metadata=metadata))
    assert errors == [("#/item_ids/1", BAD_ID), ("#/item_ids/3", BAD_ID)]


@with_and_without_metadata
@cases("field", ["order_id", "user_id", "item_ids", "total_amount"])
def test_a_missing_field_is_an_error(field: str, metadata: str | None) -> None:
    assert errors_of(order_text(**{field: None, "metadata": metadata})) == [(f"#/{field}", "is required")]


def test_an_empty_object_lacks_all_four_fields() -> None:
    assert [error.pointer for error in errors_of(b"{}")] == ["#/order_id", "#/user_id", "#/item_ids", "#/total_amount"]


@with_and_without_metadata
@cases("field", ["status", "Order_id", "order_id ", ""])
def test_an_unknown_field_is_an_error(field: str, metadata: str | None) -> None:
    pointer = "#/" + field.replace(" ", "%20")
    assert errors_of(order_text(**{field: "1", "metadata": metadata})) == [(pointer, "is not a field of an order")]


@cases(
    ("key", "pointer"),
    [
        ("a/b", "#/a~1b"),
        ("m~n", "#/m~0n"),
        ("~1", "#/~01"),
        ("c%d", "#/c%25d"),
        ("e^f|g", "#/e%5Ef%7Cg"),
        (" ", "#/%20"),
        ('k\\"l', "#/k%22l"),
        ("i\\\\j", "#/i%5Cj"),
        ("é", "#/%C3%A9"),
        ("#?", "#/%23%3F"),
        ("\\u0000", "#/%00"),
        ("\\ud800", "#/%3F"),
    ],
)
def test_a_pointer_is_escaped_as_a_uri_fragment(key: str, pointer: str) -> None:
    assert errors_of(order_text(**{key: "1"})) == [(pointer, "is not a field of an order")]


def test_a_field_name_can_contain_escapes() -> None:
    assert parse_order(order_text().replace(b"order_id", rb"order\u005fid")).order_id == 12345


@cases("field", ["order_id", "user_id", "item_ids", "total_amount", "metadata"])
def test_a_repeated_field_is_an_error_even_if_the_values_are_equal(field: str) -> None:
    fields = json.loads(order_text(metadata="{}"))
    body = order_text(metadata="{}")[:-1] + f', "{field}": {json.dumps(fields[field])}}}'.encode()
    assert errors_of(body) == [(f"#/{field}", "is given more than once")]


def test_a_key_repeated_with_escapes_is_an_error() -> None:
    body = order_text()[:-1] + rb', "user\u005fid": 1}'
    assert errors_of(body) == [("#/user_id", "is given more than once")]


def test_a_repeated_key_is_an_error_at_any_depth() -> None:
    metadata = '{"a": [{"b": 1, "b": 2}], "c": {"d/e": {"f": 1, "f": 1, "f": 1}}, "g": {"h": 1}, "i": {"h": 1}}'
    assert sorted(errors_of(order_text(metadata=metadata))) == [
        ("#/metadata/a/0/b", "is given more than once"),
        ("#/metadata/c/d~1e/f", "is given more than once"),
    ]


def test_a_repeated_key_in_an_unknown_field_is_reported_too() -> None:
    assert errors_of(order_text(x='{"a": 1, "a": 1}')) == [
        ("#/x/a", "is given more than once"),
        ("#/x", "is not a field of an order"),
    ]


def test_all_errors_are_reported_together() -> None:
    body = b'{"order_id": 0, "item_ids": [1, true, 0], "total_amount": "x", "metadata": [], "z": 1, "order_id": 0}'
    errors = errors_of(body)
    assert sorted(error.pointer for error in errors) == [
        "#/item_ids/1", "#/item_ids/2", "#/metadata", "#/order_id", "#/order_id", "#/total_amount", "#/user_id", "#/z",
    ]  # fmt: skip


def test_the_text_of_the_error_contains_the_first_three_errors() -> None:
    with pytest.raises(InvalidOrderError) as raised:
        parse_order(order_text(order_id="0", user_id="0"))
    assert str(raised.value) == f"#/order_id {BAD_ID}; #/user_id {BAD_ID}"
    with pytest.raises(InvalidOrderError) as raised:
        parse_order(order_text(item_ids="[0, 0, 0, 0, 0]"))
    assert str(raised.value) == "; ".join(f"#/item_ids/{index} {BAD_ID}" for index in range(3)) + "; and 2 more"


def test_at_most_100_errors_are_listed_and_all_are_counted() -> None:
    with pytest.raises(InvalidOrderError) as raised:
        parse_order(order_text(item_ids=json.dumps([0] * MAX_ITEMS), user_id="0"))
    assert (len(raised.value.errors), raised.value.total) == (100, MAX_ITEMS + 1)
    assert raised.value.errors[:2] == [("#/user_id", BAD_ID), ("#/item_ids/0", BAD_ID)]
    assert str(raised.value).endswith(f"; and {MAX_ITEMS - 2} more")
    unknown = {f"k{number}": "1" for number in range(5_000)}
    with pytest.raises(InvalidOrderError) as raised:
        parse_order(order_text(**unknown))
    assert (len(raised.value.errors), raised.value.total) == (100, 5_000)


@cases("key", ["x" * 600, "é" * 90, "x" * 60_000])
def test_a_pointer_that_is_too_long_ends_at_the_enclosing_value(key: str) -> None:
    suffix = "; its pointer is too long to be listed"
    assert errors_of(order_text(**{key: "1"})) == [("#", f"has a member that is not a field of an order{suffix}")]
    inner = f'{{"a": {{"{key}": [{{"b": 1, "b": 2}}]}}}}'
    assert errors_of(order_text(x=inner))[0] == ("#/x/a", f"has a member that is given more than once{suffix}")


def test_the_errors_of_an_order_are_shorter_than_the_largest_body() -> None:
    around, closing = "".join(f'{{"{"é" * 70}{level}":' for level in range(50)), "}" * 50
    repeated = ",".join(f'"{number}":1,"{number}":1' for number in range(2_000))
    errors = errors_of(order_text(x=f"{around}{{{repeated}}}{closing}"))
    assert len(errors) == 100
    assert sum(len(error.pointer) + len(error.detail) for error in errors) < 64 * 1024


def test_an_overwritten_value_is_not_searched_for_repeated_keys() -> None:
    assert errors_of(order_text(metadata='{"a": {"b": 1, "b": 1}, "a": 1}')) == [
        ("#/metadata/a", "is given more than once")
    ]


def test_more_than_10000_arrays_and_objects_are_an_error() -> None:
    # The arrays `item_ids` and `x` count too.
    most = order_text(x=json.dumps([[1]] * (MAX_CONTAINERS - 2)))
    assert errors_of(most) == [("#/x", "is not a field of an order")]
    over = order_text(x=json.dumps([[1]] * (MAX_CONTAINERS - 1)))
    assert errors_of(over) == [("#", "must hold at most 10000 arrays and objects")]


def test_the_largest_metadata_has_fewer_arrays_and_objects_than_the_limit() -> None:
    deepest = "[" * 98 + "]" * 98
    count = (MAX_METADATA_BYTES - len('{"a":[]}')) // (len(deepest) + 1)
    metadata = f'{{"a":[{",".join([deepest] * count)}]}}'
    # An amount that is a string takes the slow path.
    assert parse_order(order_text(metadata=metadata, total_amount='"1"')).metadata == metadata


@cases("innermost", ["[]", "{}", "[1]"])
def test_an_empty_array_or_object_counts_as_a_level(innermost: str) -> None:
    levels = MAX_DEPTH + 1
    assert errors_of(f"{'[' * levels}{']' * levels}".encode()) == [("#", "must be a JSON object")]
    with pytest.raises(NotJsonError, match=f"nested deeper than {MAX_DEPTH} levels"):
        parse_order(f"{'[' * levels}{innermost}{']' * levels}".encode())


def test_a_number_of_5000_digits_does_not_affect_other_values() -> None:
    digits = "9" * 5_000
    assert errors_of(order_text(order_id=digits, item_ids=f"[1, {digits}, 0]")) == [
        ("#/order_id", BAD_ID),
        ("#/item_ids/1", BAD_ID),
        ("#/item_ids/2", BAD_ID),
    ]


@cases("body", [b"[]", b"null", b"true", b"1", b'"order"', b" [ ] ", b"[{}]", b"1e400"])
def test_json_that_is_not_an_object_is_an_error(body: bytes) -> None:
    assert errors_of(body) == [("#", "must be a JSON object")]


@cases(
    "body",
    [
        b"",
        b" \n",
        b"{",
        b"order",
        b"{'order_id': 1}",
        order_text()[:-1],
        order_text() + b",",
        order_text() + order_text(),
        order_text() + b"\0",
        order_text()[:-1] + b",}",
        order_text().decode().encode("utf-16"),
        b" " + BYTE_ORDER_MARK + order_text(),
        order_text() + BYTE_ORDER_MARK,
        order_text(total_amount="NaN"),
        order_text(total_amount="Infinity"),
        order_text(total_amount="-Infinity"),
        order_text(order_id="NaN"),
        order_text(metadata='{"a": NaN}'),
        order_text(order_id="01"),
        order_text(order_id="+1"),
        order_text(order_id="0x1"),
        order_text(order_id="1_0"),
        order_text(order_id="\u0661"),
        order_text(total_amount=".5"),
        order_text(total_amount="5."),
        order_text(total_amount="1e"),
        order_text(metadata='{"a": "\x01"}'),
        order_text(metadata='{"a": "\\x"}'),
        order_text(metadata='{"a": "\\u12"}'),
        order_text(metadata='{"a": "?"}').replace(b"?", b"\xff"),
        order_text(metadata='{"a": "?"}').replace(b"?", b"\xc0\xaf"),
        order_text(metadata='{"a": "?"}').replace(b"?", b"\xed\xa0\x80"),
        b"\xff",
    ],
)
def test_a_body_that_is_not_json_is_a_not_json_error(body: bytes) -> None:
    with pytest.raises(NotJsonError):
        parse_order(body)


@on_each_path
def test_one_byte_order_mark_before_the_body_is_skipped(metadata: str | None) -> None:
    body = order_text(metadata=metadata)
    assert parse_order(BYTE_ORDER_MARK + body) == parse_order(body)


def test_a_second_byte_order_mark_is_an_error() -> None:
    with pytest.raises(NotJsonError, match="a byte-order mark is allowed only once, at the beginning of the body"):
        parse_order(2 * BYTE_ORDER_MARK + order_text())


def test_a_body_of_only_a_byte_order_mark_is_like_an_empty_body() -> None:
    with pytest.raises(NotJsonError) as of_empty_body:
        parse_order(b"")
    with pytest.raises(NotJsonError, match=re.escape(str(of_empty_body.value))):
        parse_order(BYTE_ORDER_MARK)


def test_a_not_json_error_contains_the_position() -> None:
    with pytest.raises(NotJsonError, match="line 2, column 3"):
        parse_order(b'{"order_id": 1,\n  x}')
    with pytest.raises(NotJsonError, match="byte 2"):
        parse_order(b'{"\xff": 1}')


@cases(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('{"a":[', "]}")])
@cases("depth", [MAX_DEPTH + 2, 900, 1_100, 100_000])
def test_json_that_is_nested_too_deeply_is_an_error(opening: str, closing: str, depth: int) -> None:
    deep = opening * depth + "1" + closing * depth
    for body in (deep.encode(), order_text(item_ids=deep), order_text(metadata=deep)):
        with pytest.raises(NotJsonError, match=f"nested deeper than {MAX_DEPTH} levels"):
            parse_order(body)


def test_metadata_can_be_nested_100_levels_deep() -> None:
    deepest = '{"a":' * MAX_DEPTH + "1" + "}" * MAX_DEPTH
    assert parse_order(order_text(metadata=deepest)).metadata == deepest
    with pytest.raises(NotJsonError):
        parse_order(order_text(metadata='{"a":' + deepest + "}"))


@cases(
    "body",
    [
        order_text(metadata='{"a": "\\ud800"}'),
        order_text(metadata='{"\\udfff": 1}'),
        order_text(metadata='{"a": "\\ud800\\ud800"}'),
        order_text(**{"\\ud800": "1", "metadata": "{}"}),
        order_text(x='"\\udc00"', metadata="{}"),
    ],
)
def test_half_a_surrogate_pair_is_an_error(body: bytes) -> None:
    with pytest.raises((NotJsonError, InvalidOrderError)):
        parse_order(body)


ids = st.integers(1, MAX_ID)
orders = st.fixed_dictionaries(
    {
        "order_id": ids,
        "user_id": ids,
        "item_ids": st.lists(ids, min_size=1, max_size=5),
        "total_amount": st.integers(0, 99_999_999_999_999).map(amount_as_decimal),
    }
)


@settings(max_examples=examples(60))
@given(fields=orders, keys=st.permutations(["order_id", "user_id", "item_ids", "total_amount"]), blank=st.booleans())
def test_the_fast_and_the_slow_path_agree(fields: dict[str, Any], keys: list[str], blank: bool) -> None:
    space = "\n\t " if blank else ""
    texts = {key: str(value) if key == "total_amount" else json.dumps(value) for key, value in fields.items()}

    def order(**changes: str) -> NewOrder:
        members = [(key, (texts | changes)[key]) for key in [*keys, *(changes.keys() - texts.keys())]]
        text = ",".join(f'{space}"{key}"{space}:{space}{value}{space}' for key, value in members)
        return parse_order(f"{{{text}}}".encode())

    fast = order()
    assert amount_as_decimal(fast.total_amount) == fields["total_amount"]
    assert (fast.order_id, fast.user_id) == (fields["order_id"], fields["user_id"])
    assert fast.item_ids == fields["item_ids"]
    assert order(total_amount=f'"{texts["total_amount"]}"') == fast
    assert order(metadata="{}") == NewOrder(fast.order_id, fast.user_id, fast.item_ids, fast.total_amount, "{}")


@settings(max_examples=examples(200))
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_random_bytes_raise_one_of_two_errors(body: bytes) -> None:
    with pytest.raises((NotJsonError, InvalidOrderError)):
        parse_order(body)
