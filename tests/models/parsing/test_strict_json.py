"""The comparison of JSON texts by value."""

import json

from hypothesis import given
from hypothesis import strategies as st

from models.parsing.strict_json import same_value
from tests.cases import cases


@cases(
    ("one", "other"),
    [
        ("{}", "{ }"),
        ('{"a":1,"b":{"c":2,"d":3}}', '{"b": {"d": 3, "c": 2}, "a": 1}'),
        ('{"a":1}', '{"a":1.0}'),
        ('{"a":100}', '{"a":1e2}'),
        ('{"a":0}', '{"a":-0}'),
        ('{"a":0}', '{"a":0.000}'),
        ('{"a":1e400}', '{"a":10e399}'),
        ('{"a":123456789012345678901234567890}', '{"a":123456789012345678901234567890.0}'),
        ('{"a":1e99999999999999999999}', '{ "a":1e99999999999999999999}'),
        ('{"a":"é/"}', '{"a":"\\u00e9\\/"}'),
        ('{"a":"😀"}', '{"a":"\\ud83d\\ude00"}'),
        ('{"a":[true,null]}', '{"a": [true, null]}'),
    ],
)
def test_json_texts_with_equal_values_are_equal(one: str, other: str) -> None:
    assert same_value(one, other)
    assert same_value(other, one)


@cases(
    ("one", "other"),
    [
        ('{"a":1}', "{}"),
        ('{"a":1}', '{"a":2}'),
        ('{"a":1}', '{"b":1}'),
        ('{"a":1}', '{"a":true}'),
        ('{"a":0}', '{"a":false}'),
        ('{"a":0}', '{"a":null}'),
        ('{"a":1}', '{"a":"1"}'),
        ('{"a":1}', '{"a":[1]}'),
        ('{"a":{}}', '{"a":[]}'),
        ('{"a":[1,2]}', '{"a":[2,1]}'),
        ('{"a":[1]}', '{"a":[1,1]}'),
        ('{"a":"é"}', '{"a":"e\u0301"}'),
        ('{"a":123456789012345678901234567890}', '{"a":123456789012345678901234567891}'),
        ('{"a":0.1}', '{"a":0.1000000000000000000000000001}'),
        ('{"a":1e400}', '{"a":1e401}'),
        ('{"a":1e99999999999999999999}', '{"a":1e99999999999999999998}'),
    ],
)
def test_json_texts_with_different_values_are_not_equal(one: str, other: str) -> None:
    assert not same_value(one, other)
    assert not same_value(other, one)


keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | keys,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(keys, children, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(keys, values, max_size=3))
def test_the_formatting_of_an_object_is_ignored(value: dict[str, object]) -> None:
    one = json.dumps(value)
    other = json.dumps(dict(reversed(value.items())), indent=1, ensure_ascii=False)
    assert same_value(one, other)
    assert not same_value(one, json.dumps(value | {"more than three": 1}))
