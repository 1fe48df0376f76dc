"""The statements of listings search indexes."""

import re
from functools import partial

import pytest

from models.order import Status
from models.sqlite import listing_statements
from models.sqlite.database import RetryingSqliteDatabase


def indexes(database: RetryingSqliteDatabase, statement: str) -> set[str]:
    """The indexes that the statement searches for orders. SCAN stands for a scan of the table or of an index."""
    values = dict.fromkeys(re.findall(r":(\w+)", statement))
    plan = [row[3] for row in database.execute_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    found = [re.search(r"(SCAN|SEARCH) orders(?: USING (?:COVERING )?(?:INDEX )?(\w+))?", step) for step in plan]
    return {match[2] if match[1] == "SEARCH" and match[2] else match[1] for match in found if match}


# INTEGER stands for INTEGER PRIMARY KEY, which is the sequence.
@pytest.mark.parametrize("oldest_first", [False, True])
def test_no_listing_scans_the_whole_table(database: RetryingSqliteDatabase, oldest_first: bool) -> None:
    list_orders = partial(listing_statements.list_orders, oldest_first=oldest_first)
    for status in (None, *Status):
        by_status = {"orders_pending", "orders_waiting"} if status is Status.PENDING else {f"orders_{status}".lower()}
        own = by_status if status not in (None, Status.COMPLETED, Status.PROCESSING) else set()
        used = indexes(database, list_orders(status, by_user=False, by_time=False))
        assert used == {"INTEGER"} | own
        for by_user, by_time in ((True, False), (False, True), (True, True)):
            used = indexes(database, list_orders(status, by_user=by_user, by_time=by_time))
            assert used == {"INTEGER"} | own | ({"orders_user"} if by_user else set())
