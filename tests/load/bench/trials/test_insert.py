"""Tests how a batch is stored by a recorded statement, and its rows again by COPY. The measured speed is not tested."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from load.bench.trials.insert import SHIFT, CopyTrial, Insert
from tests.postgresql.databases import connect, execute, temporary_database

pytestmark = pytest.mark.postgresql

STORE = """
WITH stored AS (
    INSERT INTO orders (order_id, user_id) SELECT (v->>0)::bigint, (v->>1)::bigint
    FROM jsonb_array_elements(%(orders)s::jsonb) AS v RETURNING sequence)
INSERT INTO work (sequence, node) SELECT sequence, %(node)s::bigint FROM stored"""


@pytest.fixture
def connection() -> Iterator[psycopg.Connection[Any]]:
    with temporary_database() as url, connect(url) as connection:
        execute(connection, "CREATE TABLE orders (sequence bigserial PRIMARY KEY, order_id bigint, user_id bigint)")
        execute(connection, "CREATE TABLE work (sequence bigint PRIMARY KEY, node bigint)")
        yield connection


def test_the_rows_of_a_batch_are_stored_again_with_other_keys(connection: psycopg.Connection[Any]) -> None:
    insert = Insert(["SET jit = off"], STORE, {"orders": "[[1, 7], [2, 8]]", "node": 3})
    trial = CopyTrial(connection, insert, clock_ns=time.perf_counter_ns)
    for ids in ([11, 12], [13]):
        assert all(seconds > 0 for seconds in trial.store(ids))
    assert execute(connection, "SHOW jit") == [("off",)]
    rows = [(number, 10 + number, 7) for number in (1, 2, 3)]
    again = [(sequence + SHIFT, order_id + SHIFT, user_id) for sequence, order_id, user_id in rows]
    assert execute(connection, "SELECT * FROM orders ORDER BY sequence") == rows + again
    assert execute(connection, "SELECT * FROM work ORDER BY sequence") == [(key, 3) for key, *_ in rows + again]


def test_the_last_statement_that_stored_orders_is_read(tmp_path: Path) -> None:
    file = tmp_path / "statements"
    orders = [f"INSERT INTO orders {number}" for number in (1, 2)]
    statements = [*(("SET a = 1", []), ("SET LOCAL b = 1", [])), *((sql, {"orders": sql}) for sql in orders)]
    file.write_text("\n".join(json.dumps([5, *each]) for each in [*statements, ("COMMIT", [])]))
    assert Insert.read(file) == (["SET a = 1"], "INSERT INTO orders 2", {"orders": "INSERT INTO orders 2"})
