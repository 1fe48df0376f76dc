"""Which rows of the feed are not needed any more."""

import random
from collections import deque

import pytest

from models.changes.feed import KEPT_CHANGES, FeedRow
from models.changes.order_changes import OrderChange
from models.order import Status
from models.postgresql.feed.length import STEP, FeedLength

CHANGE = OrderChange(1, 1, Status.PENDING)


def rows(first: int, *counts: int) -> list[FeedRow]:
    return [FeedRow(first + place, [CHANGE] * count) for place, count in enumerate(counts)]


@pytest.mark.parametrize("largest", [1, 100, 5_000])
def test_the_newest_changes_are_kept_and_little_more(largest: int) -> None:
    generator = random.Random(largest)
    length, kept_rows, kept, total, next_id = FeedLength(), deque[FeedRow](), 0, 0, 1
    while total < 3 * KEPT_CHANGES:
        part = rows(next_id, *(generator.randint(1, largest) for _ in range(generator.randint(0, 100))))
        next_id += len(part) + generator.randint(0, 2)
        kept_rows += part
        count = sum(len(row.changes) for row in part)
        total, kept = total + count, kept + count
        if last := length.add(part):
            assert last >= kept_rows[0].id
            while kept_rows[0].id <= last:
                kept -= len(kept_rows.popleft().changes)
            assert kept >= KEPT_CHANGES
        assert kept <= KEPT_CHANGES + STEP + 2 * largest


def test_after_a_restart_earlier_rows_do_not_count() -> None:
    length = FeedLength()
    assert length.add(rows(1, *[STEP] * 40)) is None
    length.restart()
    assert length.add(rows(100, *[STEP] * 50)) is None
    assert length.add(rows(150, STEP)) == 100
