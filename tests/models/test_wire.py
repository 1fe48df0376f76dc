"""The statements list the columns in the sequence that `models/wire.py` expects."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import asdict, replace

from models.order import Attempt, AttemptRecord, Ending, Status
from models.sqlite import listing_statements, statements
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.packed_orders import encode_packed_orders
from models.wire import (
    decode_attempts,
    decode_history,
    decode_order_ids,
    decode_orders,
    encode_new_orders,
    encode_numbers,
    encode_outcomes,
)
from models.writes.attempts import Outcome
from models.writes.commands import OrderIds
from models.writes.insertion import NewOrder
from tests.cases import cases
from tests.models.blocks import connection_of, fill_blocks

# Each column has a different value.
STORED: dict[str, Any] = {
    "sequence": 1,
    "order_id": 2,
    "user_id": 3,
    "item_ids": [4, 5],
    "total_amount": 6,
    "metadata": '{"a": 7}',
    "status": Status.FAILED,
    "attempts": 8,
    "claims": 9,
    "error": "ten",
    "created_us": 11,
    "processed_us": 12,
    "due_us": 13,
    "trace_headers": "{}",
}
# The columns that the values above do not contain.
OTHERS = {"claimed_after_us": 14}


def insert_row(database: RetryingSqliteDatabase, **changes: object) -> None:
    row = STORED | OTHERS | {"item_ids": "[4,5]"} | changes
    database.execute_sql(f"INSERT INTO orders ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()])


def stored_row(database: RetryingSqliteDatabase) -> dict[str, Any]:
    cursor = database.execute_sql("SELECT * FROM orders")
    return dict(zip((column[0] for column in cursor.description), cursor.fetchone(), strict=True))


def test_decode_orders_has_the_column_order_of_find(database: RetryingSqliteDatabase) -> None:
    insert_row(database)
    [text] = database.execute_sql(statements.FIND, (encode_numbers([2]),)).fetchone()
    assert [asdict(order) for order in decode_orders(text)] == [STORED]


def test_decode_orders_has_the_column_order_of_next_ready(database: RetryingSqliteDatabase) -> None:
    insert_row(database, status=Status.PENDING, due_us=None)
    [text, _] = database.execute_sql(statements.NEXT_READY, (1,)).fetchone()
    claimed = STORED | {"status": Status.PROCESSING, "attempts": 9, "claims": 10, "due_us": None}
    assert [asdict(order) for order in decode_orders(text)] == [claimed]


@pytest.mark.parametrize("by_user", [False, True])
def test_decode_orders_has_the_column_order_of_listings(database: RetryingSqliteDatabase, by_user: bool) -> None:
    insert_row(database)
    fill_blocks(connection_of(database))
    statement = listing_statements.list_orders(None, by_user=by_user, by_time=False)
    [text] = database.execute_sql(statement, {"last": 2, "limit": 1, "user_id": 3}).fetchone()
    assert [asdict(order) for order in decode_orders(text)] == [STORED]


def test_decode_attempts_has_the_column_order_of_interrupted(database: RetryingSqliteDatabase) -> None:
    insert_row(database, status=Status.PROCESSING)
    fill_blocks(connection_of(database))
    [text] = database.execute_sql(statements.INTERRUPTED).fetchone()
    assert decode_attempts(text) == [Attempt(sequence=1, claim=9, number=8)]


@pytest.mark.parametrize(
    ("statement", "status"), [(statements.NEXT_FAILED, Status.FAILED), (statements.NEXT_WAITING, Status.PENDING)]
)
def test_decode_order_ids_has_the_column_order_of_the_next_orders_to_retry(
    database: RetryingSqliteDatabase, statement: str, status: Status
) -> None:
    insert_row(database, status=status)
    parameters = {"error": None, "created_from_us": 0, "created_until_us": 99, "after": 0, "last": 9, "limit": 5}
    text, last, examined, newest = database.execute_sql(statement, parameters).fetchone()
    assert decode_order_ids(text) == [OrderIds(sequence=1, order_id=2, user_id=3)]
    assert (last, examined, newest) == (1, 1, 1)


@pytest.mark.parametrize(
    ("statement", "encode", "fields"),
    [
        (statements.INSERT_PACKED, encode_packed_orders, {}),
        (statements.INSERT_WITH_METADATA, encode_new_orders, {}),
        (statements.INSERT_WITH_METADATA, encode_new_orders, {"metadata": '{"a": 7}'}),
        (statements.INSERT_WITH_ALL_FIELDS, encode_new_orders, {"metadata": '{"a": 7}', "trace_headers": "{}"}),
        (statements.INSERT_WITH_ALL_FIELDS, encode_new_orders, {"trace_headers": "{}"}),
    ],
)
def test_encoded_orders_have_the_column_order_of_insert(
    database: RetryingSqliteDatabase,
    statement: str,
    encode: Callable[[Sequence[NewOrder]], str],
    fields: dict[str, str],
) -> None:
    new = replace(NewOrder(order_id=2, user_id=3, item_ids=[4, 5], total_amount=6), **fields)
    database.execute_sql(statement, (Status.PENDING, 8, 9, 11, 14, encode([new])))
    inserted = {"item_ids": "[4,5]", "status": "Pending", "error": None, "processed_us": None, "due_us": None}
    assert stored_row(database) == STORED | OTHERS | inserted | {"metadata": None, "trace_headers": None} | fields


def test_encode_outcomes_has_the_column_order_of_fail(database: RetryingSqliteDatabase) -> None:
    insert_row(database, status=Status.PROCESSING, error=None, due_us=None)
    failed = Outcome(sequence=1, claim=9, status=Status.FAILED, error="ten")
    database.execute_sql(statements.FAIL, (12, encode_outcomes([failed])))
    assert stored_row(database) == STORED | OTHERS | {"item_ids": "[4,5]", "due_us": None}


def test_encode_outcomes_has_the_column_order_of_make_pending(database: RetryingSqliteDatabase) -> None:
    insert_row(database, status=Status.PROCESSING, error=None, due_us=None)
    retried = Outcome(sequence=1, claim=9, status=Status.PENDING, error="ten", due_us=13)
    database.execute_sql(statements.MAKE_PENDING, (encode_outcomes([retried]),))
    assert stored_row(database) == STORED | OTHERS | {"item_ids": "[4,5]", "status": "Pending"}


def test_encode_outcomes_has_the_column_order_of_record_attempts(database: RetryingSqliteDatabase) -> None:
    insert_row(database, status=Status.PROCESSING)
    failed = Outcome(sequence=1, claim=9, status=Status.FAILED, error="ten", ending=Ending.REJECTED)
    database.execute_sql(statements.RECORD_ATTEMPTS, (30, encode_outcomes([failed])))
    assert database.execute_sql("SELECT * FROM attempts").fetchall() == [(1, 9, 8, 25, 30, "rejected", "ten")]
    [text] = database.execute_sql(statements.HISTORY, (2,)).fetchone()
    record = AttemptRecord(number=8, started_us=25, ended_us=30, ending=Ending.REJECTED, error="ten")
    assert decode_history(text) == (Status.PROCESSING, 8, 25, 12, [record])


@cases("count", [0, 1, 99, 100, 101, 1_000])
def test_any_number_of_new_orders_is_one_array(count: int) -> None:
    orders = [NewOrder(number, 2, [3, 4], 5, '{"a": "é"}') for number in range(1, count + 1)]
    assert json.loads(encode_new_orders(orders)) == [
        [each.order_id, 2, [3, 4], 5, '{"a": "é"}', None] for each in orders
    ]


def test_few_and_many_orders_are_decoded_alike() -> None:
    rows = [
        [number, number, 1, [2**62] * 50, 5, "é", "Pending", 1, 1, None, 7, None, 8, None] for number in range(1_000)
    ]
    many = decode_orders(json.dumps(rows))
    assert many == [order for row in rows for order in decode_orders(json.dumps([row], ensure_ascii=False))]
