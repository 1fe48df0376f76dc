"""The fingerprints of two orders are equal exactly if the orders are the same."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from models.identity.fingerprint import fingerprint
from models.identity.same_order import is_same_order
from models.writes.insertion import NewOrder
from tests.models.samples import claimed_order, new_order

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([0.0, 1.0, -1.5, "a", "1"]))
LISTS_AND_OBJECTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("a"), inner), max_leaves=4
)
METADATA = st.dictionaries(st.sampled_from(["a", "b", "1"]), LISTS_AND_OBJECTS, max_size=2)


def with_metadata(metadata: dict[str, Any] | None, indent: int | None) -> NewOrder:
    return new_order(1, metadata=None if metadata is None else json.dumps(metadata, indent=indent))


ORDERS = st.builds(with_metadata, st.none() | METADATA, st.sampled_from([None, 1]))


@given(one=ORDERS, other=ORDERS)
def test_equal_exactly_for_the_same_order(one: NewOrder, other: NewOrder) -> None:
    assert (fingerprint(one) == fingerprint(other)) is is_same_order(one, claimed_order(other, 1, 0))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 10, "b": [1]}', '{ "b":[1.0],"a":1e1 }'),
        ('{"a": 0}', '{"a": -0.0}'),
        ('{"a": 100000000000000000000000000000000001}', '{"a": 100000000000000000000000000000000001.0}'),
        ('{"a": "\\u00e9"}', '{"a": "é"}'),
        ('{"a": 1e99999999999999999999}', '{"a":1e99999999999999999999}'),
    ],
)
def test_other_texts_of_the_same_metadata(one: str, other: str) -> None:
    assert fingerprint(new_order(1, metadata=one)) == fingerprint(new_order(1, metadata=other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1}', '{"a": true}'),
        ('{"a": 1}', '{"a": "1"}'),
        ('{"a": 1}', '{"a": "1e0"}'),
        ('{"a": 10}', '{"a": 1}'),
        ('{"a": [1, 2]}', '{"a": [2, 1]}'),
        ('{"a": [1, 2]}', '{"a": [12]}'),
        ('{"a": 1}', '{"a": -1}'),
        ('{"a": "\\ud800"}', '{"a": "\\ud801"}'),
        ("{}", None),
    ],
)
def test_other_metadata(one: str, other: str | None) -> None:
    assert fingerprint(new_order(1, metadata=one)) != fingerprint(new_order(1, metadata=other))


@pytest.mark.parametrize(
    "change", [{"order_id": 2}, {"user_id": 2}, {"item_ids": [101]}, {"item_ids": [102, 101]}, {"total_amount": 1}]
)
def test_other_values(change: dict[str, Any]) -> None:
    assert fingerprint(new_order(1)) != fingerprint(structs.replace(new_order(1), **change))


def test_a_new_order_and_the_stored_order_have_the_same_fingerprint() -> None:
    order = new_order(5, user_id=2**63 - 1, metadata='{"a": 1.50}')
    # The fingerprint is stored, so it must never change.
    assert fingerprint(order) == fingerprint(claimed_order(order, 7, 1)) == 6_435_715_911_681_578_719
