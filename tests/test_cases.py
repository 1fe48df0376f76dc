"""`cases` runs every case of a table, and reports each case that fails."""

import inspect

import pytest

from tests.cases import cases
from tests.io_loops import new_io_loop


def test_every_case_runs_with_the_fixtures() -> None:
    seen = []

    @cases("first, second", [(1, 2), (3, 4)])
    @cases("third", "ab")
    def test(first: int, fixture: str, second: int, third: str) -> None:
        seen.append((first, second, third, fixture))

    assert list(inspect.signature(test).parameters) == ["fixture"]
    test(fixture="f")
    assert seen == [(1, 2, "a", "f"), (1, 2, "b", "f"), (3, 4, "a", "f"), (3, 4, "b", "f")]


def test_the_only_failure_is_raised_with_its_case() -> None:
    @cases("number", range(5))
    def test(number: int) -> None:
        assert number != 3

    with pytest.raises(AssertionError) as raised:
        test()
    assert raised.value.__notes__ == ["with number=3"]


def test_all_failures_are_raised_with_their_cases() -> None:
    @cases("number, text", [(1, "a"), (2, "b" * 1_000), (0, "c")])
    def test(number: int, text: str) -> None:
        if number == 1:
            pytest.fail("one")
        assert not number

    with pytest.raises(BaseExceptionGroup, match="2 of 3 cases fail") as raised:
        test()
    notes = [failure.__notes__[0] for failure in raised.value.exceptions]
    assert notes[0] == "with number=1, text='a'"
    assert notes[1].startswith("with number=2, text='bbb")
    assert len(notes[1]) < 300


def test_a_coroutine_runs_with_every_case() -> None:
    seen = []

    @cases("number", range(3))
    async def test(number: int) -> None:
        seen.append(number)
        assert number == 1

    with new_io_loop() as loop, pytest.raises(BaseExceptionGroup, match="2 of 3 cases fail"):
        loop.run_sync(test)
    assert seen == [0, 1, 2]


def test_a_case_must_have_a_value_for_each_name() -> None:
    with pytest.raises(ValueError, match="shorter"):
        cases("first, second", [(1,)])
    with pytest.raises(ValueError, match="no cases"):
        cases("first", [])
