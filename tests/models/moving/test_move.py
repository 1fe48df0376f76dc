"""All orders of a SQLite file are moved to PostgreSQL with everything that a server answers about them."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.models.moving.shops import (
    Fate,
    all_kinds,
    answers_of_database,
    answers_of_file,
    emptied_target,
    fates,
    make_file,
    move_file,
)
from tests.models.samples import SECOND_US, Clock

pytestmark = pytest.mark.postgresql


def check_move(orders: list[Fate], *, max_rows: int, is_paused: bool) -> None:
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, emptied_target() as url:
        path = Path(folder) / "orders.db"
        make_file(path, orders, clock, is_paused=is_paused)
        now_us = clock.now_us + clock.ahead_us + SECOND_US
        expected = answers_of_file(path, orders, now_us)
        move_file(path, url, now_us, max_rows=max_rows)
        assert answers_of_database(url, orders, now_us) == expected


@settings(max_examples=examples(40))
@given(fates(), st.integers(1, 20), st.booleans())
def test_a_server_answers_the_same_before_and_after_the_move(
    orders: list[Fate], max_rows: int, is_paused: bool
) -> None:
    check_move(orders, max_rows=max_rows, is_paused=is_paused)


@pytest.mark.parametrize("is_paused", [False, True])
def test_orders_of_all_kinds_are_moved(is_paused: bool) -> None:
    check_move(all_kinds(), max_rows=5, is_paused=is_paused)
