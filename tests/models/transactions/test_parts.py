"""If work on many items fails, it is repeated on parts of the items, until a limit of time or calls."""

from collections.abc import Sequence

import pytest

from models.errors import StorageDamagedError, StorageError, StorageUnavailableError
from models.sqlite.damage.faults import concerns_orders
from models.transactions.parts import Budget, run_in_parts
from tests.cases import cases


class Doubling:
    """Doubles numbers. Fails if one of them is in `bad`. Each call takes a second."""

    def __init__(self, *bad: int, code: str = "SQLITE_CORRUPT") -> None:
        self.bad = bad
        self.code = code
        self.calls: list[list[int]] = []

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.calls.append(list(numbers))
        if any(number in self.bad for number in numbers):
            raise StorageDamagedError("bad", code=self.code)
        return [2 * number for number in numbers]

    def now_s(self) -> float:
        return len(self.calls)


def test_only_the_bad_items_fail_and_all_are_in_order() -> None:
    work = Doubling(3, 8)
    results, damaged = run_in_parts(range(10), work, Budget(concerns_orders=concerns_orders))
    assert [each for each in results if not isinstance(each, StorageError)] == [0, 2, 4, 8, 10, 12, 14, 18]
    assert [index for index, each in enumerate(results) if isinstance(each, StorageDamagedError)] == [3, 8]
    assert [item for item, _ in damaged] == [3, 8]
    assert work.calls[:3] == [list(range(10)), [0, 1, 2, 3, 4], [0, 1]]


def test_nothing_is_called_without_items() -> None:
    work = Doubling()
    assert run_in_parts([], work, Budget(concerns_orders=concerns_orders)) == ([], [])
    assert work.calls == []


@pytest.mark.parametrize(("failures", "time_s"), [(5, 1_000), (1_000, 4)])
def test_the_rest_is_not_tried_after_the_limit(failures: int, time_s: float) -> None:
    work = Doubling(*range(100))
    budget = Budget(concerns_orders=concerns_orders, max_failures=failures, max_time_s=time_s, clock=work.now_s)
    results, damaged = run_in_parts(range(100), work, budget)
    assert len(work.calls) == 5
    assert all(type(result) is StorageUnavailableError for result in results)
    assert len(results) == 100
    assert damaged == []
    assert isinstance(budget.error, StorageUnavailableError)


@cases("code", ["SQLITE_FULL", "SQLITE_READONLY_DBMOVED", "SQLITE_IOERR_WRITE", "SQLITE_NOTADB"])
def test_an_error_of_the_whole_database_ends_it_at_once(code: str) -> None:
    work = Doubling(1, code=code)
    results, damaged = run_in_parts(range(100), work, Budget(concerns_orders=concerns_orders))
    assert len(work.calls) == 1
    assert {getattr(result, "code", None) for result in results} == {code}
    assert damaged == []


def test_a_page_that_cannot_be_read_concerns_only_its_orders() -> None:
    results, damaged = run_in_parts(
        range(4), Doubling(2, code="SQLITE_IOERR_READ"), Budget(concerns_orders=concerns_orders)
    )
    assert results[:2] == [0, 2]
    assert [item for item, _ in damaged] == [2]
